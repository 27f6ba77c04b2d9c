// The tables: what each method came to, how it compares with others on the same problems, and what several tries give.

import type { Contrast, Cost, Estimate, MethodSummary, Usage } from "../data/types";
import { brief, count, h, percent, plural } from "../view/dom";
import { icon, type Marks } from "../view/legend";
import { wholeRoles } from "../view/usage";
import { type Column, SortedTable } from "./sorted-table";

const BASELINE = "big_only";
const VIEWS: Record<string, [string, string, number]> = {
  api: ["API, 1,000 chains", "the price of the tokens of 1,000 chains", 1000],
  gpu: ["devices, 1,000 chains", "the price of the devices for the time of 1,000 chains", 1000],
  flops: ["FLOP", "floating-point operations for a chain, the mean", 1],
};

const mean = (row: MethodSummary, role: string, field: keyof Usage = "produced_tokens") => (row.usage[role]?.[field] ?? 0) / row.chains;
const together = (row: MethodSummary) => wholeRoles(row.usage).reduce((sum, [role]) => sum + mean(row, role), 0);

/** All three, of the task whose summaries they are told. */
export class MethodTables {
  readonly methods = new SortedTable<MethodSummary>("figures of each method");
  private readonly differences = new SortedTable<Contrast>("paired differences");
  private readonly tries = new SortedTable<MethodSummary>("several tries");
  private readonly more = h("div");
  readonly element = h("div", {}, this.methods.element, this.more);

  constructor(private readonly marks: Marks) {}

  show(summaries: MethodSummary[]): void {
    this.methods.show(summaries, [this.named("method", (row) => row.label), ...methodColumns(summaries)]);
    const contrasts = summaries.flatMap((row) => row.contrasts);
    const hardware = summaries
      .flatMap((row) => Object.values(row.costs))
      .flatMap((cost) => Object.entries(cost.hardware))
      .map((pair) => pair.join(": "));
    const lost = summaries.filter((row) => row.degraded).map((row) => `${row.label}: ${plural(row.degraded, "chain")}`);
    const parts: HTMLElement[] = hardware.length
      ? [h("p", { class: "hint", text: `device time is of ${[...new Set(hardware)].join("; ")}` })]
      : [];
    if (lost.length)
      parts.unshift(
        h("p", {
          class: "hint",
          text: `${lost.join(", ")} that one model finished alone, since the other one's server was lost: no chains of the method.`,
        }),
      );
    const idle = summaries
      .filter((row) => row.idle_roles.length)
      .map((row) => `${row.idle_roles.join(" and ")} in all chains of ${row.label}`);
    if (idle.length) {
      parts.unshift(
        h("p", {
          class: "hint",
          text: `Warning: a model did nothing but answer: ${idle.join("; ")}. These figures are not the method's.`,
        }),
      );
    }
    if (contrasts.length) {
      this.differences.show(contrasts, [
        this.named<Contrast>("method", (row) => row.label),
        this.named<Contrast>("against", (row) => row.against),
        ...differenceColumns(),
      ]);
      parts.push(
        h("h3", { text: "Paired differences" }),
        h("p", {
          class: "hint",
          text: "On common problems and tries. Interval and p are for all similar problems; “p here” is for these problems with other seeds.",
        }),
        this.differences.element,
      );
    }
    if (summaries.some((row) => Object.keys(row.pass_at).length)) {
      this.tries.show(summaries, [this.named("method", (row) => row.label), ...tryColumns(summaries)]);
      parts.push(
        h("h3", { text: "Several tries" }),
        h("p", { class: "hint", text: "pass@k: one of k tries is right. maj@k: the most common answer of k tries is right." }),
        this.tries.element,
      );
    }
    this.more.replaceChildren(...parts);
  }

  private named<Row extends Named>(title: string, labelOf: (row: Row) => string): Column<Row> {
    return namedColumn(this.marks, title, labelOf);
  }
}

interface Named {
  label: string;
  control_of?: string | null;
}

/** The column with the name of a method and its mark. */
export function namedColumn<Row extends Named>(marks: Marks, title: string, labelOf: (row: Row) => string): Column<Row> {
  return {
    title,
    about: "the method with its parameters",
    value: labelOf,
    left: true,
    cell: (row) =>
      h(
        title === "method" ? "th" : "td",
        { scope: title === "method" ? "row" : null },
        h(
          "span",
          { class: `named${title === "method" && row.control_of ? " control" : ""}` },
          icon(marks.get(labelOf(row))),
          broken(labelOf(row)),
        ),
      ),
  };
}

