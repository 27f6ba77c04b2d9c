// An estimate of calls whose tokens are not known, since they are not over.

import type { Timeline } from "../trace/timeline";

const LETTERS = 4;

/** About how many tokens of a call that is not over yet go into the chain, by role: its tokens are known at its end. */
export function underWay(timeline: Timeline): Map<string, number> {
  const found = new Map<string, number>();
  for (const { role, text, committed } of timeline.writing.values()) {
    if (committed) found.set(role, (found.get(role) ?? 0) + Math.ceil(text.length / LETTERS));
  }
  return found;
}
