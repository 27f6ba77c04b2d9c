// The table of methods: a row each, sortable by every column.

import { brief, count, h, percent } from "./dom.js";
import { icon } from "./marks.js";

const produced = (row, role) => (row.usage[role]?.produced_tokens ?? 0) / row.chains;
const summed = (row, field) => Object.values(row.usage).reduce((sum, cost) => sum + cost[field], 0) / row.chains;

/** What a column is called, what it means, what it is sorted by, and how it is told. `down`: the most is best. */
const COLUMNS = [
  { title: "right", about: "answers that are right, with a 95 % interval that takes the tries of one problem as one cluster", value: (row) => row.accuracy, cell: accuracy, down: true, left: true },
  { title: "tokens a chain", about: "tokens that were produced for a chain, the mean: big's, small's, and of both those that were discarded", value: (row) => summed(row, "produced_tokens"), cell: tokens, left: true },
  { title: "big tokens", about: "tokens that the big model produced for a chain, the mean", value: (row) => produced(row, "big"), cell: (row) => number(count(produced(row, "big"))) },
  { title: "big kept", about: "the big model's share of the chain's tokens", value: (row) => row.share_kept, cell: (row) => number(percent(row.share_kept, 0)) },
  { title: "big spent", about: "the big model's share of all tokens that were produced", value: (row) => row.share_spent, cell: (row) => number(percent(row.share_spent, 0)) },
  { title: "seconds", about: "wall time of a chain, the mean", value: (row) => row.seconds, cell: (row) => number(brief(row.seconds)) },
  { title: "speed", about: "big_only's seconds over the method's, on the same problems", value: (row) => row.speed, cell: (row) => number(row.speed === null ? "·" : `${row.speed.toFixed(2)}×`), down: true },
  { title: "chains", about: "chains, and on how many problems", value: (row) => row.chains, cell: (row) => number(`${count(row.chains)} / ${count(row.problems)}`), down: true },
];

export class MethodsTable {
  constructor(marks) {
    this.marks = marks;
    this.by = null;
    this.element = h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "methods, as a table" });
  }

  show(standings) {
    this.standings = standings;
    this.most = Math.max(...standings.map((row) => summed(row, "produced_tokens")), 1);
    this.paint();
  }

  /** Brings the row of a label into view and lights it up for a moment. */
  point(label) {
    const row = [...this.element.querySelectorAll("tbody tr")].find((one) => one.dataset.label === label);
    row?.scrollIntoView({ block: "center", behavior: "smooth" });
    row?.classList.add("lit");
    setTimeout(() => row?.classList.remove("lit"), 1600);
  }

  paint() {
    const rows = [...this.standings];
    if (this.by) {
      const { column, up } = this.by;
      const value = (row) => (column ? column.value(row) : row.label);
      rows.sort((one, other) => compare(value(one), value(other), up));
    }
    const head = h("tr", {}, this.heading(null, "method", "the method with its parameters"), ...COLUMNS.map((column) => this.heading(column, column.title, column.about)));
    const body = rows.map((row) =>
      h("tr", { "data-label": row.label }, h("th", { scope: "row" }, h("span", { class: "named" }, icon(this.marks.get(row.label)), label(row.label))), ...COLUMNS.map((column) => column.cell(row, this))),
    );
    this.element.replaceChildren(h("table", { class: "methods" }, h("thead", {}, head), h("tbody", {}, ...body)));
  }

  heading(column, title, about) {
    const sorted = this.by && this.by.column === column;
    const direction = sorted ? (this.by.up ? "ascending" : "descending") : "none";
    const sort = () => {
      this.by = { column, up: sorted ? !this.by.up : !column?.down };
      this.paint();
      this.element.querySelector(`th[data-title="${title}"] button`).focus();
    };
    return h("th", { scope: "col", "aria-sort": direction, "data-title": title, class: column && !column.left ? "number" : null }, h("button", { type: "button", title: about, onclick: sort, text: title }));
  }
}

function compare(one, other, up) {
  if (one === other) return 0;
  if (one === null || one === undefined) return 1;
  if (other === null || other === undefined) return -1;
  return (one < other ? -1 : 1) * (up ? 1 : -1);
}

/** A label that may break where a person would break it. */
function label(text) {
  return h("span", { class: "label" }, ...text.split(/(?<=[(,*@ ])/).flatMap((part, place) => (place ? [h("wbr"), part] : [part])));
}

function number(text) {
  return h("td", { class: "number", text });
}

function accuracy(row) {
  const [low, high] = row.interval;
  const told = `${percent(row.accuracy)} (${percent(low)} to ${percent(high)})`;
  const track = h("span", { class: "track", "aria-hidden": "true", style: { "--low": low, "--high": high, "--mid": row.accuracy } }, h("i"), h("b"));
  return h("td", { class: "accuracy", title: told }, h("strong", { text: percent(row.accuracy) }), h("small", { text: `${(100 * low).toFixed(1)} – ${(100 * high).toFixed(1)}` }), track);
}

function tokens(row, { most }) {
  const parts = ["big", "small", "judge"].flatMap((role) => [["kept_tokens", role], ["discarded_tokens", role]]);
  const shown = parts.map(([field, role]) => [role, field, (row.usage[role]?.[field] ?? 0) / row.chains]).filter(([, , value]) => value > 0);
  const told = shown.map(([role, field, value]) => `${role} ${field === "kept_tokens" ? "kept" : "discarded"} ${count(value)}`).join(", ");
  const bars = shown.map(([role, field, value]) => h("i", { class: `${role}${field === "kept_tokens" ? "" : " lost"}`, style: { width: `${(100 * value) / most}%` } }));
  return h("td", { class: "spent", title: told }, h("span", { text: count(summed(row, "produced_tokens")) }), h("span", { class: "stack", role: "img", "aria-label": told }, ...bars));
}
