// The calls of a chain: which model worked when, and whether its tokens were kept.

import type { AnyEvent, Call } from "../data/types";

export interface Work {
  role: string;
  verb: string;
  began: number;
  ended: number;
  tokens: number;
}

const VERBS: Partial<Record<AnyEvent["event"], string>> = {
  wrote: "wrote",
  answered: "wrote the answer",
  drafted: "drafted",
  scored: "scored",
  rewarded: "rewarded",
  asked: "was asked",
  prefilled: "read ahead",
  cancelled: "was cut off",
};

/** The call of an event, or null for an event without one. Traces of version 1 have no beginning. */
export function workOf(event: AnyEvent): Work | null {
  if (!("call" in event)) return null;
  const call: Call = event.call;
  if (!call.requests && !call.seconds) return null;
  const began = call.began || Math.max(0, event.at - call.seconds);
  return { role: call.role, verb: VERBS[event.event] ?? event.event, began, ended: began + call.seconds, tokens: call.produced_tokens };
}
