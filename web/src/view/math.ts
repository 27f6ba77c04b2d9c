// Formulas as MathML. KaTeX builds it, trusts nothing in it, and no font or style is needed.

import katex from "katex";

const FORMULA = /\\\((.+?)\\\)|\\\[(.+?)\\\]|\$\$(.+?)\$\$|\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\d)|(\\boxed\{(?:[^{}]|\{[^{}]*\})*\})/gs;
const MOST = 2_000;

declare global {
  var typesetText: ((words: HTMLElement) => void) | undefined;
}

/** Puts the formulas of a text beside their source. */
function typeset(words: HTMLElement): void {
  const text = words.textContent ?? "";
  const parts: (Node | string)[] = [];
  let from = 0;
  for (const found of text.matchAll(FORMULA)) {
    const formula = found.slice(1).find((part) => part !== undefined) ?? "";
    const drawn = formula.length > MOST ? null : draw(formula, found[2] !== undefined || found[3] !== undefined);
    if (!drawn) continue;
    parts.push(text.slice(from, found.index), drawn, source(found[0]));
    from = found.index + found[0].length;
  }
  if (!from) return;
  words.replaceChildren(...parts, text.slice(from));
  words.closest(".run")?.classList.add("typeset");
}

function draw(formula: string, display: boolean): HTMLElement | null {
  const element = document.createElement("span");
  element.className = "formula";
  try {
    katex.render(formula, element, { output: "mathml", displayMode: display, trust: false, strict: "ignore", maxExpand: 200, maxSize: 20 });
    return element;
  } catch {
    return null;
  }
}

function source(text: string): HTMLElement {
  const element = document.createElement("span");
  element.className = "tex";
  element.textContent = text;
  return element;
}

globalThis.typesetText = typeset;