function methodColumns(summaries: MethodSummary[]): Column<MethodSummary>[] {
  const most = Math.max(...summaries.filter((row) => !row.control_of).map(together), 1);
  const views = Object.keys(VIEWS).filter((view) => summaries.some((row) => row.costs[view]));
  return [
    {
      title: "right",
      about: "right answers, with a 95 % interval that takes problems as clusters",
      value: (row) => row.accuracy,
      cell: accuracy,
      down: true,
      left: true,
    },
    {
      title: "tokens a chain",
      about: "mean tokens of a chain: big's, small's, and the discarded ones of both",
      value: together,
      cell: (row) => tokens(row, most),
      left: true,
    },
    {
      title: "length",
      about: "mean kept tokens of a chain and its answer: shorter text is not cheaper text",
      value: (row) => row.length,
      cell: (row) => number(count(row.length)),
    },
    {
      title: "big tokens",
      about: "mean tokens that the big model produced for a chain",
      value: (row) => mean(row, "big"),
      cell: (row) => number(count(mean(row, "big"))),
    },
    {
      title: "big kept",
      about: "the big model's share of the chain's tokens",
      value: (row) => row.share_kept,
      cell: (row) => number(percent(row.share_kept, 0)),
    },
    {
      title: "big spent",
      about: "the big model's share of all produced tokens",
      value: (row) => row.share_spent,
      cell: (row) => number(percent(row.share_spent, 0)),
    },
    {
      title: "seconds",
      about: "mean wall time of a chain; the tooltip has the mean number of concurrent chains (each ballot of a vote counts as one)",
      value: (row) => row.seconds,
      cell: (row) => number(brief(row.seconds), `${brief(row.mean_concurrency)} chains shared the engines`),
    },
    {
      title: "speed",
      about: `${BASELINE}'s seconds over the method's, on the same problems; none if their concurrency differs by more than a factor of two`,
      value: (row) => row.speed,
      cell: (row) => number(row.speed === null ? "·" : `${row.speed.toFixed(2)}×`),
      down: true,
    },
    ...views.map((view) => ({
      title: VIEWS[view]![0],
      about: VIEWS[view]![1],
      value: (row: MethodSummary) => row.costs[view]?.chain,
      cell: (row: MethodSummary) => money(row.costs[view], VIEWS[view]![2]),
    })),
    {
      title: "chains",
      about: "chains, and on how many problems",
      value: (row) => row.chains,
      cell: (row) => number(`${count(row.chains)} / ${count(row.problems)}`),
      down: true,
    },
  ];
}

function differenceColumns(): Column<Contrast>[] {
  return [
    {
      title: "difference",
      about: "difference in accuracy, in points, with a 95 % interval",
      value: (row) => row.difference,
      cell: difference,
      down: true,
      left: true,
    },
    {
      title: "p",
      about: "p-value of no difference over all similar problems",
      value: (row) => row.p,
      cell: (row) => number(chance(row.p)),
    },
    {
      title: "p here",
      about: "p-value of no difference on these problems with other seeds: McNemar's exact test",
      value: (row) => row.p_here,
      cell: (row) => number(chance(row.p_here)),
    },
    {
      title: "big kept",
      about: "the big model's share of the chain's tokens, of both",
      value: (row) => row.share_kept[0],
      cell: (row) => number(row.share_kept.map((share) => percent(share, 0)).join(" vs ")),
    },
    ...Object.entries(VIEWS).map(([view, [title, about]]) => ({
      title: title.replace(", 1,000 chains", ""),
      about: `what the one costs over what the other costs: ${about}`,
      value: (row: Contrast) => row.costs[view],
      cell: (row: Contrast) => number(row.costs[view] === undefined ? "·" : `${row.costs[view].toFixed(2)}×`),
    })),
    {
      title: "chains",
      about: "pairs of chains, and on how many problems",
      value: (row) => row.chains,
      cell: (row) => number(`${count(row.chains)} / ${count(row.problems)}`),
      down: true,
    },
  ];
}

type Tried = (row: MethodSummary) => Estimate | undefined;

