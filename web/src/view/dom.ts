// Elements, and numbers as people read them. Text only ever becomes a text node.

const SVG = "http://www.w3.org/2000/svg";

type Properties = Record<string, unknown>;
type Child = Node | string | null | undefined | Child[];

/** An element. `class`, `text`, `on…` and `style` (custom properties too) aside, properties are attributes; null leaves one out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return dress(document.createElement(tag), properties, children);
}

/** An element of a drawing. */
export function draw<K extends keyof SVGElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return dress(document.createElementNS(SVG, tag), properties, children) as SVGElementTagNameMap[K];
}

function dress<E extends HTMLElement | SVGElement>(element: E, properties: Properties, children: Child[]): E {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.append(document.createTextNode(String(value)));
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value as EventListener);
    else if (name === "style")
      for (const [key, one] of Object.entries(value as Record<string, string>)) element.style.setProperty(key, String(one));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children: Child[]): (Node | string)[] {
  return (children.flat(9) as (Node | string | null | undefined)[]).filter((child) => child !== null && child !== undefined);
}

/** Whole numbers with separators: 12,345. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** A part of one as a percentage with `digits`. */
export function percent(value: number | null | undefined, digits = 1): string {
  return value === null || value === undefined ? "·" : `${(100 * value).toFixed(digits)} %`;
}

/** A number with about three digits. */
export function brief(value: number | null | undefined): string {
  if (value === null || value === undefined) return "·";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 0.001) return powered(value);
  return size >= 1000 ? count(value) : String(Number(value.toPrecision(3)));
}

/** 3.8×10⁻⁴. */
function powered(value: number): string {
  const [digits, power] = value.toExponential(1).split("e") as [string, string];
  const raised = [...power].map((letter) => ({ "-": "⁻", "+": "" })[letter] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(letter)]).join("");
  return `${Number(digits)}×10${raised}`;
}

export function plural(number: number, word: string): string {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}
