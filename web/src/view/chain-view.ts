// The one viewer of chains: text in the colours of its authors, with drafts and verdicts between it. Spans come all at once or one by one.

import type { Span, Timeline, Writing } from "../trace/timeline";
import { hue } from "./author";
import { h } from "./dom";
import { DraftsView } from "./drafts";
import { factsOf } from "./facts";
import { Flow } from "./flow";
import { pillOf } from "./pill";

const DRAFTS = 8;
const EXCERPT = 2_000;
const LIT_MS = 1600;
const SHEET = 30;

export class ChainView {
  readonly element: HTMLElement;
  /** Called with the facts of the span under the pointer. */
  told: (facts: string) => void = () => {};
  private spans: Span[] = [];
  private places: (HTMLElement[] | DraftsView)[] = [];
  private known = new WeakMap<Element, Span>();
  private flow = this.newFlow();
  private drafts: DraftsView | null = null;
  private phase = "thinking";
  private sheet: HTMLElement | null = null;
  private pointer = { x: Number.NaN, y: Number.NaN };
  private lit: HTMLElement[] = [];
  private dimming = 0;
  private readonly live: LiveText;
  private readonly end = h("div", { class: "underway", "aria-live": "off" });

  /** `name` is what a screen reader calls the chain; `open`: whether drafts are in sight at once. */
  constructor(
    name = "chain",
    private opened = false,
  ) {
    this.live = new LiveText(this.end);
    this.element = h(
      "div",
      {
        class: "text",
        tabindex: "0",
        role: "region",
        "aria-label": name,
        onpointerover: (event: PointerEvent) => this.point(event),
        onpointermove: (event: PointerEvent) => this.point(event),
      },
      this.end,
    );
  }

  /** Opens all drafts, those that follow too, or shuts them. */
  open(on: boolean): void {
    this.opened = on;
    for (const drafts of this.element.querySelectorAll<HTMLDetailsElement>(".drafts")) drafts.open = on;
  }

  /** Shows these spans and no others. Those that stand there already stay, so this may be called with every new one. */
  show(spans: Span[]): void {
    const same = this.spans.length <= spans.length && this.spans.every((span, place) => span === spans[place]);
    if (!same) this.clear();
    const touched = new Set<DraftsView>();
    for (let place = this.spans.length; place < spans.length; place++) {
      const span = spans[place]!;
      this.spans.push(span);
      if (span.status === "kept") this.keep(span);
      else if (span.status === "note") this.note(span);
      else touched.add(this.discard(span));
    }
    for (const drafts of touched) drafts.update();
  }

  /** Shows a chain as it stands, and the text that is being written. */
  follow(timeline: Timeline): void {
    this.show(timeline.spans);
    this.live.show(timeline);
  }

  /** Tells the facts of the span of that number. */
  tell(place: number): void {
    const span = this.spans[place];
    if (span) this.told(factsOf(span));
  }

  /** Lights the spans of these numbers and brings the first of them into view. */
  reveal(places: number[]): void {
    const elements = places.flatMap((place) => this.elementsOf(place));
    const [first] = elements;
    if (!first) return;
    this.bring(first);
    requestAnimationFrame(() => this.bring(first)); // again, since sheets that came into sight got their true height
    this.dim();
    this.lit = elements;
    for (const element of elements) element.classList.add("lit");
    this.dimming = window.setTimeout(() => this.dim(), LIT_MS);
  }

  private dim(): void {
    clearTimeout(this.dimming);
    for (const element of this.lit) element.classList.remove("lit");
  }

  private bring(element: HTMLElement): void {
    const { top } = this.element.getBoundingClientRect();
    this.element.scrollTop += element.getBoundingClientRect().top - top - this.element.clientHeight / 3;
  }

  /** The elements of a span; of one without letters, those of the text before it. */
  private elementsOf(place: number): HTMLElement[] {
    for (let at = place; at >= 0; at--) {
      const found = this.places[at] ?? [];
      if (found instanceof DraftsView) return [found.reveal(this.spans[at]!)];
      if (this.spans[at]?.text) return found;
    }
    return [];
  }

  private clear(): void {
    this.spans = [];
    this.places = [];
    this.element.replaceChildren(this.end);
    this.flow = this.newFlow();
    this.drafts = null;
    this.sheet = null;
    this.phase = "thinking";
  }

  private newFlow(): Flow {
    return new Flow((block) => this.put(block));
  }

  private keep(span: Span): void {
    if (span.phase !== this.phase) this.turn(span.phase);
    if (this.drafts) this.flow.end();
    this.drafts = null;
    const runs = this.flow.add(span);
    for (const run of runs) this.known.set(run, span);
    this.places.push(runs);
    const last = runs.at(-1);
    const pill = last && span.text.trim() ? pillOf(span) : null;
    if (last && pill) Flow.mark(last, pill);
  }

