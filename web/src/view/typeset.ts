// Typesets the formulas of a chain, when one is there: the script for it is large, and comes from the same place as the page.

const FORMULA = /\\\(|\\\[|\$[^\s$]|\\boxed|\\frac/;

/** Typesets the formulas in the text of an element. Each keeps its source, which `source` on an ancestor shows instead. */
export async function typeset(element: HTMLElement): Promise<void> {
  const words = [...element.querySelectorAll<HTMLElement>(".run:not(.typeset) .words")].filter((one) =>
    FORMULA.test(one.textContent ?? ""),
  );
  if (!words.length) return;
  await load();
  if (globalThis.typesetText) for (const one of words) globalThis.typesetText(one);
}

/** Loads the script beside the page; a page in one file has it inside. */
async function load(): Promise<void> {
  if (globalThis.typesetText || location.protocol === "file:") return;
  await import(/* @vite-ignore */ new URL("page/math.js", document.baseURI).href).catch(() => {});
}
