// Every problem with its chains side by side: right or wrong at a glance, the text when it is opened.

import { ChainView } from "./chain.js";
import { bar } from "./bar.js";
import { count, h, plural } from "./dom.js";
import { icon } from "./legend.js";
import { spansOf, unpacked } from "./data.js";
import { usageTable, wholeRoles } from "./usage.js";

const PAGE = 60;
export const VERDICTS = {
  all: ["any verdict", () => true],
  wrong: ["some chain is wrong", (rows) => rows.some((row) => !row.correct)],
  right: ["some chain is right", (rows) => rows.some((row) => row.correct)],
  split: ["methods disagree", (rows) => rows.some((row) => row.correct) && rows.some((row) => !row.correct)],
  every: ["all are right", (rows) => rows.every((row) => row.correct)],
  none: ["none is right", (rows) => rows.every((row) => !row.correct)],
};

export class ProblemList {
  constructor(marks) {
    this.marks = marks;
    this.list = h("div", { class: "rows" });
    this.more = h("button", { type: "button", class: "more", onclick: () => this.grow() });
    this.element = h("div", { class: "problems" }, this.list, this.more);
  }

  /** Opens the drafts of all chains, those that are unpacked later too, or shuts them. */
  open(on) {
    this.opened = on;
    for (const element of this.list.querySelectorAll(".column")) columns.get(element).view?.open(on);
  }

  /** `problems`: each {stated, rows}. `labels`: the methods that are shown, in order. */
  show(problems, labels) {
    this.found = problems;
    this.labels = labels;
    this.list.replaceChildren(this.keys());
    this.shown = 0;
    this.views = new Map();
    this.grow();
  }

  /** Opens a problem and brings it into view, if it is among those that are shown. */
  point(id) {
    if (!this.found.some(({ stated }) => stated.id === id)) return;
    while (!this.views.has(id)) this.grow();
    const row = this.views.get(id);
    row.open();
    row.element.scrollIntoView();
  }

  grow() {
    const next = this.found.slice(this.shown, this.shown + PAGE);
    for (const problem of next) {
      const row = new ProblemRow(problem, this);
      this.views.set(problem.stated.id, row);
      this.list.append(row.element);
    }
    this.shown += next.length;
    const left = this.found.length - this.shown;
    this.more.hidden = left <= 0;
    this.more.replaceChildren(`show ${count(Math.min(PAGE, left))} more of ${plural(left, "problem")}`);
  }

  keys() {
    const keys = this.labels.map((label) => h("span", { class: "cell key", title: label }, icon(this.marks.get(label))));
    return h("div", { class: "row keys", "aria-hidden": "true", style: { "--cells": this.labels.length } }, h("span", { text: "problem" }), h("span", { class: "cells" }, ...keys));
  }
}

class ProblemRow {
  constructor({ stated, rows }, list) {
    Object.assign(this, { stated, rows, list });
    this.body = h("div", { class: "body", hidden: true });
    this.button = h(
      "button",
      { type: "button", class: "opener", "aria-expanded": "false", onclick: () => this.toggle() },
      h("span", { class: "id", text: stated.id }),
      stated.level ? h("span", { class: "level", text: `level ${stated.level}` }) : null,
      h("span", { class: "statement", text: stated.text.slice(0, 300) }),
    );
    const cells = list.labels.map((label) => this.cell(label, rows.filter((row) => row.label === label)));
    const head = h("div", { class: "row", style: { "--cells": list.labels.length } }, this.button, h("span", { class: "cells" }, ...cells));
    this.element = h("article", { class: "problem", "data-problem": stated.id }, head, this.body);
  }

  cell(label, rows) {
    if (!rows.length) return h("span", { class: "cell", title: `${label}: no chain` });
    const right = rows.filter((row) => row.correct).length;
    const told = rows.length === 1 ? (right ? "right" : "wrong") : `${right} of ${rows.length} right`;
    const text = right === rows.length ? "✓" : right ? `${right}/${rows.length}` : "✗";
    const verdict = right === rows.length ? "right" : right ? "partly" : "wrong";
    return h("button", { type: "button", class: `cell ${verdict}`, style: { "--part": 1 - right / rows.length }, title: `${label}: ${told}`, "aria-label": `${label}: ${told}`, onclick: () => this.open(label), text });
  }

