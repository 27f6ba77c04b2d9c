// Judged steps: the decisions of a method that compares a score with a threshold, and what another threshold would decide.

import type { AnyEvent } from "../data/types";

export interface Step {
  draft: number;
  text: string;
  author: string;
  score: number;
  threshold: number;
  judge: string | null;
  kept: boolean;
  tokens: number;
}

/** Collects the judged steps of one chain. */
export class Steps {
  found: Step[] = [];
  private texts = new Map<number, { text: string; author: string; tokens: number }>();

  apply(event: AnyEvent): void {
    if (event.event === "drafted") {
      for (const { id, text, completion } of event.proposals)
        this.texts.set(id, { text, author: event.call.role, tokens: completion.ids.length });
    }
    if (event.event !== "accepted" && event.event !== "rejected") return;
    const { judgement, drafts } = event;
    const draft = drafts.at(-1);
    if (!judgement || judgement.threshold === null || judgement.threshold === undefined || draft === undefined) return;
    const known = this.texts.get(draft) ?? { text: "", author: "", tokens: 0 };
    const { score, threshold, role } = judgement;
    this.found.push({ draft, ...known, score, threshold, judge: role ?? null, kept: event.event === "accepted" });
  }
}

/** Whether a higher score keeps a step; null if the record contradicts both. */
export function direction(steps: Step[]): "up" | "down" | null {
  if (steps.every((step) => step.kept === step.score >= step.threshold)) return "up";
  if (steps.every((step) => step.kept === step.score <= step.threshold) || steps.every((step) => step.kept === step.score < step.threshold))
    return "down";
  return null;
}

/** What a threshold decides on recorded steps. */
export function decide(steps: Step[], threshold: number, way: "up" | "down"): boolean[] {
  return steps.map(({ score, threshold: own, kept }) =>
    threshold === own ? kept : way === "up" ? score >= threshold : score <= threshold,
  );
}

/** The ends of a slider that cover all scores and thresholds. */
export function range(steps: Step[]): { low: number; high: number; step: number } {
  const values = steps.flatMap(({ score, threshold }) => [score, threshold]).filter(Number.isFinite);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const span = high - low || 1;
  if (values.every(Number.isInteger)) return { low: low - Math.ceil(span / 2), high: high + Math.ceil(span / 2), step: 1 };
  return { low: low - span / 2, high: high + span / 2, step: span / 200 };
}
