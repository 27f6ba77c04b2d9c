// How methods are told apart: a colour, a symbol, and always the label beside them. The table is Python's (viewer/marks.py), so
// that a method looks the same in every picture.

import type { Mark } from "../data/types";
import { draw } from "./dom";

export type Ink = Mark & { ink: string };
export type Marks = Map<string, Ink>;

/** The marks by label. */
export function marksOf(marks: Record<string, Mark>): Marks {
  return new Map(
    Object.entries(marks).map(([label, mark]) => [label, { ...mark, ink: `light-dark(${mark.colour.light}, ${mark.colour.dark})` }]),
  );
}

/** The symbol of a mark, around the origin of a drawing. */
export function symbol(mark: Ink, properties: Record<string, unknown> = {}): SVGPathElement {
  const style = { fill: mark.hollow ? "var(--paper)" : mark.ink, stroke: mark.ink };
  return draw("path", { class: "mark", d: mark.symbol.path, style, ...properties });
}

/** A mark that stands in text, or none. */
export function icon(mark: Ink | undefined): SVGSVGElement | null {
  return mark ? draw("svg", { class: "icon", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, symbol(mark)) : null;
}
