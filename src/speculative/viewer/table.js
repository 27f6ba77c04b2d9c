// A table that is sorted by any of its columns.

import { h } from "./dom.js";

/** A column is {title, about, value(row), cell(row), down, left}: `about` explains it, `down` puts the most first, `left` is for cells
    that are no number. */
export class SortedTable {
  constructor(name, columns) {
    this.columns = columns;
    this.by = null;
    this.rows = [];
    this.element = h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": name });
  }

  /** `columns`: those that these rows have. */
  show(rows, columns = this.columns) {
    this.rows = rows;
    this.columns = columns;
    if (this.by && !columns.some((column) => column.title === this.by.title)) this.by = null;
    this.paint();
  }

  paint() {
    const sorting = this.by && this.columns.find((column) => column.title === this.by.title);
    const rows = sorting ? [...this.rows].sort((one, other) => compare(sorting.value(one), sorting.value(other), this.by.up)) : this.rows;
    const head = h("tr", {}, ...this.columns.map((column) => this.heading(column)));
    const body = rows.map((row) => h("tr", { "data-label": row.label }, ...this.columns.map((column) => column.cell(row))));
    this.element.replaceChildren(h("table", { class: "sorted" }, h("thead", {}, head), h("tbody", {}, ...body)));
  }

  heading(column) {
    const { title, about, down, left } = column;
    const sorted = this.by?.title === title;
    const direction = sorted ? (this.by.up ? "ascending" : "descending") : "none";
    const sort = () => {
      this.by = { title, up: sorted ? !this.by.up : !down };
      this.paint();
      this.element.querySelectorAll("th button")[this.columns.indexOf(column)].focus();
    };
    return h("th", { scope: "col", "aria-sort": direction, class: left ? null : "number" }, h("button", { type: "button", title: about, onclick: sort, text: title }));
  }

  /** Brings the row of a label into view and lights it up for a moment. */
  point(label) {
    const row = [...this.element.querySelectorAll("tbody tr")].find((one) => one.dataset.label === label);
    row?.scrollIntoView({ block: "center", behavior: "smooth" });
    row?.classList.add("lit");
    setTimeout(() => row?.classList.remove("lit"), 1600);
  }
}

/** What is missing comes last, whichever way. */
function compare(one, other, up) {
  if (one === other) return 0;
  if (one === null || one === undefined) return 1;
  if (other === null || other === undefined) return -1;
  return (one < other ? -1 : 1) * (up ? 1 : -1);
}
