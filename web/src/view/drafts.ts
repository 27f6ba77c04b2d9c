// Discarded drafts that follow each other, in one fold.

import type { Span } from "../trace/timeline";
import { hue } from "./author";
import { h, plural } from "./dom";
import { readingOf } from "./facts";
import { pillOf } from "./pill";

const EXCERPT = 90;
const SHOWN = 200_000;

/** One discarded draft with its verdict; equal ones that follow each other are counted. */
class DraftView {
  times = 1;
  readonly element: HTMLElement;
  private readonly told: HTMLElement;

  constructor(readonly span: Span) {
    this.told = h("span", { class: "verdict", text: verdict(span) });
    this.element = h(
      "div",
      { class: `draft ${hue(span.author)}`, style: { "--depth": String(Math.min(span.depth, 8)) } },
      h("span", { class: "who", text: span.author }),
      this.told,
      ...pieces(span.text),
    );
  }

  again(): void {
    this.times += 1;
    this.told.replaceChildren(`${this.times} times: ${verdict(this.span)}`);
  }
}

/** A fold with drafts. Its content is made when it is opened first. */
export class DraftsView {
  readonly element: HTMLDetailsElement;
  readonly spans: Span[] = [];
  private readonly summary = h("summary");
  private shown = 0;
  private last: DraftView | null = null;
  private readonly drawn = new Map<Span, HTMLElement>();

  constructor(
    open: boolean,
    private readonly made: (element: HTMLElement, span: Span) => void,
  ) {
    this.element = h("details", { class: "drafts", open, ontoggle: () => this.fill() }, this.summary);
  }

  add(span: Span): void {
    this.spans.push(span);
  }

  /** Brings the summary, and the drafts if they are in sight, up to date. */
  update(): void {
    this.summary.replaceChildren(...summaryOf(this.spans));
    this.fill();
  }

  /** Opens the fold, and returns the element of a draft in it. */
  reveal(span: Span): HTMLElement {
    this.element.open = true;
    this.fill();
    return this.drawn.get(span) ?? this.element;
  }

  private fill(): void {
    if (!this.element.open) return;
    for (; this.shown < this.spans.length; this.shown++) {
      const span = this.spans[this.shown]!;
      if (this.last && alike(this.last.span, span)) this.last.again();
      else {
        this.last = new DraftView(span);
        this.made(this.last.element, span);
        this.element.append(this.last.element);
      }
      this.drawn.set(span, this.last.element);
    }
  }
}

function pieces(text: string): HTMLElement[] {
  const found: HTMLElement[] = [];
  for (let from = 0; from === 0 || from < text.length; from += SHOWN) {
    found.push(h("span", { class: "words", "data-more": from > 0, text: text.slice(from, from + SHOWN) }));
  }
  return found;
}

function alike(one: Span, other: Span): boolean {
  return (
    one.author === other.author &&
    one.text === other.text &&
    one.verdict === other.verdict &&
    one.depth === other.depth &&
    one.tokens === other.tokens
  );
}

function verdict(span: Span): string {
  const likely = span.mean_logprob === null ? "" : ` · ${span.mean_logprob.toFixed(2)} nats a token`;
  const judged = readingOf(span).join(" · ");
  return `${span.verdict || "rejected"} · ${plural(span.tokens, "token")}${likely}${judged ? ` · ${judged}` : ""}`;
}

function summaryOf(spans: Span[]): (HTMLElement | string)[] {
  const tokens = spans.reduce((sum, span) => sum + span.tokens, 0);
  const first = spans.find((span) => span.text.trim());
  const words = (first?.text ?? "")
    .slice(0, 4 * EXCERPT)
    .trim()
    .replace(/\s+/g, " ")
    .slice(0, EXCERPT);
  const back = spans.every((span) => span.verdict === "taken back");
  const authors = new Set(spans.map(({ author }) => author));
  const by = authors.size === 1 ? first?.author : "";
  const pill = spans.length === 1 ? pillOf(spans[0]!) : null;
  return [
    h("span", { class: "cross", "aria-hidden": "true", text: "✗ " }),
    h("b", { text: back ? "text" : plural(spans.length, "draft") }),
    `${by ? ` of ${by}` : ""} ${back ? "taken back" : "discarded"}, ${plural(tokens, "token")} `,
    ...(pill ? [pill, " "] : []),
    h("span", { class: `excerpt ${hue(first?.author ?? "other")}`, text: words }),
  ];
}
