// Accuracy against what it costs, with intervals, the Pareto front and the line to beat.

import type { Axis, Frontier, Point } from "../data/types";
import { brief, draw, h, percent } from "../view/dom";
import { type Ink, type Marks, symbol } from "../view/legend";
import { labels } from "./frontier-labels";

export const HEIGHT = 440;
export const MARGIN = { top: 18, right: 26, bottom: 52, left: 52 };
const NEAR = 10; // symbols that are closer would cover each other
export const RADIUS = 9;

/** A figure that draws a frontier (report/frontier.py) as wide as there is room. `chosen` is told the label of a point. */
export class FrontierView {
  readonly element: HTMLElement;
  private readonly place = h("div", { class: "plot" });
  private readonly note: HTMLElement;
  private readonly left = h("p", { class: "hint" });
  private frontier: Frontier | null = null;
  private width = 0;

  constructor(
    private readonly marks: Marks,
    private readonly chosen: (label: string) => void,
  ) {
    this.note = h("p", {
      class: "said",
      role: "status",
      text: "Point at a method, or tab to it, to read its figures; a click finds its row below.",
    });
    this.element = h("figure", { class: "frontier" }, this.place, this.note, this.left);
    new ResizeObserver(() => this.paint()).observe(this.place);
  }

  show(frontier: Frontier): void {
    this.frontier = frontier;
    this.left.textContent = frontier.left_out;
    this.left.hidden = !frontier.left_out;
    this.width = 0;
    this.paint();
  }

  private paint(): void {
    const width = Math.max(300, Math.floor(this.place.clientWidth));
    if (!this.frontier || width === this.width) return;
    this.width = width;
    const { axis, points, lines } = this.frontier;
    const scale = scales(points, axis, width);
    const places = spread(points.map((point) => [scale.x(point.x), scale.y(point.accuracy)]));
    const drawing = draw(
      "svg",
      {
        viewBox: `0 0 ${width} ${HEIGHT}`,
        width,
        height: HEIGHT,
        role: "group",
        "aria-label": `accuracy against the ${axis.title}; the table below has the same figures`,
      },
      grid(scale, axis, width),
      lines.flatMap((line) =>
        coinLine(
          line.map((place) => points[place]!),
          scale,
        ),
      ),
      front(points, scale),
      this.points(this.frontier, scale, places),
      labels(points, lines, scale, width, this.marks, places),
    );
    this.place.replaceChildren(drawing);
  }

  private points(frontier: Frontier, scale: Scale, places: Place[]): SVGElement[] {
    const { axis, points, lines } = frontier;
    const onLine = new Set(lines.flat());
    return points.map((point, place) => {
      const mark = this.marks.get(point.label)!;
      const told = `${point.label}: ${percent(point.accuracy)} right (${percent(point.low)} to ${percent(point.high)}), ${brief(point.x)} ${axis.unit}`;
      const [x, y] = places[place]!;
      const at = scale.x(point.x);
      const said = () => this.note.replaceChildren(point.best ? `${told} · on the Pareto front` : told);
      const open = (event: KeyboardEvent | MouseEvent) => {
        if (event instanceof KeyboardEvent && event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        this.chosen(point.label);
      };
      return draw(
        "g",
        {
          class: `point${point.best ? " best" : ""}`,
          tabindex: "0",
          role: "button",
          "aria-label": told,
          onfocus: said,
          onmouseenter: said,
          onclick: open,
          onkeydown: open,
        },
        onLine.has(place) || point.control_of ? [] : whisker(at, scale.y(point.low), scale.y(point.high), mark),
        ties(point, points, scale, mark),
        x === at && y === scale.y(point.accuracy)
          ? []
          : draw("path", { class: "leader", d: `M${at} ${scale.y(point.accuracy)}L${x} ${y}` }),
        draw("circle", { class: "target", cx: x, cy: y, r: 13 }),
        symbol(mark, { transform: `translate(${x} ${y}) scale(${onLine.has(place) || point.control_of ? 0.75 : 1.15})` }),
      );
    });
  }
}

export type Place = [number, number];

export interface Scale {
  xs: number[];
  ys: number[];
  x: (value: number) => number;
  y: (value: number) => number;
}

function scales(points: Point[], axis: Axis, width: number): Scale {
  const share = axis.unit === "%";
  const xs = ticks(0, share ? 100 : Math.max(...points.map((point) => point.x), 1e-9), width < 560 ? 4 : 6);
  const right = xs.at(-1)!;
  return {
    xs,
    ys: [0, 0.2, 0.4, 0.6, 0.8, 1],
    x: (value: number) => MARGIN.left + (value / right) * (width - MARGIN.left - MARGIN.right),
    y: (value: number) => MARGIN.top + (1 - value) * (HEIGHT - MARGIN.top - MARGIN.bottom),
  };
}

/** Where points are drawn: those that would cover each other stand on a circle around their middle. */
export function spread(places: Place[]): Place[] {
  const groups: number[][] = [];
  places.forEach(([x, y], place) => {
    const near = groups.find((group) => Math.hypot(places[group[0]!]![0] - x, places[group[0]!]![1] - y) < NEAR);
    if (near) near.push(place);
    else groups.push([place]);
  });
  const moved = places.map(([x, y]): Place => [x, y]);
  for (const group of groups.filter((one) => one.length > 1)) {
    const middle = (axis: 0 | 1) => group.reduce((sum, place) => sum + places[place]![axis], 0) / group.length;
    const [x, y] = [middle(0), middle(1)];
    const radius = RADIUS * Math.max(1, group.length / 5);
    group.forEach((place, number) => {
      const turn = (2 * Math.PI * number) / group.length;
      moved[place] = [x + radius * Math.cos(turn), y + radius * Math.sin(turn)];
    });
  }
  return moved;
}

/** Round numbers from `low` to `high` or just above, about `number` of them. */
function ticks(low: number, high: number, number: number): number[] {
  const raw = (high - low) / number;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= raw * 0.999)!;
  const found: number[] = [];
  for (let place = 0; low + (place - 1) * step < high * 0.9999; place += 1) found.push(Number((low + place * step).toPrecision(12)));
  return found;
}

