// Every problem with its chains side by side: right or wrong at a glance, the text when it is opened.

import type { ReportProblem, Row } from "../data/types";
import { count, h, plural } from "../view/dom";
import { icon, type Marks } from "../view/legend";
import { ChainColumn } from "./chain-column";

const PAGE = 60;
/** A problem with its chains. */
export interface Stated {
  stated: ReportProblem;
  rows: Row[];
}

export const VERDICTS: Record<string, [string, (rows: Row[]) => boolean]> = {
  all: ["any verdict", () => true],
  wrong: ["some chain is wrong", (rows) => rows.some((row) => !row.correct)],
  right: ["some chain is right", (rows) => rows.some((row) => row.correct)],
  split: ["methods disagree", (rows) => rows.some((row) => row.correct) && rows.some((row) => !row.correct)],
  every: ["all are right", (rows) => rows.every((row) => row.correct)],
  none: ["none is right", (rows) => rows.every((row) => !row.correct)],
};

export class ProblemList {
  private readonly list = h("div", { class: "rows" });
  private readonly more = h("button", { type: "button", class: "more", onclick: () => this.grow() });
  readonly element = h("div", { class: "problems" }, this.list, this.more);
  opened = false;
  labels: string[] = [];
  private found: Stated[] = [];
  private shown = 0;
  private views = new Map<string, ProblemRow>();

  constructor(readonly marks: Marks) {}

  /** Opens the drafts of all chains, those that are unpacked later too, or shuts them. */
  open(on: boolean): void {
    this.opened = on;
    for (const row of this.views.values()) row.openDrafts(on);
  }

  /** `problems`: each {stated, rows}. `labels`: the methods that are shown, in order. */
  show(problems: Stated[], labels: string[]): void {
    this.found = problems;
    this.labels = labels;
    this.list.replaceChildren(this.keys());
    this.shown = 0;
    this.views = new Map();
    this.grow();
  }

  /** Opens a problem and brings it into view, if it is among those that are shown. */
  point(id: string): void {
    if (!this.found.some(({ stated }) => stated.id === id)) return;
    while (!this.views.has(id)) this.grow();
    const row = this.views.get(id)!;
    row.open();
    row.element.scrollIntoView();
  }

  private grow(): void {
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

  private keys(): HTMLElement {
    const keys = this.labels.map((label) => h("span", { class: "cell key", title: label }, icon(this.marks.get(label))));
    return h(
      "div",
      { class: "row keys", "aria-hidden": "true", style: { "--cells": this.labels.length } },
      h("span", { text: "problem" }),
      h("span", { class: "cells" }, ...keys),
    );
  }
}

class ProblemRow {
  readonly element: HTMLElement;
  private readonly stated: ReportProblem;
  private readonly rows: Row[];
  private readonly body = h("div", { class: "body", hidden: true });
  private readonly button: HTMLElement;
  private columns: ChainColumn[] = [];

  constructor(
    { stated, rows }: Stated,
    private readonly list: ProblemList,
  ) {
    this.stated = stated;
    this.rows = rows;
    this.button = h(
      "button",
      { type: "button", class: "opener", "aria-expanded": "false", onclick: () => this.toggle() },
      h("span", { class: "id", text: stated.id }),
      stated.level ? h("span", { class: "level", text: `level ${stated.level}` }) : null,
      h("span", { class: "statement", text: stated.text.slice(0, 300) }),
    );
    const cells = list.labels.map((label) =>
      this.cell(
        label,
        rows.filter((row) => row.label === label),
      ),
    );
    const head = h("div", { class: "row", style: { "--cells": list.labels.length } }, this.button, h("span", { class: "cells" }, ...cells));
    this.element = h("article", { class: "problem", "data-problem": stated.id }, head, this.body);
  }

  /** Opens the drafts of the chains that are in sight, or shuts them. */
  openDrafts(on: boolean): void {
    if (!this.body.hidden) for (const column of this.columns) column.openDrafts(on);
  }

  private cell(label: string, rows: Row[]): HTMLElement {
    if (!rows.length) return h("span", { class: "cell", title: `${label}: no chain` });
    const right = rows.filter((row) => row.correct).length;
    const told = rows.length === 1 ? (right ? "right" : "wrong") : `${right}/${rows.length} right`;
    const text = right === rows.length ? "✓" : right ? `${right}/${rows.length}` : "✗";
    const verdict = right === rows.length ? "right" : right ? "partly" : "wrong";
    return h("button", {
      type: "button",
      class: `cell ${verdict}`,
      style: { "--part": 1 - right / rows.length },
      title: `${label}: ${told}`,
      "aria-label": `${label}: ${told}`,
      onclick: () => this.open(label),
      text,
    });
  }

  private toggle(): void {
    if (this.body.hidden) this.open();
    else this.close();
  }

  private close(): void {
    this.body.hidden = true;
    this.body.replaceChildren();
    this.button.setAttribute("aria-expanded", "false");
  }

  /** Shows all chains, those of `label` in view. */
  open(label: string | null = null): void {
    if (this.body.hidden) {
      this.columns = this.rows.map((row) => new ChainColumn(row, this.list.marks, this.list.opened));
      this.body.replaceChildren(
        h("p", { class: "asked", text: this.stated.text || "The text of this problem was not kept, since it has no trace." }),
        h("p", { class: "gold" }, "the right answer is ", h("b", { text: this.stated.gold })),
        h(
          "div",
          { class: "columns", tabindex: "0", role: "region", "aria-label": `chains for ${this.stated.id}` },
          ...this.columns.map((column) => column.element),
        ),
      );
      this.body.hidden = false;
      this.button.setAttribute("aria-expanded", "true");
      for (const column of this.columns) column.watch();
      history.replaceState(null, "", `#${encodeURIComponent(this.stated.id)}`);
    }
    const wanted = label && this.columns.find((column) => column.row.label === label);
    if (wanted) {
      wanted.element.scrollIntoView({ block: "nearest", inline: "start" });
      wanted.element.focus({ preventScroll: true });
    }
  }
}