function tryColumns(summaries: MethodSummary[]): Column<MethodSummary>[] {
  const columns = (["pass_at", "maj_at"] as const).flatMap((field) => {
    const word = field.slice(0, -"_at".length);
    const ks = [...new Set(summaries.flatMap((row) => Object.keys(row[field])))].map(Number).sort((one, other) => one - other);
    return ks.map((k): [string, Tried] => [`${word}@${k}`, (row) => row[field][k]]);
  });
  const first: [string, Tried] = ["pass@1", (row) => ({ value: row.accuracy, low: row.interval[0], high: row.interval[1] })];
  return [first, ...columns].map(([title, of]) => ({
    title,
    about: `${title}, with a 95 % interval`,
    value: (row) => of(row)?.value,
    cell: (row) => estimate(of(row)),
    down: true,
  }));
}

/** A label that may break where a person would break it. */
function broken(text: string): HTMLElement {
  return h("span", { class: "label" }, ...text.split(/(?<=[(,*@ _])/).flatMap((part, place) => (place ? [h("wbr"), part] : [part])));
}

export function number(text: string, title: string | null = null): HTMLElement {
  return h("td", { class: "number", title, text });
}

function chance(p: number | null): string {
  if (p === null) return "·";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}

function estimate(found: Estimate | undefined): HTMLElement {
  if (!found) return number("·");
  return h(
    "td",
    { class: "number" },
    percent(found.value),
    " ",
    h("small", { text: `${(100 * found.low).toFixed(0)} – ${(100 * found.high).toFixed(0)}` }),
  );
}

/** The cost of so many chains. */
function money(cost: Cost | undefined, chains: number): HTMLElement {
  if (!cost) return number("·");
  return h(
    "td",
    { class: "number", title: cost.right === null ? "no right answer" : `${brief(cost.right)} ${cost.unit} for each right answer` },
    brief(cost.chain * chains),
    " ",
    h("small", { text: cost.unit }),
  );
}

function accuracy(row: MethodSummary): HTMLElement {
  const [low, high] = row.interval;
  const track = h(
    "span",
    { class: "track", "aria-hidden": "true", style: { "--low": low, "--high": high, "--mid": row.accuracy } },
    h("i"),
    h("b"),
  );
  return h(
    "td",
    { class: "accuracy" },
    h("strong", { text: percent(row.accuracy) }),
    h("small", { text: `${(100 * low).toFixed(1)} – ${(100 * high).toFixed(1)}` }),
    track,
  );
}

function difference(row: Contrast): HTMLElement {
  const [low, high] = row.interval;
  const place = (value: number) => (value + 1) / 2;
  const clear = row.p < 0.05 ? (row.difference > 0 ? " better" : " worse") : "";
  const track = h(
    "span",
    {
      class: `track middle${clear}`,
      "aria-hidden": "true",
      style: { "--low": place(low), "--high": place(high), "--mid": place(row.difference) },
    },
    h("i"),
    h("b"),
  );
  const signed = (value: number) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${(100 * Math.abs(value)).toFixed(1)}`;
  return h(
    "td",
    { class: "accuracy" },
    h("strong", { text: signed(row.difference) }),
    h("small", { text: `${signed(low)} to ${signed(high)}` }),
    track,
  );
}

function tokens(row: MethodSummary, most: number): HTMLElement {
  const parts = ["big", "small", "judge"].flatMap((role): ["kept_tokens" | "discarded_tokens", string][] => [
    ["kept_tokens", role],
    ["discarded_tokens", role],
  ]);
  const shown = parts
    .map(([field, role]): [string, string, number] => [role, field, mean(row, role, field)])
    .filter(([, , value]) => value > 0);
  const told = shown.map(([role, field, value]) => `${role} ${field === "kept_tokens" ? "kept" : "discarded"} ${count(value)}`).join(", ");
  const bars = shown.map(([role, field, value]) =>
    h("i", { class: `${role}${field === "kept_tokens" ? "" : " lost"}`, style: { width: `${(100 * value) / most}%` } }),
  );
  return h(
    "td",
    { class: "spent", title: told },
    h("span", { text: count(together(row)) }),
    h("span", { class: together(row) > 1.001 * most ? "stack over" : "stack", role: "img", "aria-label": told }, ...bars),
  );
}