function grid(scale: Scale, axis: Axis, width: number): SVGElement[] {
  const [left, right, base] = [MARGIN.left, width - MARGIN.right, HEIGHT - MARGIN.bottom] as const;
  return [
    scale.ys.map((value) => draw("line", { class: "grid", x1: left, x2: right, y1: scale.y(value), y2: scale.y(value) })),
    scale.ys.map((value) =>
      draw("text", { class: "tick", x: left - 10, y: scale.y(value) + 4, "text-anchor": "end", text: `${Math.round(100 * value)} %` }),
    ),
    draw("line", { class: "ground", x1: left, x2: right, y1: base, y2: base }),
    scale.xs.map((value) => draw("text", { class: "tick", x: scale.x(value), y: base + 20, "text-anchor": "middle", text: brief(value) })),
    draw("text", {
      class: "title",
      x: right,
      y: base + 42,
      "text-anchor": "end",
      text: `${width < 560 ? axis.name : axis.title} (${axis.unit}) →`,
    }),
  ].flat();
}

function whisker(x: number, low: number, high: number, mark: Ink): SVGElement[] {
  const d = `M${x} ${low}V${high}M${x - 4} ${low}h8M${x - 4} ${high}h8`;
  return [draw("path", { class: "whisker", d, style: { stroke: mark.ink } })];
}

function coinLine(points: Point[], scale: Scale): SVGElement[] {
  const along = (value: "low" | "high" | "accuracy") => points.map((point) => `${scale.x(point.x)} ${scale.y(point[value])}`);
  return [
    draw("path", { class: "band", d: `M${along("low").join("L")}L${along("high").reverse().join("L")}z` }),
    draw("path", { class: "coin", d: `M${along("accuracy").join("L")}` }),
  ];
}

function front(points: Point[], scale: Scale): SVGElement[] {
  const best = points.filter((point) => point.best).sort((one, other) => one.x - other.x);
  if (best.length < 2) return [];
  return [draw("path", { class: "front", d: `M${best.map((point) => `${scale.x(point.x)} ${scale.y(point.accuracy)}`).join("L")}` })];
}

/** From a method to its controls; in sight while it is pointed at. */
function ties(point: Point, points: Point[], scale: Scale, mark: Ink): SVGElement[] {
  const place = (one: Point) => `${scale.x(one.x)} ${scale.y(one.accuracy)}`;
  const tied = points.filter((other) => other.control_of === point.label || point.control_of === other.label);
  return tied.map((other) => draw("path", { class: "tie", d: `M${place(point)}L${place(other)}`, style: { stroke: mark.ink } }));
}
