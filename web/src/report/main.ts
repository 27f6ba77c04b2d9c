// The report: accuracy against cost, the methods, the problems with their chains, and where all of it comes from.

import { unpacked } from "../data/blocks";
import type { Contents, Frontier } from "../data/types";
import { h, plural } from "../view/dom";
import { type Marks, marksOf } from "../view/legend";
import { chips, choice, logo, options, search, toggle } from "./controls";
import { FrontierView } from "./frontier";
import { HardwareView } from "./hardware";
import { MethodTables } from "./methods";
import { ProblemList, type Stated, VERDICTS } from "./problems";
import { provenance } from "./provenance";

const page = document.getElementById("page")!;

interface Wanted {
  verdict: string;
  level: string;
  words: string;
  labels: Set<string>;
}

class ReportView {
  private readonly tasks: string[];
  private task: string; // an address that ends in #PROBLEM opens that problem
  private wanted: Wanted = { verdict: "all", level: "", words: "", labels: new Set() };
  private readonly marks: Marks;
  private readonly tables: MethodTables;
  private readonly hardware: HardwareView | null;
  private readonly plot: FrontierView;
  private readonly list: ProblemList;
  private readonly lead = h("p", { class: "lead" });
  private readonly axes = h("div", { class: "axes" });
  private readonly filters = h("div", { class: "filters", role: "search" });
  private readonly found = h("p", { class: "said", role: "status" });
  private labels: string[] = [];
  private problems: Stated[] = [];
  private axis: Frontier["axis"]["key"] | undefined;

  constructor(private readonly contents: Contents) {
    this.tasks = [...new Set(contents.summaries.map((row) => row.task))];
    this.task = this.tasks[0] ?? "";
    this.marks = marksOf(contents.marks);
    this.tables = new MethodTables(this.marks);
    this.plot = new FrontierView(this.marks, (label) => this.tables.methods.point(label));
    this.hardware = contents.hardware ? new HardwareView(contents.hardware, this.marks) : null;
    this.list = new ProblemList(this.marks);
    page.replaceChildren(...this.sections());
    document.title = `${this.tasks.join(", ")} · Speculative Reasoning`;
    const linked = addressed();
    this.choose(contents.problems.find((stated) => stated.id === linked)?.task ?? this.task);
    if (linked) this.list.point(linked);
  }

  private sections(): HTMLElement[] {
    const tasks =
      this.tasks.length > 1
        ? choice(
            "task",
            this.tasks.map((task): [string, string] => [task, task]),
            this.task,
            (task) => this.choose(task),
          )
        : null;
    return [
      h(
        "header",
        { class: "top" },
        h("div", { class: "brand" }, logo(), h("span", { text: "Speculative Reasoning" })),
        h("h1", { text: "Accuracy and cost of chains of thought" }),
        this.lead,
        tasks,
      ),
      section(
        "frontier",
        "Accuracy against cost",
        this.axes,
        this.plot.element,
        h("p", {
          class: "hint",
          text: "Whiskers and band: 95 % intervals. Dotted: the Pareto front of methods on the same problems. Grey: random_switch at several shares, the line to beat. Hollow: the controls of a method in its colour, chance at the same share and small's vote at the same cost.",
        }),
      ),
      section("methods", "Methods", this.tables.element),
      ...(this.hardware ? [section("hardware", "Predicted on the hardware of a profile", this.hardware.element)] : []),
      section("problems", "Problems and chains", this.filters, this.found, this.list.element),
      section("provenance", "Where this comes from", ...provenance(this.contents)),
    ];
  }

