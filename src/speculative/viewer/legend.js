// How methods are told apart: a colour, a symbol, and always the label beside them. The table is Python's (report/marks.py), so
// that a method looks the same in every picture.

import { draw } from "./dom.js";

/** The marks by label. */
export function marksOf(contents) {
  return new Map(Object.entries(contents.marks).map(([label, mark]) => [label, { ...mark, ink: `light-dark(${mark.colour.light}, ${mark.colour.dark})` }]));
}

/** The symbol of a mark, around the origin of a drawing. */
export function symbol(mark, properties = {}) {
  const style = { fill: mark.hollow ? "var(--paper)" : mark.ink, stroke: mark.ink };
  return draw("path", { class: "mark", d: mark.symbol.path, style, ...properties });
}

/** A mark that stands in text. */
export function icon(mark) {
  return draw("svg", { class: "icon", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, symbol(mark));
}
