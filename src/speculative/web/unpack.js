// Blocks of the page: JSON, deflated, in base64 (report/pack.py).

/** The value of the block with that id. Rejects when there is none or it is damaged. */
export async function unpacked(id) {
  const block = document.getElementById(id);
  if (!block) throw new Error(`the page has no block ${id}; it is not whole`);
  const bytes = Uint8Array.from(atob(block.textContent), (character) => character.charCodeAt(0));
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(inflated).text());
}

/** The strokes of a packed chain, one object each. */
export function strokesOf(packed) {
  return packed.texts.map((text, place) => {
    const [author, fate, phase, depth, verdict] = packed.kinds[packed.marks[place]];
    return { author, text, fate, phase, depth, tokens: packed.tokens[place], verdict, sureness: packed.sureness[place] ?? null };
  });
}
