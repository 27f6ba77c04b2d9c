// Blocks of a page in one file: JSON, deflated, in base64 (viewer/data.py and report/chain_page.py).

import type { Phase, Span, Status } from "../trace/timeline";
import type { PackedChain } from "./types";

/** Returns the value of the block with that id. Rejects if the block is missing or damaged. */
export async function unpacked<T>(id: string): Promise<T> {
  const block = document.getElementById(id);
  if (!block) throw new Error(`the page has no block ${id}; it is not whole`);
  const bytes = Uint8Array.from(atob(block.textContent ?? ""), (character) => character.charCodeAt(0));
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(inflated).text());
}

/** The spans of a packed chain, one object each. */
export function spansOf(packed: PackedChain): Span[] {
  return packed.texts.map((text, place) => {
    const [author, status, phase, depth, verdict] = packed.kinds[packed.kind_numbers[place]!]!;
    return {
      author,
      text,
      status: status as Status,
      phase: phase as Phase,
      depth,
      tokens: packed.tokens[place]!,
      verdict,
      mean_logprob: packed.mean_logprobs[place] ?? null,
      reading: packed.readings[place] ?? null,
    };
  });
}
