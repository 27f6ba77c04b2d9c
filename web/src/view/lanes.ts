// The time line: which model worked when, and where it waited. A role has a row for each call at once.

import type { Work } from "../trace/calls";
import { blockOf, hue } from "./author";
import { brief, draw, h, plural } from "./dom";
import { toldOf } from "./facts";

const ROWS = 4;
const HEIGHT = 8;
const GAP = 2;
const NEAR = 4; // pixels; a pointer so close to a block chooses it
const LEAST = 0.001; // seconds; a smaller difference of sums is their rounding

type Interval = Pick<Work, "role" | "began" | "ended">;

interface Lane {
  rows: Work[][];
  track: HTMLElement;
}

export class Lanes {
  readonly element = h("figure", { class: "lanes" });
  private readonly table: HTMLElement;
  private readonly caption = h("figcaption");
  private lanes: Lane[] = [];
  private order: Work[] = [];
  private end = 1;
  private marked: Work | null = null;

  /** `told` gets the facts of the call under the pointer, `chosen` the call that a click or an arrow key chose. */
  constructor(
    private readonly told: (facts: string) => void = () => {},
    private readonly chosen: (work: Work) => void = () => {},
  ) {
    this.table = h("div", {
      class: "rows-of-time",
      tabindex: "0",
      role: "slider",
      "aria-label": "calls of the chain in time",
      "aria-valuemin": "0",
      "aria-valuenow": "0",
      "aria-valuemax": "0",
      onpointermove: (event: PointerEvent) => {
        const work = this.under(event);
        this.told(work ? toldOf(work) : "");
      },
      onclick: (event: MouseEvent) => {
        const work = this.under(event);
        if (work) this.choose(work);
      },
      onkeydown: (event: KeyboardEvent) => this.key(event),
    });
    this.element.append(this.table, this.caption);
  }

  /** Draws the calls of a chain that has taken this many seconds. `begun`: calls under way. */
  show(works: Work[], seconds: number, begun: Work[] = []): void {
    const all = [...works, ...begun];
    this.order = all.toSorted((one, other) => one.began - other.began);
    this.end = Math.max(seconds, ...all.map((work) => work.ended), 0.001);
    const roles = [...new Set(["big", "small", ...all.map((work) => work.role)])].filter((role) => all.some((work) => work.role === role));
    this.lanes = [];
    this.table.replaceChildren(
      ...roles.flatMap((role) =>
        this.row(
          role,
          this.order.filter((work) => work.role === role),
        ),
      ),
    );
    this.table.setAttribute("aria-valuemax", String(Math.max(0, all.length - 1)));
    this.value();
    const both = overlap(all);
    const idle = withoutNoise(this.end - union(all));
    const summary = `${brief(this.end)} s: models side by side ${brief(both)} s, no model at work ${brief(idle)} s, ${plural(handovers(works), "hand-over")}`;
    this.caption.replaceChildren(...(all.length ? [summary] : []));
  }

