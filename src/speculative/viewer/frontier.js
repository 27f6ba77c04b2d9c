// Accuracy against what it costs, with intervals, the Pareto front and the line to beat.

import { brief, draw, h, percent } from "./dom.js";
import { symbol } from "./legend.js";

const HEIGHT = 440;
const MARGIN = { top: 18, right: 26, bottom: 52, left: 52 };
const LETTER = 6.6;
const LINE = 15;
const NEAR = 10;  // symbols that are closer would cover each other
const RADIUS = 9;

/** A figure that draws a frontier (report/frontier.py) as wide as there is room. `chosen` is told the label of a point. */
export class FrontierView {
  constructor(marks, chosen) {
    this.marks = marks;
    this.chosen = chosen;
    this.place = h("div", { class: "plot" });
    this.note = h("p", { class: "said", role: "status", text: "Point at a method, or tab to it, to read its figures; a click finds its row below." });
    this.left = h("p", { class: "hint" });
    this.element = h("figure", { class: "frontier" }, this.place, this.note, this.left);
    new ResizeObserver(() => this.paint()).observe(this.place);
  }

  show(frontier) {
    this.frontier = frontier;
    this.left.textContent = frontier.left_out;
    this.left.hidden = !frontier.left_out;
    this.width = 0;
    this.paint();
  }

  paint() {
    const width = Math.max(300, Math.floor(this.place.clientWidth));
    if (!this.frontier || width === this.width) return;
    this.width = width;
    const { axis, points, lines } = this.frontier;
    const scale = scales(points, axis, width);
    const places = spread(points.map((point) => [scale.x(point.x), scale.y(point.accuracy)]));
    const drawing = draw(
      "svg",
      { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "group", "aria-label": `accuracy against the ${axis.title}; the table below has the same figures` },
      grid(scale, axis, width),
      lines.flatMap((line) => coinLine(line.map((place) => points[place]), scale)),
      front(points, scale),
      this.points(scale, lines, places),
      labels(points, lines, scale, width, this.marks, places),
    );
    this.place.replaceChildren(drawing);
  }

  points(scale, lines, places) {
    const { axis, points } = this.frontier;
    const onLine = new Set(lines.flat());
    return points.map((point, place) => {
      const mark = this.marks.get(point.label);
      const told = `${point.label}: ${percent(point.accuracy)} right (${percent(point.low)} to ${percent(point.high)}), ${brief(point.x)} ${axis.unit}`;
      const [x, y] = places[place];
      const at = scale.x(point.x);
      const said = () => this.note.replaceChildren(point.best ? `${told} · on the Pareto front` : told);
      const open = (event) => {
        if (event.type !== "click" && event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        this.chosen(point.label);
      };
      return draw(
        "g",
        { class: `point${point.best ? " best" : ""}`, tabindex: "0", role: "button", "aria-label": told, onfocus: said, onmouseenter: said, onclick: open, onkeydown: open },
        onLine.has(place) || point.control_of ? [] : whisker(at, scale.y(point.low), scale.y(point.high), mark),
        ties(point, points, scale, mark),
        x === at && y === scale.y(point.accuracy) ? [] : draw("path", { class: "leader", d: `M${at} ${scale.y(point.accuracy)}L${x} ${y}` }),
        draw("circle", { class: "target", cx: x, cy: y, r: 13 }),
        symbol(mark, { transform: `translate(${x} ${y}) scale(${onLine.has(place) || point.control_of ? 0.75 : 1.15})` }),
      );
    });
  }
}

function scales(points, axis, width) {
  const share = axis.unit === "%";
  const xs = ticks(0, share ? 100 : Math.max(...points.map((point) => point.x), 1e-9), width < 560 ? 4 : 6);
  const right = xs.at(-1);
  return {
    xs,
    ys: [0, 0.2, 0.4, 0.6, 0.8, 1],
    x: (value) => MARGIN.left + (value / right) * (width - MARGIN.left - MARGIN.right),
    y: (value) => MARGIN.top + (1 - value) * (HEIGHT - MARGIN.top - MARGIN.bottom),
  };
}

/** Where points are drawn: those that would cover each other stand on a circle around their middle. */
export function spread(places) {
  const groups = [];
  places.forEach(([x, y], place) => {
    const near = groups.find((group) => Math.hypot(places[group[0]][0] - x, places[group[0]][1] - y) < NEAR);
    if (near) near.push(place);
    else groups.push([place]);
  });
  const moved = places.map((place) => [...place]);
  for (const group of groups.filter((one) => one.length > 1)) {
    const [x, y] = [0, 1].map((axis) => group.reduce((sum, place) => sum + places[place][axis], 0) / group.length);
    const radius = RADIUS * Math.max(1, group.length / 5);
    group.forEach((place, number) => {
      const turn = (2 * Math.PI * number) / group.length;
      moved[place] = [x + radius * Math.cos(turn), y + radius * Math.sin(turn)];
    });
  }
  return moved;
}

/** Round numbers from `low` to `high` or just above, about `number` of them. */
function ticks(low, high, number) {
  const raw = (high - low) / number;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= raw * 0.999);
  const found = [];
  for (let place = 0; low + (place - 1) * step < high * 0.9999; place += 1) found.push(Number((low + place * step).toPrecision(12)));
  return found;
}

