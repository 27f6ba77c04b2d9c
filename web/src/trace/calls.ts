// The calls of a chain: which model worked when, for what, and on which text.

import type { AnyEvent, Call } from "../data/types";

export interface Work {
  role: string;
  verb: string;
  began: number;
  ended: number;
  tokens: number;
  scored: number;
  /** The calls that wrote the text of this one: itself, or those of the drafts that it judged. */
  texts: Call[];
}

/** The calls of one chain that wrote its drafts, by draft. */
export type Writers = Map<number, Call>;

/** The call of an event, or null for an event without one. Traces of version 1 have no beginning. */
export function workOf(event: AnyEvent, writers: Writers): Work | null {
  if (!("call" in event)) return null;
  const { call } = event;
  if (!call.requests && !call.seconds) return null;
  const began = call.began || Math.max(0, (event.at ?? 0) - call.seconds);
  const judged = "drafts" in event ? event.drafts : event.event === "asked" && event.after !== null ? [event.after] : [];
  const texts = [call, ...judged.flatMap((draft) => writers.get(draft) ?? [])];
  const { role, produced_tokens: tokens, scored_tokens: scored } = call;
  return { role, verb: verbOf(event), began, ended: began + call.seconds, tokens, scored, texts };
}

/** Notes the calls behind the proposals of an event. */
export function noteWriters(event: AnyEvent, writers: Writers): void {
  if (!("call" in event)) return;
  const one = "proposal" in event ? event.proposal : null;
  for (const { id } of "proposals" in event ? event.proposals : one ? [one] : []) writers.set(id, event.call);
}

function verbOf(event: AnyEvent): string {
  switch (event.event) {
    case "wrote":
      return "wrote";
    case "answered":
      return "wrote the answer";
    case "drafted":
      return event.proposals.length > 1 ? `drafted ${event.proposals.length} texts` : "drafted";
    case "scored":
      return `scored ${drafts(event.drafts)}`;
    case "rewarded":
      return `rewarded ${drafts(event.drafts)}`;
    case "asked":
      return `was asked (${event.question})`;
    case "prefilled":
      return "read ahead";
    case "cancelled":
      return `was cut off (${event.verb})`;
    default:
      return event.event;
  }
}

function drafts(numbers: number[]): string {
  return numbers.length === 1 ? "a draft" : `${numbers.length} drafts`;
}
