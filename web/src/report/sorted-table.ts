// A table that is sorted by any of its columns.

import { h } from "../view/dom";

type Value = number | string | null | undefined;

/** `about` explains a column, `down` puts the most first, `left` is for cells that are no number. */
export interface Column<Row> {
  title: string;
  about: string;
  value: (row: Row) => Value;
  cell: (row: Row) => HTMLElement;
  down?: boolean;
  left?: boolean;
}

export class SortedTable<Row extends { label: string }> {
  readonly element: HTMLElement;
  private columns: Column<Row>[] = [];
  private rows: Row[] = [];
  private by: { title: string; up: boolean } | null = null;

  constructor(name: string) {
    this.element = h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": name });
  }

  /** `columns`: those that these rows have. */
  show(rows: Row[], columns: Column<Row>[]): void {
    this.rows = rows;
    this.columns = columns;
    if (this.by && !columns.some((column) => column.title === this.by?.title)) this.by = null;
    this.paint();
  }

  /** Brings the row of a label into view and lights it up for a moment. */
  point(label: string): void {
    const row = [...this.element.querySelectorAll<HTMLElement>("tbody tr")].find((one) => one.dataset.label === label);
    row?.scrollIntoView({ block: "center", behavior: "smooth" });
    row?.classList.add("lit");
    setTimeout(() => row?.classList.remove("lit"), 1600);
  }

  private paint(): void {
    const { by } = this;
    const sorting = by && this.columns.find((column) => column.title === by.title);
    const rows = sorting ? [...this.rows].sort((one, other) => compare(sorting.value(one), sorting.value(other), by.up)) : this.rows;
    const head = h("tr", {}, ...this.columns.map((column) => this.heading(column)));
    const body = rows.map((row) => h("tr", { "data-label": row.label }, ...this.columns.map((column) => column.cell(row))));
    this.element.replaceChildren(h("table", { class: "sorted" }, h("thead", {}, head), h("tbody", {}, ...body)));
  }

  private heading(column: Column<Row>): HTMLElement {
    const { title, about, down, left } = column;
    const sorted = this.by?.title === title;
    const direction = sorted ? (this.by?.up ? "ascending" : "descending") : "none";
    const sort = () => {
      this.by = { title, up: sorted ? !this.by?.up : !down };
      this.paint();
      this.element.querySelectorAll<HTMLElement>("th button")[this.columns.indexOf(column)]?.focus();
    };
    const button = h("button", { type: "button", title: about, onclick: sort, text: title });
    return h("th", { scope: "col", "aria-sort": direction, class: left ? null : "number" }, button);
  }
}

/** What is missing comes last, whichever way. */
function compare(one: Value, other: Value, up: boolean): number {
  if (one === other) return 0;
  if (one === null || one === undefined) return 1;
  if (other === null || other === undefined) return -1;
  return (one < other ? -1 : 1) * (up ? 1 : -1);
}
