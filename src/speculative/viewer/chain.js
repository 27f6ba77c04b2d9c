// The one viewer of chains: text in the colours of its authors, drafts and verdicts hanging off it.
//
// A span is {author, text, status: kept | discarded | note, phase: thinking | answer, depth, tokens, verdict, mean_logprob}
// (report/timeline.py). Spans may come all at once or one by one.

import { hue } from "./bar.js";
import { h, plural } from "./dom.js";

const EXCERPT = 90;

export class ChainView {
  /** `name` is what a screen reader calls the chain; `open`: whether drafts are in sight at once. */
  constructor(name = "chain", open = false) {
    this.opened = open;
    this.end = h("div", { class: "underway", "aria-live": "off" });
    this.element = h("div", { class: "text", tabindex: "0", role: "region", "aria-label": name }, this.end);
    this.clear();
  }

  /** Opens all drafts, those that follow too, or shuts them. */
  open(on) {
    this.opened = on;
    for (const drafts of this.element.querySelectorAll(".drafts")) drafts.open = on;
  }

  clear() {
    this.spans = [];
    this.element.replaceChildren(this.end);
    this.run = this.drafts = null;
    this.phase = "thinking";
  }

  /** Shows these spans and no others. Those that stand there already stay, so this may be called with every new one. */
  show(spans) {
    const same = this.spans.length <= spans.length && this.spans.every((span, place) => equal(span, spans[place]));
    if (!same) this.clear();
    this.add(spans.slice(this.spans.length));
  }

  /** Spans that follow those that are there. */
  add(spans) {
    for (const span of spans) {
      this.spans.push(span);
      if (span.status === "kept") this.keep(span);
      else if (span.status === "note") this.note(span);
      else this.discard(span);
    }
  }

  /** Text that is still being written, at the end of all; each call takes the place of the one before. */
  underway(spans) {
    this.end.replaceChildren(...spans.map((span) => runOf(span)));
  }

  keep(span) {
    if (span.phase !== this.phase) this.turn(span.phase);
    this.drafts = null;
    const last = this.run;
    if (last && last.author === span.author && last.verdict === span.verdict) {
      last.words.append(span.text);
      return;
    }
    const element = runOf(span);
    this.put(element);
    this.run = { author: span.author, verdict: span.verdict, words: element.lastChild };
  }

  turn(phase) {
    this.phase = phase;
    this.run = null;
    this.put(h("div", { class: "phase", role: "heading", "aria-level": "5", text: phase }));
  }

  note(span) {
    this.run = this.drafts = null;
    this.put(h("p", { class: `note ${hue(span.author)}`, text: span.text }));
  }

  discard(span) {
    this.run = null;
    if (!this.drafts) {
      const summary = h("summary");
      const element = h("details", { class: "drafts", open: this.opened }, summary);
      this.put(element);
      this.drafts = { element, summary, all: [] };
    }
    const { element, summary, all } = this.drafts;
    const last = all.at(-1);
    if (last && equal(last.span, span)) last.again();
    else {
      all.push(new DraftView(span));
      element.append(all.at(-1).element);
    }
    summary.replaceChildren(...summaryOf(all));
  }

  put(element) {
    this.element.insertBefore(element, this.end);
  }
}

/** One discarded draft with its verdict; equal ones that follow each other are counted. */
class DraftView {
  constructor(span) {
    this.span = span;
    this.times = 1;
    this.told = h("span", { class: "verdict", text: verdict(span) });
    this.element = h(
      "div",
      { class: `draft ${hue(span.author)}`, style: { "--depth": Math.min(span.depth, 8) } },
      h("span", { class: "who", text: span.author }),
      this.told,
      h("span", { class: "words", text: span.text }),
    );
  }

  again() {
    this.times += 1;
    this.told.replaceChildren(`${this.times} times: ${verdict(this.span)}`);
  }
}

function runOf(span) {
  const accepted = span.verdict === "accepted";
  const told = accepted ? `a draft of ${span.author} that was accepted${meanLogprob(span)}` : null;
  return h(
    "span",
    { class: `run ${hue(span.author)}${accepted ? " accepted" : ""}`, title: told },
    h("span", { class: "who", text: span.author }),
    h("span", { class: "words", text: span.text }),
  );
}

function verdict(span) {
  return `${span.verdict || "rejected"} · ${plural(span.tokens, "token")}${meanLogprob(span)}`;
}

function meanLogprob(span) {
  return span.mean_logprob === null || span.mean_logprob === undefined ? "" : ` · ${span.mean_logprob.toFixed(2)} nats a token`;
}

function summaryOf(all) {
  const number = all.reduce((sum, draft) => sum + draft.times, 0);
  const tokens = all.reduce((sum, draft) => sum + draft.times * draft.span.tokens, 0);
  const first = all.find((draft) => draft.span.text.trim());
  const words = (first?.span.text ?? "").slice(0, 4 * EXCERPT).trim().replace(/\s+/g, " ").slice(0, EXCERPT);
  const back = all.every((draft) => draft.span.verdict === "taken back");
  return [
    h("span", { class: "cross", "aria-hidden": "true", text: "✗ " }),
    h("b", { text: back ? "text" : plural(number, "draft") }),
    ` ${back ? "taken back" : "discarded"}, ${plural(tokens, "token")} `,
    h("span", { class: `excerpt ${hue(first?.span.author ?? "other")}`, text: words }),
  ];
}

function equal(one, other) {
  return one === other || Object.keys(one).every((key) => one[key] === other[key]);
}