function grid(scale, axis, width) {
  const [left, right, base] = [MARGIN.left, width - MARGIN.right, HEIGHT - MARGIN.bottom];
  return [
    scale.ys.map((value) => draw("line", { class: "grid", x1: left, x2: right, y1: scale.y(value), y2: scale.y(value) })),
    scale.ys.map((value) => draw("text", { class: "tick", x: left - 10, y: scale.y(value) + 4, "text-anchor": "end", text: `${Math.round(100 * value)} %` })),
    draw("line", { class: "ground", x1: left, x2: right, y1: base, y2: base }),
    scale.xs.map((value) => draw("text", { class: "tick", x: scale.x(value), y: base + 20, "text-anchor": "middle", text: brief(value) })),
    draw("text", { class: "title", x: right, y: base + 42, "text-anchor": "end", text: `${width < 560 ? axis.name : axis.title} (${axis.unit}) →` }),
  ].flat();
}

function whisker(x, low, high, mark) {
  const d = `M${x} ${low}V${high}M${x - 4} ${low}h8M${x - 4} ${high}h8`;
  return [draw("path", { class: "whisker", d, style: { stroke: mark.ink } })];
}

function coinLine(points, scale) {
  const along = (value) => points.map((point) => `${scale.x(point.x)} ${scale.y(point[value])}`);
  return [
    draw("path", { class: "band", d: `M${along("low").join("L")}L${along("high").reverse().join("L")}z` }),
    draw("path", { class: "coin", d: `M${along("accuracy").join("L")}` }),
  ];
}

function front(points, scale) {
  const best = points.filter((point) => point.best).sort((one, other) => one.x - other.x);
  if (best.length < 2) return [];
  return [draw("path", { class: "front", d: `M${best.map((point) => `${scale.x(point.x)} ${scale.y(point.accuracy)}`).join("L")}` })];
}

/** From a method to its controls; in sight while it is pointed at. */
function ties(point, points, scale, mark) {
  const place = (one) => `${scale.x(one.x)} ${scale.y(one.accuracy)}`;
  const tied = points.filter((other) => other.control_of === point.label || point.control_of === other.label);
  return tied.map((other) => draw("path", { class: "tie", d: `M${place(point)}L${place(other)}`, style: { stroke: mark.ink } }));
}

/** Labels beside the points, each where it covers nothing; points in one place share a block of lines, those of a line one label. */
function labels(points, lines, scale, width, marks, places) {
  const onLine = new Set(lines.flat());
  const taken = points.flatMap((point, place) => {
    const [x, y] = places[place];
    const mark = [x - 7, y - 7, x + 7, y + 7];
    return onLine.has(place) || point.control_of ? [mark] : [mark, [x - 2, scale.y(point.high), x + 2, scale.y(point.low)]];
  });
  const limit = width < 560 ? 22 : 46;
  const blocks = [];
  points.forEach((point, place) => {
    if (onLine.has(place) || point.control_of) return;
    const line = { text: cut(point.label, limit), mark: marks.get(point.label) };
    const near = blocks.find((block) => Math.hypot(block.x - places[place][0], block.y - places[place][1]) < 2 * RADIUS + 2);
    if (near) near.lines.push(line);
    else blocks.push({ x: places[place][0], y: places[place][1], best: point.best, lines: [line] });
  });
  const longest = [...lines].sort((one, other) => other.length - one.length).slice(0, 1);
  for (const line of longest) {
    const [x, y] = places[line[Math.floor(line.length / 2)]];
    blocks.push({ x, y, best: true, lines: [{ text: cut("random_switch: the line to beat", limit), mark: null }] });
  }
  return blocks.sort((one, other) => other.best - one.best).flatMap((block) => {
    const found = spot(block, taken, width);
    if (!found) return [];
    taken.push(found.box);
    return block.lines.map((line, row) => {
      const [x, y] = [found.box[0], found.box[1] + LINE * row + 11];
      const several = block.lines.length > 1 && line.mark;
      return draw(
        "g",
        { "aria-hidden": "true" },
        several ? symbol(line.mark, { transform: `translate(${x + 5} ${y - 4}) scale(0.8)` }) : [],
        draw("text", { class: `name${line.mark ? "" : " coin"}`, x: several ? x + 14 : x, y, text: line.text }),
      );
    });
  });
}

function cut(text, limit) {
  return text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
}

function spot({ x, y, lines }, taken, width) {
  const wide = Math.max(...lines.map((line) => line.text.length)) * LETTER + (lines.length > 1 ? 14 : 0);
  const high = LINE * lines.length;
  const [near, rows] = [11, [-high / 2, -high - 6, 6, -high - 22, 22, -high - 44, 44]];
  const spots = rows.flatMap((top) => [[x + near, y + top], [x - near - wide, y + top]]);
  for (const gap of [10, 26, 44]) spots.push([x - wide / 2, y - gap - high], [x - wide / 2, y + gap]);
  for (const [left, top] of spots) {
    const box = [left, top, left + wide, top + high];
    const inside = box[0] > MARGIN.left + 2 && box[2] < width - 4 && box[1] > 0 && box[3] < HEIGHT - MARGIN.bottom;
    if (inside && !taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) return { box };
  }
  return null;
}
