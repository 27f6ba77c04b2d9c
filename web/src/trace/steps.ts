// Judged steps: the decisions of a method that compares a score with a threshold, and what another threshold would decide.

import type { AnyEvent } from "../data/types";

export interface Step {
  draft: number;
  text: string;
  author: string;
  score: number;
  threshold: number;
  judge: string | null;
  measure: string | null;
  kept: boolean;
  tokens: number;
}

/** Collects the judged steps of one chain. */
export class Steps {
  found: Step[] = [];
  /** Scores that were compared with no threshold. */
  alone = 0;
  private texts = new Map<number, { text: string; author: string; tokens: number }>();

  apply(event: AnyEvent): void {
    if (event.event === "drafted") {
      for (const { id, text, completion } of event.proposals)
        this.texts.set(id, { text, author: event.call.role, tokens: completion.ids.length });
    }
    if (event.event !== "accepted" && event.event !== "rejected") return;
    const { judgement, drafts } = event;
    const draft = drafts.at(-1);
    if (!judgement || draft === undefined) return;
    if (judgement.threshold === null || judgement.threshold === undefined) {
      this.alone += 1;
      return;
    }
    const known = this.texts.get(draft) ?? { text: "", author: "", tokens: 0 };
    const { score, threshold, role, measure } = judgement;
    this.found.push({ draft, ...known, score, threshold, judge: role ?? null, measure: measure ?? null, kept: event.event === "accepted" });
  }
}

/** Whether a higher score keeps a step; null if the record contradicts both. */
export function direction(steps: Step[]): "up" | "down" | null {
  if (steps.every((step) => step.kept === reaches(step.score, step.threshold))) return "up";
  if (steps.every((step) => step.kept === step.score <= step.threshold) || steps.every((step) => step.kept === step.score < step.threshold))
    return "down";
  return null;
}

/** Whether a score is at least the threshold, but for rounding, as in `methods/threshold.py`. */
function reaches(score: number, threshold: number): boolean {
  return score >= threshold - 1e-9;
}

/** What a threshold decides on recorded steps. */
export function decide(steps: Step[], threshold: number, way: "up" | "down"): boolean[] {
  return steps.map(({ score, threshold: own, kept }) =>
    threshold === own ? kept : way === "up" ? reaches(score, threshold) : score <= threshold,
  );
}

/**
 * A slider: its ends are the bounds of the parameter, and where it has none, a range that covers all scores and thresholds. It has its
 * steps `before` and `after` the threshold of the chain, which is one of its places.
 */
export interface Slider {
  before: number;
  after: number;
  at: (place: number) => number;
}

export function sliderOf(steps: Step[], { least, most }: { least?: number; most?: number } = {}): Slider {
  const values = steps.flatMap(({ score, threshold }) => [score, threshold]).filter(Number.isFinite);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const span = high - low || 1;
  const whole = values.every(Number.isInteger);
  const more = whole ? Math.ceil(span / 2) : span / 2;
  const ends = { low: least ?? low - more, high: most ?? high + more };
  const step = whole ? 1 : (ends.high - ends.low) / 200;
  const own = steps[0]?.threshold ?? 0;
  const count = (distance: number) => Math.max(0, Math.ceil(distance / step - 1e-9));
  const at = (place: number) => (place === 0 ? own : Math.min(ends.high, Math.max(ends.low, own + place * step)));
  return { before: count(own - ends.low), after: count(ends.high - own), at };
}
