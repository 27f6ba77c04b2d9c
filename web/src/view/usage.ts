// What a chain cost, by role and status.

import type { Usage } from "../data/types";
import { count, h } from "./dom";

type Tokens = Exclude<keyof Usage, "seconds">;

const COLUMNS: [Tokens, string][] = [
  ["requests", "calls"],
  ["prompt_tokens", "prompt"],
  ["cached_tokens", "cached"],
  ["scored_tokens", "scored"],
  ["produced_tokens", "produced"],
  ["kept_tokens", "kept"],
  ["discarded_tokens", "discarded"],
];
const OFTEN_ZERO = ["cached_tokens", "scored_tokens"];

/** The rows of whole roles: `small/big`, the big model of a tower, is a part of `small`. */
export function wholeRoles(usage: Record<string, Usage>): [string, Usage][] {
  return Object.entries(usage).filter(([role]) => !role.includes("/"));
}

/** A table with a row a role. A column of zeros that says nothing is left out. */
export function usageTable(usage: Record<string, Usage>): HTMLElement {
  const roles = Object.entries(usage).sort(([one], [other]) => (one < other ? -1 : 1));
  const shown = COLUMNS.filter(([name]) => !OFTEN_ZERO.includes(name) || roles.some(([, cost]) => cost[name]));
  const head = h("tr", {}, h("th", { scope: "col", text: "tokens of" }), ...[...shown.map(([, title]) => title), "seconds"].map(column));
  const rows = roles.map(([role, cost]) =>
    h("tr", {}, h("th", { scope: "row", text: role }), ...shown.map(([name]) => cell(count(cost[name]))), cell(cost.seconds.toFixed(2))),
  );
  return h(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": "usage by role" },
    h("table", { class: "usage" }, h("thead", {}, head), h("tbody", {}, ...rows)),
  );
}

function column(title: string): HTMLElement {
  return h("th", { scope: "col", class: "number", text: title });
}

function cell(text: string): HTMLElement {
  return h("td", { class: "number", text });
}
