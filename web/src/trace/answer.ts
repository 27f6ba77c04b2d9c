// The short final answer of a text, as answers.py finds it.

const BOX = /\\boxed\s*\{/g;

/** The content of the last `\boxed{…}`, or null without one. */
export function boxed(text: string): string | null {
  const last = [...text.matchAll(BOX)].at(-1);
  if (!last) return null;
  const from = last.index + last[0].length;
  let depth = 1;
  for (let place = from; place < text.length; place++) {
    if (text[place] === "\\") place += 1;
    else if (text[place] === "{") depth += 1;
    else if (text[place] === "}" && --depth === 0) return text.slice(from, place).trim();
  }
  return null;
}

/** Whether two answers are the same, spaces, signs of formulas and separators of thousands aside. */
export function sameAnswer(one: string | null, other: string | null): boolean {
  return one !== null && other !== null && plain(one) === plain(other);
}

function plain(text: string): string {
  return text.replace(/[\s$]/g, "").replace(/(?<=\d),(?=\d{3}(?!\d))|\.$/g, "");
}
