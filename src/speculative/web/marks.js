// How methods are told apart: a colour, a shape, and always the label beside them. `random_switch`, the line to beat, is grey;
// the controls of a method are hollow, in its colour.

import { draw } from "./dom.js";

const SHAPES = [
  "M0-5a5 5 0 1 0 .01 0z",
  "M-4.5-4.5h9v9h-9z",
  "M0-6.2L6.2 0 0 6.2-6.2 0z",
  "M0-5.8L5.6 4.4h-11.2z",
  "M0 5.8L5.6-4.4h-11.2z",
  "M-1.9-5.5h3.8v3.6h3.6v3.8h-3.6v3.6h-3.8v-3.6h-3.6v-3.8h3.6z",
  "M-5.4-3.2l2.2-2.2L0-2.2l3.2-3.2 2.2 2.2L2.2 0l3.2 3.2-2.2 2.2L0 2.2l-3.2 3.2-2.2-2.2L-2.2 0z",
];
const COLOURS = 8;
export const COIN = "random_switch";

/** A mark for each label, in the order of the standings. */
export function marksOf(standings) {
  const marks = new Map();
  let number = 0;
  for (const { label, method, control_of: owner } of standings) {
    if (marks.has(label)) continue;
    if (owner && marks.has(owner)) marks.set(label, { ...marks.get(owner), hollow: true, shape: method === COIN ? SHAPES[0] : SHAPES[2] });
    else if (method === COIN) marks.set(label, { colour: "var(--coin)", shape: SHAPES[0], hollow: true });
    else {
      marks.set(label, { colour: `var(--c${number % COLOURS})`, shape: SHAPES[number % SHAPES.length], hollow: false });
      number += 1;
    }
  }
  return marks;
}

/** The shape of a mark, around the origin of a drawing. */
export function shape(mark, properties = {}) {
  const style = { fill: mark.hollow ? "var(--paper)" : mark.colour, stroke: mark.colour };
  return draw("path", { class: "mark", d: mark.shape, style, ...properties });
}

/** A mark that stands in text. */
export function icon(mark) {
  return draw("svg", { class: "icon", viewBox: "-8 -8 16 16", "aria-hidden": "true" }, shape(mark));
}
