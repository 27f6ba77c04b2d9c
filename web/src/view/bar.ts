// The bar of who wrote what: the chain's tokens in their order, and below them, on the same scale, those that were discarded.

import type { Usage } from "../data/types";
import type { Span } from "../trace/timeline";
import { blockOf, hue } from "./author";
import { count, draw, h, percent } from "./dom";
import { wholeRoles } from "./usage";

const HEIGHT = 10;
const KEPT = 6; // where the bar ends, and where the stripe of discarded tokens begins
const STRIPE = 7;

interface Lane {
  authors: Map<string, number>;
  shapes: Map<string, [number, number][]>;
  length: number;
}

/** A figure of the spans. `usage`: of tokens that no span shows, such as those read ahead, it knows that they were discarded. */
export class Bar {
  readonly element = h("figure", { class: "written" });
  private readonly drawing = draw("svg", { class: "bar", preserveAspectRatio: "none", role: "img" });
  private readonly caption = h("figcaption");
  private spans: Span[] = [];
  private kept: Lane = lane([]);
  private scale = 1;
  private at = 0;
  private striped = false;

  /** `chosen` is told the number of the span that a click or an arrow key chose, `pointed` that of the one under the pointer. */
  constructor(
    private readonly chosen?: (place: number) => void,
    pointed?: (place: number) => void,
  ) {
    if (chosen) {
      this.drawing.addEventListener("click", (event) => {
        const { token, kept } = this.under(event);
        if (kept) this.choose(token);
        else this.tell(token, false);
      });
      this.drawing.addEventListener("pointermove", (event) => {
        const { token, kept } = this.under(event);
        const place = spanAt(this.spans, token, kept);
        if (place !== null) pointed?.(place);
      });
      this.element.append(
        h(
          "div",
          {
            class: "seek",
            tabindex: "0",
            role: "slider",
            "aria-label": "place in the chain",
            "aria-valuemin": "0",
            "aria-valuenow": "0",
            "aria-valuemax": "1",
            onkeydown: (event: KeyboardEvent) => this.key(event),
          },
          this.drawing,
        ),
        this.caption,
      );
    } else this.element.append(this.drawing, this.caption);
  }

  show(spans: Span[], usage: Record<string, Usage> = {}): void {
    this.spans = spans;
    const kept = lane(spans.filter((span) => span.status === "kept"));
    const seen = spans.filter((span) => span.status !== "kept");
    const shown = lane(seen).authors;
    const unseen = wholeRoles(usage).map(([author, cost]) => ({
      author,
      tokens: Math.max(0, cost.discarded_tokens - (shown.get(author) ?? 0)),
    }));
    const lost = lane([...seen, ...unseen]);
    this.kept = kept;
    this.striped = lost.length > 0;
    this.scale = Math.max(kept.length, lost.length, 1);
    const told = [...kept.authors].map(([author, tokens]) => `${author} wrote ${count(tokens)} of ${count(kept.length)} tokens`);
    if (lost.length) told.push(`${count(lost.length)} tokens were discarded`);
    this.drawing.setAttribute("viewBox", `0 0 ${this.scale} ${HEIGHT}`);
    this.drawing.setAttribute("aria-label", told.join(", ") || "nothing was written");
    this.drawing.replaceChildren(
      draw("rect", { class: "ground", x: 0, y: 0, width: this.scale, height: lost.length ? KEPT : HEIGHT }),
      ...paths(kept, 0, lost.length ? KEPT : HEIGHT),
      ...paths(lost, STRIPE, HEIGHT - STRIPE, "lost"),
    );
    this.caption.replaceChildren(...legend(kept, lost));
    const seek = this.element.querySelector(".seek");
    seek?.setAttribute("aria-valuemax", String(kept.length));
    seek?.setAttribute("aria-valuetext", `token ${Math.round(this.at)} of ${kept.length}`);
  }

  /** The token under the pointer, of the bar or of the stripe of discarded ones. */
  private under({ offsetX, offsetY }: MouseEvent): { token: number; kept: boolean } {
    const low = (offsetY / this.drawing.clientHeight) * HEIGHT > (KEPT + STRIPE) / 2;
    return { token: (offsetX / this.drawing.clientWidth) * this.scale, kept: !(this.striped && low) };
  }

  private key(event: KeyboardEvent): void {
    const step = Math.max(1, this.kept.length / 20);
    const moves: Record<string, number> = { ArrowRight: this.at + step, ArrowLeft: this.at - step, Home: 0, End: this.kept.length - 1 };
    const to = moves[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.choose(Math.min(Math.max(0, to), Math.max(0, this.kept.length - 1)));
  }

  private choose(token: number): void {
    this.at = token;
    const seek = this.element.querySelector(".seek");
    seek?.setAttribute("aria-valuenow", String(Math.round(token)));
    seek?.setAttribute("aria-valuetext", `token ${Math.round(token)} of ${this.kept.length}`);
    this.tell(token, true);
  }

  private tell(token: number, kept: boolean): void {
    const place = spanAt(this.spans, token, kept);
    if (place !== null) this.chosen?.(place);
  }
}

/** The number of the span with a token of the bar, or of the stripe of discarded ones; null past the last. */
export function spanAt(spans: Pick<Span, "status" | "tokens">[], token: number, kept: boolean): number | null {
  let before = 0;
  for (const [place, { status, tokens }] of spans.entries()) {
    if ((status === "kept") !== kept) continue;
    before += tokens;
    if (before > token) return place;
  }
  return null;
}

/** The bar of a chain that does not change. */
export function bar(spans: Span[], usage: Record<string, Usage> = {}): HTMLElement {
  const made = new Bar();
  made.show(spans, usage);
  return made.element;
}

function lane(spans: { author: string; tokens: number }[]): Lane {
  const authors = new Map<string, number>();
  const shapes = new Map<string, [number, number][]>();
  let length = 0;
  for (const { author, tokens } of spans) {
    if (!tokens) continue;
    authors.set(author, (authors.get(author) ?? 0) + tokens);
    const runs = shapes.get(author) ?? [];
    shapes.set(author, runs);
    runs.push([length, tokens]);
    length += tokens;
  }
  return { authors, shapes, length };
}

function paths({ shapes }: Lane, top: number, height: number, more = ""): SVGPathElement[] {
  return [...shapes].map(([author, runs]) =>
    draw("path", {
      class: `${hue(author)} ${more}`,
      d: runs.map(([start, width]) => blockOf(author, start, width, top, height)).join(""),
    }),
  );
}

function legend(kept: Lane, lost: Lane): HTMLElement[] {
  const words = [...kept.authors].map(([author, tokens]) =>
    h("span", { class: `key ${hue(author)}` }, h("b", { text: author }), ` ${count(tokens)} (${percent(tokens / kept.length, 0)})`),
  );
  return lost.length ? [...words, h("span", { class: "key lost", text: `${count(lost.length)} discarded` })] : words;
}