  private turn(phase: string): void {
    this.phase = phase;
    this.flow.end();
    this.put(h("div", { class: "phase", role: "heading", "aria-level": "4", text: phase }));
  }

  private note(span: Span): void {
    this.drafts = null;
    this.flow.end();
    const element = h("p", { class: `note ${hue(span.author)}`, text: span.text });
    this.places.push([element]);
    this.put(element);
  }

  private discard(span: Span): DraftsView {
    if (!this.drafts) {
      this.flow.end();
      this.drafts = new DraftsView(this.opened, (element, one) => this.known.set(element, one));
      this.put(this.drafts.element);
    }
    this.drafts.add(span);
    this.places.push(this.drafts);
    return this.drafts;
  }

  /** Adds an element. Those in a sheet that is full are laid out only while they are in sight. */
  private put(element: HTMLElement): void {
    if (!this.sheet || this.sheet.childElementCount >= SHEET) {
      this.sheet?.classList.add("full");
      this.sheet = h("div", { class: "sheet" });
      this.element.insertBefore(this.sheet, this.end);
    }
    this.sheet.append(element);
  }

  /** Tells of the text under a pointer that moved: text that is scrolled below a resting pointer is not meant. */
  private point({ target, clientX, clientY }: PointerEvent): void {
    if (this.pointer.x === clientX && this.pointer.y === clientY) return;
    this.pointer = { x: clientX, y: clientY };
    const found = (target as Element).closest?.(".run, .draft");
    const span = found && this.known.get(found);
    if (!span) return;
    const facts = factsOf(span);
    (found as HTMLElement).title = facts;
    this.told(facts);
  }
}

/** Text that is being written, at the end of all: committed text, open drafts, and the chains of a vote. */
class LiveText {
  private runs = new Map<string, { text: string; flow: Flow; element: HTMLElement }>();
  private children = new Map<Timeline, { view: ChainView; element: HTMLElement }>();
  private readonly open = h("div", { class: "open" });
  private shown = "";

  constructor(private readonly place: HTMLElement) {
    place.append(this.open);
  }

  show(timeline: Timeline): void {
    const writing = [...timeline.writing];
    const committed = writing.filter(([, one]) => one.committed);
    for (const [key, run] of this.runs) {
      if (committed.some(([other]) => other === key)) continue;
      run.element.remove();
      this.runs.delete(key);
    }
    for (const [key, one] of committed) this.append(key, one);
    this.propose(
      timeline,
      writing.filter(([, one]) => !one.committed).map(([, one]) => one),
    );
    this.follow([...timeline.children]);
  }

  private append(key: string, one: Writing): void {
    let run = this.runs.get(key);
    if (!run) {
      const element = h("div", { class: "run-on" });
      run = { text: "", element, flow: new Flow((block) => element.append(block)) };
      this.runs.set(key, run);
      this.place.insertBefore(element, this.open);
    }
    if (one.text.length === run.text.length) return;
    run.flow.add({ ...pale(one), status: "kept" }, one.text.slice(run.text.length));
    run.text = one.text;
  }

  private propose(timeline: Timeline, writing: Writing[]): void {
    const spans = [...timeline.undecided(), ...writing.map(pale)];
    const shown = spans.map((span) => `${span.author}${span.text.length}`).join();
    if (shown === this.shown) return;
    this.shown = shown;
    const more = spans.length - DRAFTS;
    this.open.replaceChildren(
      ...spans
        .slice(-DRAFTS)
        .map((span) =>
          h(
            "div",
            { class: `proposal ${hue(span.author)}` },
            h("span", { class: "who", text: `draft of ${span.author}` }),
            h("span", { class: "words", text: span.text.slice(-EXCERPT) }),
          ),
        ),
      ...(more > 0 ? [h("p", { class: "hint", text: `and ${more} more drafts` })] : []),
    );
  }

  private follow(children: [number, Timeline][]): void {
    const now = new Set(children.map(([, timeline]) => timeline));
    for (const [timeline, { element }] of this.children) {
      if (now.has(timeline)) continue;
      element.remove();
      this.children.delete(timeline);
    }
    for (const [number, timeline] of children) {
      let child = this.children.get(timeline);
      if (!child) {
        const view = new ChainView(`chain ${number + 1}`);
        const element = h(
          "div",
          { class: "child" },
          h("p", { class: "hint", text: `chain ${number + 1} on the same problem` }),
          view.element,
        );
        child = { view, element };
        this.children.set(timeline, child);
        this.place.append(element);
      }
      child.view.follow(timeline);
    }
  }
}

function pale(one: Writing): Span {
  return { author: one.role, text: one.text, status: "draft", phase: one.phase, depth: 0, tokens: 0, verdict: "", mean_logprob: null };
}
