// The tables: what each method came to, how it compares with others on the same problems, and what several tries give.

import { brief, count, h, percent, plural } from "./dom.js";
import { icon } from "./legend.js";
import { SortedTable } from "./table.js";
import { wholeRoles } from "./usage.js";

const BASELINE = "big_only";
const VIEWS = {
  api: ["API prices", "the price of a chain's tokens, the mean"],
  gpu: ["device time", "the price of the devices for a chain's time, the mean"],
  flops: ["FLOP", "floating-point operations for a chain, the mean"],
};

const mean = (row, role, field = "produced_tokens") => (row.usage[role]?.[field] ?? 0) / row.chains;
const together = (row) => wholeRoles(row.usage).reduce((sum, [role]) => sum + mean(row, role), 0);

/** All three, of the task whose summaries they are told. */
export class MethodTables {
  constructor(marks) {
    this.marks = marks;
    this.methods = new SortedTable("methods", []);
    this.differences = new SortedTable("paired differences", []);
    this.tries = new SortedTable("several tries", []);
    this.more = h("div");
    this.element = h("div", {}, this.methods.element, this.more);
  }

  show(summaries) {
    this.methods.show(summaries, [this.named("method", (row) => row.label), ...methodColumns(summaries)]);
    const contrasts = summaries.flatMap((row) => row.contrasts);
    const hardware = summaries.flatMap((row) => Object.values(row.costs)).flatMap((cost) => Object.entries(cost.hardware)).map((pair) => pair.join(": "));
    const lost = summaries.filter((row) => row.degraded).map((row) => `${row.label}: ${plural(row.degraded, "chain")}`);
    const parts = hardware.length ? [h("p", { class: "hint", text: `device time is of ${[...new Set(hardware)].join("; ")}` })] : [];
    if (lost.length) parts.unshift(h("p", { class: "hint", text: `${lost.join(", ")} that one model finished alone, since the other one's server was lost: no chains of the method.` }));
    const idle = summaries.filter((row) => row.idle_roles.length).map((row) => `${row.idle_roles.join(" and ")} in all chains of ${row.label}`);
    if (idle.length) parts.unshift(h("p", { class: "hint", text: `Warning: a model did nothing but answer: ${idle.join("; ")}. These figures are not the method's.` }));
    if (contrasts.length) {
      this.differences.show(contrasts, [this.named("method", (row) => row.label), this.named("against", (row) => row.against), ...differenceColumns()]);
      parts.push(h("h3", { text: "Paired differences" }), h("p", { class: "hint", text: "On common problems and tries. Interval and p are for all similar problems; “p here” is for these problems with other seeds." }), this.differences.element);
    }
    if (summaries.some((row) => Object.keys(row.pass_at).length)) {
      this.tries.show(summaries, [this.named("method", (row) => row.label), ...tryColumns(summaries)]);
      parts.push(h("h3", { text: "Several tries" }), h("p", { class: "hint", text: "pass@k: one of k tries is right. maj@k: the most common answer of k tries is right." }), this.tries.element);
    }
    this.more.replaceChildren(...parts);
  }

  named(title, labelOf) {
    return {
      title,
      about: "the method with its parameters",
      value: labelOf,
      left: true,
      cell: (row) => h(title === "method" ? "th" : "td", { scope: title === "method" ? "row" : null }, h("span", { class: `named${title === "method" && row.control_of ? " control" : ""}` }, this.iconOf(labelOf(row)), broken(labelOf(row)))),
    };
  }

  iconOf(label) {
    return this.marks.has(label) ? icon(this.marks.get(label)) : null;
  }
}

function methodColumns(summaries) {
  const most = Math.max(...summaries.filter((row) => !row.control_of).map(together), 1);
  const views = Object.keys(VIEWS).filter((view) => summaries.some((row) => row.costs[view]));
  return [
    { title: "right", about: "right answers, with a 95 % interval that takes problems as clusters", value: (row) => row.accuracy, cell: accuracy, down: true, left: true },
    { title: "tokens a chain", about: "mean tokens of a chain: big's, small's, and the discarded ones of both", value: together, cell: (row) => tokens(row, most), left: true },
    { title: "length", about: "mean kept tokens of a chain and its answer: shorter text is not cheaper text", value: (row) => row.length, cell: (row) => number(count(row.length)) },
    { title: "big tokens", about: "mean tokens that the big model produced for a chain", value: (row) => mean(row, "big"), cell: (row) => number(count(mean(row, "big"))) },
    { title: "big kept", about: "the big model's share of the chain's tokens", value: (row) => row.share_kept, cell: (row) => number(percent(row.share_kept, 0)) },
    { title: "big spent", about: "the big model's share of all produced tokens", value: (row) => row.share_spent, cell: (row) => number(percent(row.share_spent, 0)) },
    { title: "seconds", about: "mean wall time of a chain; the tooltip has the mean number of concurrent chains (each ballot of a vote counts as one)", value: (row) => row.seconds, cell: (row) => number(brief(row.seconds), `${brief(row.mean_concurrency)} chains shared the engines`) },
    { title: "speed", about: `${BASELINE}'s seconds over the method's, on the same problems; none if their concurrency differs by more than a factor of two`, value: (row) => row.speed, cell: (row) => number(row.speed === null ? "·" : `${row.speed.toFixed(2)}×`), down: true },
    ...views.map((view) => ({ title: VIEWS[view][0], about: VIEWS[view][1], value: (row) => row.costs[view]?.chain, cell: (row) => money(row.costs[view]) })),
    { title: "chains", about: "chains, and on how many problems", value: (row) => row.chains, cell: (row) => number(`${count(row.chains)} / ${count(row.problems)}`), down: true },
  ];
}

