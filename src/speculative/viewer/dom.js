// Elements, and numbers as people read them. Text only ever becomes a text node.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `class`, `text`, `on…` and `style` (custom properties too) aside, properties are attributes; null leaves one out. */
export function h(tag, properties = {}, ...children) {
  return dress(document.createElement(tag), properties, children);
}

/** An element of a drawing. */
export function draw(tag, properties = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), properties, children);
}

function dress(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.append(document.createTextNode(value));
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Whole numbers with separators: 12,345. */
export function count(value) {
  return Math.round(value).toLocaleString("en-US");
}

/** A part of one as a percentage with `digits`. */
export function percent(value, digits = 1) {
  return value === null || value === undefined ? "·" : `${(100 * value).toFixed(digits)} %`;
}

/** A number with about three digits. */
export function brief(value) {
  if (value === null || value === undefined) return "·";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 0.001) return powered(value);
  return size >= 1000 ? count(value) : String(Number(value.toPrecision(3)));
}

/** 3.8×10⁻⁴. */
function powered(value) {
  const [digits, power] = value.toExponential(1).split("e");
  const raised = [...power].map((letter) => ({ "-": "⁻", "+": "" })[letter] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[letter]).join("");
  return `${Number(digits)}×10${raised}`;
}

export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}
