// The one viewer of chains: text in the colours of its authors, drafts and verdicts hanging off it.
//
// A stroke is {author, text, fate: kept | discarded | note, phase: thinking | answer, depth, tokens, verdict, sureness}
// (report/strokes.py). Strokes may come all at once or one by one.

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
    this.strokes = [];
    this.element.replaceChildren(this.end);
    this.run = this.drafts = null;
    this.phase = "thinking";
  }

  /** Shows these strokes and no others. Those that stand there already stay, so this may be called with every new one. */
  show(strokes) {
    const same = this.strokes.length <= strokes.length && this.strokes.every((stroke, place) => equal(stroke, strokes[place]));
    if (!same) this.clear();
    this.add(strokes.slice(this.strokes.length));
  }

  /** Strokes that follow those that are there. */
  add(strokes) {
    for (const stroke of strokes) {
      this.strokes.push(stroke);
      if (stroke.fate === "kept") this.keep(stroke);
      else if (stroke.fate === "note") this.note(stroke);
      else this.discard(stroke);
    }
  }

  /** Text that is still being written, at the end of all; each call takes the place of the one before. */
  underway(strokes) {
    this.end.replaceChildren(...strokes.map((stroke) => runOf(stroke)));
  }

  keep(stroke) {
    if (stroke.phase !== this.phase) this.turn(stroke.phase);
    this.drafts = null;
    const last = this.run;
    if (last && last.author === stroke.author && last.verdict === stroke.verdict) {
      last.words.append(stroke.text);
      return;
    }
    const element = runOf(stroke);
    this.put(element);
    this.run = { author: stroke.author, verdict: stroke.verdict, words: element.lastChild };
  }

  turn(phase) {
    this.phase = phase;
    this.run = null;
    this.put(h("div", { class: "phase", role: "heading", "aria-level": "5", text: phase }));
  }

  note(stroke) {
    this.run = this.drafts = null;
    this.put(h("p", { class: `note ${hue(stroke.author)}`, text: stroke.text }));
  }

  discard(stroke) {
    this.run = null;
    if (!this.drafts) {
      const summary = h("summary");
      const element = h("details", { class: "drafts", open: this.opened }, summary);
      this.put(element);
      this.drafts = { element, summary, all: [] };
    }
    const { element, summary, all } = this.drafts;
    const last = all.at(-1);
    if (last && equal(last.stroke, stroke)) last.again();
    else {
      all.push(new DraftView(stroke));
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
  constructor(stroke) {
    this.stroke = stroke;
    this.times = 1;
    this.told = h("span", { class: "verdict", text: verdict(stroke) });
    this.element = h(
      "div",
      { class: `draft ${hue(stroke.author)}`, style: { "--depth": Math.min(stroke.depth, 8) } },
      h("span", { class: "who", text: stroke.author }),
      this.told,
      h("span", { class: "words", text: stroke.text }),
    );
  }

  again() {
    this.times += 1;
    this.told.replaceChildren(`${this.times} times: ${verdict(this.stroke)}`);
  }
}

function runOf(stroke) {
  const accepted = stroke.verdict === "accepted";
  const told = accepted ? `a draft of ${stroke.author} that was accepted${sureness(stroke)}` : null;
  return h(
    "span",
    { class: `run ${hue(stroke.author)}${accepted ? " accepted" : ""}`, title: told },
    h("span", { class: "who", text: stroke.author }),
    h("span", { class: "words", text: stroke.text }),
  );
}

function verdict(stroke) {
  return `${stroke.verdict || "rejected"} · ${plural(stroke.tokens, "token")}${sureness(stroke)}`;
}

function sureness(stroke) {
  return stroke.sureness === null || stroke.sureness === undefined ? "" : ` · ${stroke.sureness.toFixed(2)} nats a token`;
}

function summaryOf(all) {
  const number = all.reduce((sum, draft) => sum + draft.times, 0);
  const tokens = all.reduce((sum, draft) => sum + draft.times * draft.stroke.tokens, 0);
  const first = all.find((draft) => draft.stroke.text.trim());
  const words = (first?.stroke.text ?? "").slice(0, 4 * EXCERPT).trim().replace(/\s+/g, " ").slice(0, EXCERPT);
  const back = all.every((draft) => draft.stroke.verdict === "taken back");
  return [
    h("span", { class: "cross", "aria-hidden": "true", text: "✗ " }),
    h("b", { text: back ? "text" : plural(number, "draft") }),
    ` ${back ? "taken back" : "discarded"}, ${plural(tokens, "token")} `,
    h("span", { class: `excerpt ${hue(first?.stroke.author ?? "other")}`, text: words }),
  ];
}

function equal(one, other) {
  return one === other || Object.keys(one).every((key) => one[key] === other[key]);
}