function differenceColumns() {
  return [
    { title: "difference", about: "difference in accuracy, in points, with a 95 % interval", value: (row) => row.difference, cell: difference, down: true, left: true },
    { title: "p", about: "p-value of no difference over all similar problems", value: (row) => row.p, cell: (row) => number(chance(row.p)) },
    { title: "p here", about: "p-value of no difference on these problems with other seeds: McNemar's exact test", value: (row) => row.p_here, cell: (row) => number(chance(row.p_here)) },
    { title: "big kept", about: "the big model's share of the chain's tokens, of both", value: (row) => row.share_kept[0], cell: (row) => number(row.share_kept.map((share) => percent(share, 0)).join(" vs ")) },
    ...Object.keys(VIEWS).map((view) => ({ title: VIEWS[view][0], about: `what the one costs over what the other costs: ${VIEWS[view][1]}`, value: (row) => row.costs[view], cell: (row) => number(row.costs[view] === undefined ? "·" : `${row.costs[view].toFixed(2)}×`) })),
    { title: "chains", about: "pairs of chains, and on how many problems", value: (row) => row.chains, cell: (row) => number(`${count(row.chains)} / ${count(row.problems)}`), down: true },
  ];
}

function tryColumns(summaries) {
  const columns = [["pass", "pass_at"], ["maj", "maj_at"]].flatMap(([word, field]) => {
    const ks = [...new Set(summaries.flatMap((row) => Object.keys(row[field])))].map(Number).sort((one, other) => one - other);
    return ks.map((k) => [`${word}@${k}`, (row) => row[field][k]]);
  });
  return [["pass@1", (row) => ({ value: row.accuracy, low: row.interval[0], high: row.interval[1] })], ...columns].map(([title, of]) => ({
    title,
    about: `${title}, with a 95 % interval`,
    value: (row) => of(row)?.value,
    cell: (row) => estimate(of(row)),
    down: true,
  }));
}

/** A label that may break where a person would break it. */
function broken(text) {
  return h("span", { class: "label" }, ...text.split(/(?<=[(,*@ ])/).flatMap((part, place) => (place ? [h("wbr"), part] : [part])));
}

function number(text, title = null) {
  return h("td", { class: "number", title, text });
}

function chance(p) {
  if (p === null) return "·";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}

function estimate(found) {
  if (!found) return number("·");
  return h("td", { class: "number" }, percent(found.value), " ", h("small", { text: `${(100 * found.low).toFixed(0)} – ${(100 * found.high).toFixed(0)}` }));
}

function money(cost) {
  if (!cost) return number("·");
  return h("td", { class: "number", title: cost.right === null ? "no right answer" : `${brief(cost.right)} ${cost.unit} for each right answer` }, brief(cost.chain), " ", h("small", { text: cost.unit }));
}

function accuracy(row) {
  const [low, high] = row.interval;
  const track = h("span", { class: "track", "aria-hidden": "true", style: { "--low": low, "--high": high, "--mid": row.accuracy } }, h("i"), h("b"));
  return h("td", { class: "accuracy" }, h("strong", { text: percent(row.accuracy) }), h("small", { text: `${(100 * low).toFixed(1)} – ${(100 * high).toFixed(1)}` }), track);
}

function difference(row) {
  const [low, high] = row.interval;
  const place = (value) => (value + 1) / 2;
  const clear = row.p < 0.05 ? (row.difference > 0 ? " better" : " worse") : "";
  const track = h("span", { class: `track middle${clear}`, "aria-hidden": "true", style: { "--low": place(low), "--high": place(high), "--mid": place(row.difference) } }, h("i"), h("b"));
  const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${(100 * Math.abs(value)).toFixed(1)}`;
  return h("td", { class: "accuracy" }, h("strong", { text: signed(row.difference) }), h("small", { text: `${signed(low)} to ${signed(high)}` }), track);
}

function tokens(row, most) {
  const parts = ["big", "small", "judge"].flatMap((role) => [["kept_tokens", role], ["discarded_tokens", role]]);
  const shown = parts.map(([field, role]) => [role, field, mean(row, role, field)]).filter(([, , value]) => value > 0);
  const told = shown.map(([role, field, value]) => `${role} ${field === "kept_tokens" ? "kept" : "discarded"} ${count(value)}`).join(", ");
  const bars = shown.map(([role, field, value]) => h("i", { class: `${role}${field === "kept_tokens" ? "" : " lost"}`, style: { width: `${(100 * value) / most}%` } }));
  return h("td", { class: "spent", title: told }, h("span", { text: count(together(row)) }), h("span", { class: together(row) > 1.001 * most ? "stack over" : "stack", role: "img", "aria-label": told }, ...bars));
}
