// Calls that are not over: their tokens are not known, so they are estimated from their text.

import type { Work } from "../trace/calls";
import type { Timeline, Writing } from "../trace/timeline";

const LETTERS = 4;

/** About how many tokens of a role are written, and go into the chain or are not sure to. */
export interface Estimate {
  kept: number;
  discarded: number;
}

/** The estimate of the text that is being written, by role. */
export function underWay(timeline: Timeline): Map<string, Estimate> {
  const found = new Map<string, Estimate>();
  const add = (role: string, fate: keyof Estimate, text: string) => {
    const estimate = found.get(role) ?? { kept: 0, discarded: 0 };
    estimate[fate] += Math.ceil(text.length / LETTERS);
    found.set(role, estimate);
  };
  for (const { role, text, committed } of timeline.writing.values()) add(role, committed ? "kept" : "discarded", text);
  for (const { role, text } of textOf([...timeline.children.values()])) add(role, "discarded", text);
  return found;
}

const works = new WeakMap<Writing, Work>();

/** The calls under way, for the time line: one object for each call, which grows. */
export function callsUnderWay(timeline: Timeline, now: number): Work[] {
  return textOf([timeline]).map((one) => {
    const { role, committed, began = now } = one;
    const work = works.get(one) ?? { role, verb: committed ? "writes" : "drafts", began, ended: now, tokens: 0, scored: 0, texts: [] };
    works.set(one, work);
    work.ended = now;
    return work;
  });
}

function textOf(timelines: Timeline[]): Writing[] {
  return timelines.flatMap(({ writing, children }) => [...writing.values(), ...textOf([...children.values()])]);
}