  toggle() {
    if (this.body.hidden) this.open();
    else this.close();
  }

  close() {
    this.body.hidden = true;
    this.body.replaceChildren();
    this.button.setAttribute("aria-expanded", "false");
  }

  /** Shows all chains, those of `label` in view. */
  open(label = null) {
    if (this.body.hidden) {
      this.columns = this.rows.map((row) => new Column(row, this.list));
      this.body.replaceChildren(
        h("p", { class: "asked", text: this.stated.text || "The text of this problem was not kept, since it has no trace." }),
        h("p", { class: "gold" }, "the right answer is ", h("b", { text: this.stated.gold })),
        h("div", { class: "columns", tabindex: "0", role: "region", "aria-label": `chains for ${this.stated.id}` }, ...this.columns.map((column) => column.element)),
      );
      this.body.hidden = false;
      this.button.setAttribute("aria-expanded", "true");
      for (const column of this.columns) seen.observe(column.element);
      history.replaceState(null, "", `#${encodeURIComponent(this.stated.id)}`);
    }
    const wanted = label && this.columns.find((column) => column.row.label === label);
    if (wanted) {
      wanted.element.scrollIntoView({ block: "nearest", inline: "start" });
      wanted.element.focus({ preventScroll: true });
    }
  }
}

/** One chain beside others; its text is unpacked when it comes into view. */
class Column {
  constructor(row, list) {
    Object.assign(this, { row, list });
    const found = row.found === null ? "no answer found" : row.found;
    this.chain = h("div", { class: "chain" }, h("p", { class: "wait", text: "…" }));
    this.element = h(
      "article",
      { class: `column ${row.correct ? "right" : "wrong"}`, tabindex: "-1", "aria-label": `${row.label}, ${row.correct ? "right" : "wrong"}` },
      h("header", {}, icon(list.marks.get(row.label)), h("span", { class: "label", text: row.label }), row.epoch ? h("small", { text: `try ${row.epoch + 1}` }) : null),
      h("p", { class: "outcome" }, h("b", { text: row.correct ? "✓ right" : "✗ wrong" }), " ", h("span", { class: "found", text: found }), row.correct ? null : h("small", { text: ` ${row.why}` })),
      h("p", { class: "facts", text: facts(row) }),
      this.chain,
    );
    columns.set(this.element, this);
  }

  async unpack() {
    if (!this.row.block) {
      this.chain.replaceChildren(h("p", { class: "missing", text: `No chain to show: ${this.row.missing}.` }), h("div", { class: "text", text: this.row.answer }), usageTable(this.row.usage));
      return;
    }
    try {
      const packed = await unpacked(this.row.block);
      const spans = spansOf(packed);
      this.view = new ChainView(`chain of ${this.row.label}`, this.list.opened);
      this.view.show(spans);
      this.chain.replaceChildren(bar(spans, packed.usage), this.view.element, h("details", { class: "cost" }, h("summary", { text: "usage" }), usageTable(packed.usage)));
    } catch (error) {
      this.chain.replaceChildren(h("p", { class: "missing", text: `This chain cannot be unpacked: ${error.message}` }));
    }
  }
}

const columns = new WeakMap();
const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      columns.get(target).unpack();
    }
  },
  { rootMargin: "300px" },
);

const FINISHES = { stop: "finished", length: "token budget used up", loop: "steps repeat", context: "context full", time: "time limit reached" };

function facts(row) {
  const tokens = wholeRoles(row.usage).reduce((sum, [, cost]) => sum + cost.produced_tokens, 0);
  return `${plural(tokens, "token")} produced · ${row.seconds.toFixed(2)} s · ${FINISHES[row.finish_reason] ?? row.finish_reason}${row.degraded ? ` · ${row.degraded} was lost` : ""}`;
}