  private choose(task: string): void {
    this.task = task;
    const summaries = this.contents.summaries.filter((row) => row.task === task);
    this.labels = summaries.map((row) => row.label);
    this.problems = problemsOf(this.contents, task);
    const chains = summaries.reduce((sum, row) => sum + row.chains, 0);
    const controls = summaries.filter((row) => row.control_of).length;
    this.lead.replaceChildren(
      `${plural(summaries.length - controls, "method")}${controls ? ` and ${plural(controls, "control")}` : ""} on ${plural(this.problems.length, "problem")} of `,
      h("b", { text: task }),
      `: ${plural(chains, "chain")}, every token counted, those that were discarded too.`,
    );
    const frontiers = this.contents.frontiers.filter((one) => one.task === task);
    this.axis = frontiers.some((one) => one.axis.key === this.axis) ? this.axis : frontiers[0]?.axis.key;
    const axes = frontiers.map(({ axis }): [string, string, string] => [axis.key, axis.name, axis.title]);
    this.axes.replaceChildren(choice("against", axes, this.axis ?? "", (key) => this.against(key)));
    this.against(this.axis);
    this.tables.show(summaries);
    this.hardware?.show(task);
    this.wanted = { ...this.wanted, labels: new Set(this.labels), level: "" };
    this.filters.replaceChildren(...this.controls());
    this.filter();
  }

  private against(key: string | undefined): void {
    this.axis = key as Frontier["axis"]["key"];
    const frontier = this.contents.frontiers.find((one) => one.task === this.task && one.axis.key === key);
    if (frontier) this.plot.show(frontier);
  }

  private controls(): HTMLElement[] {
    const want =
      <K extends keyof Wanted>(name: K) =>
      (value: Wanted[K]) => {
        this.wanted = { ...this.wanted, [name]: value };
        this.filter();
      };
    const levels = [...new Set(this.problems.map(({ stated }) => stated.level))]
      .filter(Boolean)
      .sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
    return [
      search("search in problems and answers", this.wanted.words, want("words")),
      options(
        "verdict",
        Object.entries(VERDICTS).map(([key, [title]]): [string, string] => [key, title]),
        this.wanted.verdict,
        want("verdict"),
      ),
      levels.length > 1
        ? options(
            "level",
            [["", "all levels"], ...levels.map((level): [string, string] => [level, `level ${level}`])],
            this.wanted.level,
            want("level"),
          )
        : null,
      toggle("author labels", false, (on) => this.list.element.classList.toggle("labelled", on)),
      toggle("open drafts", false, (on) => this.list.open(on)),
      chips("methods", this.labels, this.marks, this.wanted.labels, want("labels")),
    ].filter((one) => one !== null);
  }

  private filter(): void {
    const { verdict, level, labels } = this.wanted;
    const words = this.wanted.words.toLowerCase().split(/\s+/).filter(Boolean);
    const found: Stated[] = [];
    for (const { stated, rows } of this.problems) {
      const own = rows.filter((row) => labels.has(row.label));
      if (!own.length || (level && stated.level !== level) || !VERDICTS[verdict]?.[1](own)) continue;
      const text = words.length ? [stated.id, stated.text, stated.gold, ...own.map((row) => row.found ?? "")].join(" ").toLowerCase() : "";
      if (words.every((word) => text.includes(word))) found.push({ stated, rows: own });
    }
    this.found.replaceChildren(
      found.length === this.problems.length
        ? plural(found.length, "problem")
        : `${found.length} of ${plural(this.problems.length, "problem")}`,
    );
    this.list.show(
      found,
      this.labels.filter((label) => labels.has(label)),
    );
  }
}

/** The problem that the address ends in. */
function addressed(): string {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** The problems of a task with their rows, those of one method together. */
function problemsOf(contents: Contents, task: string): Stated[] {
  const own = contents.problems.filter((stated) => stated.task === task);
  const found = new Map(own.map((stated): [string, Stated] => [stated.id, { stated, rows: [] }]));
  const order = new Map(contents.summaries.filter((row) => row.task === task).map((row, place) => [row.label, place]));
  for (const row of contents.rows) if (row.task === task) found.get(row.problem)?.rows.push(row);
  for (const { rows } of found.values())
    rows.sort((one, other) => (order.get(one.label) ?? 0) - (order.get(other.label) ?? 0) || one.epoch - other.epoch);
  return [...found.values()];
}

function section(id: string, title: string, ...children: HTMLElement[]): HTMLElement {
  return h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title`, text: title }), ...children);
}

try {
  new ReportView(await unpacked<Contents>("index"));
} catch (error) {
  document.getElementById("wait")?.replaceChildren(`This report cannot be shown: ${(error as Error).message}`);
  throw error;
}
