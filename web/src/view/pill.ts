// The pill beside a judged text: its score and threshold.

import type { Span } from "../trace/timeline";
import { h } from "./dom";
import { judgementOf, meaningOf } from "./facts";

/** The pill of a judgement. The pointer over it, and a screen reader, tell what the score is. */
export function pillOf(span: Span): HTMLElement | null {
  const judged = judgementOf(span);
  if (!judged) return null;
  const kept = span.status === "kept";
  const meaning = `${kept ? "kept" : "discarded"}: ${meaningOf(span)}`;
  return h("span", {
    class: kept ? "judgement good" : "judgement",
    role: "note",
    title: meaning,
    "aria-label": meaning,
    text: kept ? `✓ ${judged}` : judged,
  });
}