  private row(role: string, works: Work[]): HTMLElement[] {
    const rows = stacked(works);
    const height = rows.length * (HEIGHT + GAP);
    const runs = rows.flatMap((row, place) => row.map((work) => this.block(work, place, work.role)));
    const label = `${role}: ${plural(works.length, "call")}, at work ${brief(union(works))} s of ${brief(this.end)} s`;
    const mark = rows.findIndex((row) => this.marked && row.includes(this.marked));
    const drawing = draw(
      "svg",
      { viewBox: `0 0 ${this.end} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label, height },
      draw("rect", { class: "ground", x: 0, y: 0, width: this.end, height }),
      draw("path", { class: hue(role), d: runs.join("") }),
      mark < 0 ? null : draw("path", { class: "marked", d: this.block(this.marked!, mark) }),
    );
    const track = h("div", { class: "track-of-time", title: label }, drawing);
    this.lanes.push({ rows, track });
    return [h("span", { class: `key ${hue(role)}` }, h("b", { text: role })), track];
  }

  /** The outline of a block, with the stripes of an author if one is given. */
  private block({ began, ended }: Work, row: number, author = "big"): string {
    return blockOf(author, began, Math.max(ended - began, this.end / 600), row * (HEIGHT + GAP), HEIGHT);
  }

  /** The call under the pointer, or the one that is near. */
  private under(event: MouseEvent): Work | null {
    const lane = this.lanes.find(({ track }) => track.contains(event.target as Node));
    if (!lane) return null;
    const box = lane.track.getBoundingClientRect();
    const scale = this.end / (box.width || 1);
    const at = (event.clientX - box.left) * scale;
    const row = lane.rows[Math.min(lane.rows.length - 1, Math.floor((event.clientY - box.top) / (HEIGHT + GAP)))] ?? [];
    return nearest(row, at, NEAR * scale);
  }

  private key(event: KeyboardEvent): void {
    const at = this.marked ? this.order.indexOf(this.marked) : -1;
    const last = this.order.length - 1;
    const to: number | undefined = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last }[event.key];
    const work = to === undefined ? undefined : this.order[Math.min(Math.max(0, to), last)];
    if (!work) return;
    event.preventDefault();
    this.choose(work);
  }

  private choose(work: Work): void {
    this.marked = work;
    for (const { rows, track } of this.lanes) {
      track.querySelector(".marked")?.remove();
      const row = rows.findIndex((one) => one.includes(work));
      if (row >= 0) track.firstElementChild?.append(draw("path", { class: "marked", d: this.block(work, row) }));
    }
    this.value();
    this.chosen(work);
    this.told(toldOf(work));
  }

  private value(): void {
    const at = this.marked ? this.order.indexOf(this.marked) : -1;
    this.table.setAttribute("aria-valuenow", String(Math.max(0, at)));
    const told = at < 0 ? `${plural(this.order.length, "call")}; arrow keys tell of each` : toldOf(this.marked!);
    this.table.setAttribute("aria-valuetext", told);
  }
}

/** The call at a time, or else the nearest one within a distance. */
export function nearest(works: Work[], at: number, within: number): Work | null {
  const distance = ({ began, ended }: Work) => Math.max(began - at, at - ended, 0);
  let best: Work | null = null;
  for (const work of works)
    if (distance(work) <= (best ? distance(best) : within) && (!best || distance(work) < distance(best))) best = work;
  return best;
}

/** Calls in rows, so that those at once stand below each other. */
function stacked(works: Work[]): Work[][] {
  const rows: Work[][] = [[]];
  const ends: number[] = [0];
  for (const work of works) {
    let place = ends.findIndex((ended) => ended <= work.began + 1e-6);
    if (place < 0) place = rows.length < ROWS ? rows.push([]) - 1 : ends.indexOf(Math.min(...ends));
    rows[place]!.push(work);
    ends[place] = Math.max(ends[place] ?? 0, work.ended);
  }
  return rows;
}

/** Seconds with at least one of the calls under way. */
export function union(works: Interval[]): number {
  let total = 0;
  let until = 0;
  for (const { began, ended } of [...works].sort((one, other) => one.began - other.began)) {
    total += Math.max(0, ended - Math.max(began, until));
    until = Math.max(until, ended);
  }
  return total;
}

/** Seconds in which more than one model was at work. */
export function overlap(works: Interval[]): number {
  const roles = [...new Set(works.map((work) => work.role))];
  const each = roles.reduce((sum, role) => sum + union(works.filter((work) => work.role === role)), 0);
  return withoutNoise(each - union(works));
}

function withoutNoise(seconds: number): number {
  return seconds < LEAST ? 0 : seconds;
}

function handovers(works: Interval[]): number {
  const order = [...works].sort((one, other) => one.began - other.began);
  return order.filter((work, place) => place > 0 && order[place - 1]!.role !== work.role).length;
}
