// The labels of a frontier: each stands where it covers nothing.

import type { Point } from "../data/types";
import { draw } from "../view/dom";
import { type Ink, type Marks, symbol } from "../view/legend";
import { HEIGHT, MARGIN, type Place, RADIUS, type Scale } from "./frontier";

const LETTER = 6.6;
const LINE = 15;

type Box = [number, number, number, number];

interface Line {
  text: string;
  mark: Ink | null;
}

interface Block {
  x: number;
  y: number;
  best: boolean;
  lines: Line[];
}

/** Labels beside the points, each where it covers nothing; points in one place share a block of lines, those of a line one label. */
export function labels(points: Point[], lines: number[][], scale: Scale, width: number, marks: Marks, places: Place[]): SVGElement[] {
  const onLine = new Set(lines.flat());
  const taken = points.flatMap((point, place): Box[] => {
    const [x, y] = places[place]!;
    const mark: Box = [x - 7, y - 7, x + 7, y + 7];
    return onLine.has(place) || point.control_of ? [mark] : [mark, [x - 2, scale.y(point.high), x + 2, scale.y(point.low)]];
  });
  const limit = width < 560 ? 22 : 46;
  const blocks: Block[] = [];
  points.forEach((point, place) => {
    if (onLine.has(place) || point.control_of) return;
    const line: Line = { text: cut(point.label, limit), mark: marks.get(point.label) ?? null };
    const near = blocks.find((block) => Math.hypot(block.x - places[place]![0], block.y - places[place]![1]) < 2 * RADIUS + 2);
    if (near) near.lines.push(line);
    else blocks.push({ x: places[place]![0], y: places[place]![1], best: point.best, lines: [line] });
  });
  const longest = [...lines].sort((one, other) => other.length - one.length).slice(0, 1);
  for (const line of longest) {
    const [x, y] = places[line[Math.floor(line.length / 2)]!]!;
    blocks.push({ x, y, best: true, lines: [{ text: cut("random_switch: the line to beat", limit), mark: null }] });
  }
  return blocks
    .sort((one, other) => Number(other.best) - Number(one.best))
    .flatMap((block) => {
      const found = spot(block, taken, width);
      if (!found) return [];
      taken.push(found.box);
      return block.lines.map((line, row) => {
        const [x, y] = [found.box[0], found.box[1] + LINE * row + 11] as const;
        const several = block.lines.length > 1 ? line.mark : null;
        return draw(
          "g",
          { "aria-hidden": "true" },
          several ? symbol(several, { transform: `translate(${x + 5} ${y - 4}) scale(0.8)` }) : [],
          draw("text", { class: `name${line.mark ? "" : " coin"}`, x: several ? x + 14 : x, y, text: line.text }),
        );
      });
    });
}

function cut(text: string, limit: number): string {
  return text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
}

function spot({ x, y, lines }: Block, taken: Box[], width: number): { box: Box } | null {
  const wide = Math.max(...lines.map((line) => line.text.length)) * LETTER + (lines.length > 1 ? 14 : 0);
  const high = LINE * lines.length;
  const near = 11;
  const rows = [-high / 2, -high - 6, 6, -high - 22, 22, -high - 44, 44];
  const spots = rows.flatMap((top): Place[] => [
    [x + near, y + top],
    [x - near - wide, y + top],
  ]);
  for (const gap of [10, 26, 44]) spots.push([x - wide / 2, y - gap - high], [x - wide / 2, y + gap]);
  for (const [left, top] of spots) {
    const box: Box = [left, top, left + wide, top + high];
    const inside = box[0] > MARGIN.left + 2 && box[2] < width - 4 && box[1] > 0 && box[3] < HEIGHT - MARGIN.bottom;
    if (inside && !taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) return { box };
  }
  return null;
}
