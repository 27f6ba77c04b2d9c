// The time line: which model worked when, and where it waited. A role has a row for each call at once.

import type { Work } from "../trace/calls";
import { hue } from "./author";
import { brief, draw, h, plural } from "./dom";

const ROWS = 4;
const HEIGHT = 8;
const GAP = 2;
const LEAST = 0.001; // seconds; a smaller difference of sums is their rounding

export class Lanes {
  readonly element = h("figure", { class: "lanes" });
  private readonly table = h("div", { class: "rows-of-time" });
  private readonly caption = h("figcaption");

  constructor() {
    this.element.append(this.table, this.caption);
  }

  /** Draws the calls of a chain that has taken this many seconds. `begun`: calls under way. */
  show(works: Work[], seconds: number, begun: Work[] = []): void {
    const all = [...works, ...begun];
    const end = Math.max(seconds, ...all.map((work) => work.ended), 0.001);
    const roles = [...new Set(["big", "small", ...all.map((work) => work.role)])].filter((role) => all.some((work) => work.role === role));
    this.table.replaceChildren(
      ...roles.flatMap((role) =>
        this.row(
          role,
          all.filter((work) => work.role === role),
          end,
        ),
      ),
    );
    const both = overlap(all);
    const idle = felt(end - union(all));
    this.caption.replaceChildren(
      ...(all.length
        ? [
            `${brief(end)} s: models side by side ${brief(both)} s, no model at work ${brief(idle)} s, ${plural(handovers(works), "hand-over")}`,
          ]
        : []),
    );
  }

  private row(role: string, works: Work[], end: number): HTMLElement[] {
    const rows = stacked(works);
    const height = rows.length * (HEIGHT + GAP);
    const runs = rows.flatMap((row, place) =>
      row.map(
        ({ began, ended }) =>
          `M${began} ${place * (HEIGHT + GAP)}h${Math.max(ended - began, end / 600)}v${HEIGHT}h${-Math.max(ended - began, end / 600)}z`,
      ),
    );
    const busy = union(works);
    const label = `${role}: ${plural(works.length, "call")}, at work ${brief(busy)} s of ${brief(end)} s`;
    return [
      h("span", { class: `key ${hue(role)}` }, h("b", { text: role })),
      h(
        "div",
        { class: "track-of-time", title: label },
        draw(
          "svg",
          { viewBox: `0 0 ${end} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label, height },
          draw("rect", { class: "ground", x: 0, y: 0, width: end, height }),
          draw("path", { class: hue(role), d: runs.join("") }),
        ),
      ),
    ];
  }
}

/** Calls in rows, so that those at once stand below each other. */
function stacked(works: Work[]): Work[][] {
  const rows: Work[][] = [[]];
  const ends: number[] = [0];
  for (const work of [...works].sort((one, other) => one.began - other.began)) {
    let place = ends.findIndex((ended) => ended <= work.began + 1e-6);
    if (place < 0) place = rows.length < ROWS ? rows.push([]) - 1 : ends.indexOf(Math.min(...ends));
    rows[place]!.push(work);
    ends[place] = Math.max(ends[place] ?? 0, work.ended);
  }
  return rows;
}

/** Seconds with at least one of the calls under way. */
export function union(works: Work[]): number {
  let total = 0;
  let until = 0;
  for (const { began, ended } of [...works].sort((one, other) => one.began - other.began)) {
    total += Math.max(0, ended - Math.max(began, until));
    until = Math.max(until, ended);
  }
  return total;
}

/** Seconds in which more than one model was at work. */
export function overlap(works: Work[]): number {
  const roles = [...new Set(works.map((work) => work.role))];
  const each = roles.reduce((sum, role) => sum + union(works.filter((work) => work.role === role)), 0);
  return felt(each - union(works));
}

function felt(seconds: number): number {
  return seconds < LEAST ? 0 : seconds;
}

function handovers(works: Work[]): number {
  const order = [...works].sort((one, other) => one.began - other.began);
  return order.filter((work, place) => place > 0 && order[place - 1]!.role !== work.role).length;
}
