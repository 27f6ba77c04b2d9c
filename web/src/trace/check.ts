// Checks the events of a file, so that what is shown is what the file holds.

import type { AnyEvent } from "../data/types";

type Fields = Record<string, unknown>;

/** Throws an Error that names the event, its line where it is known, and the field if an event has another form or refers to what is missing. */
export function checkEvents(events: unknown[], lines: number[] = []): asserts events is AnyEvent[] {
  checked(events, lines);
}

/** Checks the events of one chain; returns the number of its pieces. */
function checked(events: unknown[], lines: number[] = []): number {
  const known = new Set<number>();
  const children = new Map<number, number>();
  let pieces = 0;
  events.forEach((event, place) => {
    const line = lines[place] === undefined ? "" : ` (line ${lines[place]})`;
    const where = `event ${place + 1} of the trace${line} is damaged`;
    if (!isObject(event) || typeof event.event !== "string") throw new Error(`${where}: it has no kind`);
    if (place > 0 && event.event === "started") throw new Error(`${where}: the chain begins a second time`);
    if (place > 0 && (events[place - 1] as Fields).event === "ended") throw new Error(`${where}: the chain is over before it`);
    for (const [name, kind] of fieldsOf(event.event) ?? unknownKind(where, event.event)) {
      if (!kind(event[name])) throw new Error(`${where}: ${name} is missing or has another type`);
    }
    if (event.at !== undefined && !isSeconds(event.at)) throw new Error(`${where}: at is not a time`);
    if (event.event !== "answered") for (const { id } of proposalsOf(event)) known.add(id);
    if (event.event === "accepted" || event.event === "rejected") {
      for (const draft of event.drafts as number[])
        if (!known.has(draft)) throw new Error(`${where}: it refers to draft ${draft}, which is missing`);
    }
    if (event.event === "rewound" && (event.pieces as number) > pieces)
      throw new Error(`${where}: pieces cannot be more than the ${pieces} that the chain has, got ${event.pieces}`);
    if (event.event === "child") children.set(event.index as number, checked(event.events as unknown[]));
    pieces = piecesAfter(event, pieces, children);
  });
  return pieces;
}

/** The number of a chain's pieces after an event, as trace/state.py counts them. */
function piecesAfter(event: Fields, pieces: number, children: Map<number, number>): number {
  switch (event.event) {
    case "wrote":
    case "inserted":
      return pieces + 1;
    case "answered":
      return pieces + (event.cue ? 2 : 1);
    case "accepted":
      return pieces + (event.drafts as number[]).length;
    case "rewound":
      return event.pieces as number;
    case "became":
      return children.get(event.index as number) ?? 0;
    default:
      return pieces;
  }
}

type Kind = (value: unknown) => boolean;

const MOST_SECONDS = 1e8; // three years: a drawing of the time has no more room

const isNumber: Kind = (value) => typeof value === "number" && Number.isFinite(value);
const isCount: Kind = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isSeconds: Kind = (value) => isNumber(value) && (value as number) >= 0 && (value as number) <= MOST_SECONDS;
const isText: Kind = (value) => typeof value === "string";
const isNumbers: Kind = (value) => Array.isArray(value) && value.every(isNumber);
const isTexts: Kind = (value) => Array.isArray(value) && value.every(isText);
const isList: Kind = (value) => Array.isArray(value);

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const COUNTS = ["requests", "prompt_tokens", "cached_tokens", "produced_tokens", "scored_tokens", "seconds"];
const isCall: Kind = (value) => isObject(value) && isText(value.role) && COUNTS.every((name) => isNumber(value[name]));
const isCompletion: Kind = (value) => isObject(value) && isNumbers(value.ids) && (!value.logprobs || isNumbers(value.logprobs));
/** Whether a number of dropped tokens is one of a completion's own. */
const isPartOf = (dropped: unknown, completion: unknown) =>
  isCount(dropped) && (dropped as number) <= (completion as { ids: number[] }).ids.length;
const isProposal: Kind = (value) =>
  isObject(value) &&
  isNumber(value.id) &&
  isText(value.text) &&
  isCompletion(value.completion) &&
  isPartOf(value.dropped, value.completion);
const isProblem: Kind = (value) =>
  isObject(value) &&
  Array.isArray(value.messages) &&
  value.messages.length > 0 &&
  value.messages.every((one) => isObject(one) && isText(one.content));
const isEngines: Kind = (value) => isObject(value) && Object.values(value).every((one) => isObject(one) && isText(one.name));

/** Typed so that no kind of event can be forgotten. */
const FIELDS: Record<AnyEvent["event"], [string, Kind][]> = {
  started: [
    ["problem", isProblem],
    ["method", isText],
    ["params", isObject],
    ["engines", isEngines],
  ],
  wrote: [
    ["call", isCall],
    ["proposal", isProposal],
  ],
  drafted: [
    ["call", isCall],
    ["proposals", (value) => Array.isArray(value) && value.every(isProposal)],
  ],
  scored: [
    ["call", isCall],
    ["drafts", isNumbers],
    ["logprobs", (value) => Array.isArray(value) && value.every(isNumbers)],
  ],
  rewarded: [["call", isCall]],
  asked: [
    ["call", isCall],
    ["question", isText],
    ["replies", isTexts],
  ],
  accepted: [
    ["drafts", isNumbers],
    ["judgement", isJudgement],
  ],
  rejected: [
    ["drafts", isNumbers],
    ["reason", isText],
    ["judgement", isJudgement],
  ],
  inserted: [["text", isText]],
  rewound: [["pieces", isCount]],
  noted: [["text", isText]],
  instructed: [["text", isText]],
  chose: [["reason", isText]],
  prefilled: [["call", isCall]],
  cancelled: [
    ["call", isCall],
    ["proposal", (value) => value === null || value === undefined || isProposal(value)],
  ],
  degraded: [
    ["role", isText],
    ["survivor", isText],
    ["error", isText],
  ],
  child: [
    ["index", isNumber],
    ["events", isList],
  ],
  became: [["index", isNumber]],
  stopped: [["reason", isText]],
  answered: [
    ["call", isCall],
    ["cue", isText],
    ["proposal", isProposal],
  ],
  ended: [
    ["seconds", isSeconds],
    ["finish_reason", isText],
  ],
};

function fieldsOf(kind: string): [string, Kind][] | undefined {
  return Object.hasOwn(FIELDS, kind) ? FIELDS[kind as AnyEvent["event"]] : undefined;
}

function isJudgement(value: unknown): boolean {
  return value === null || value === undefined || (isObject(value) && isNumber(value.score));
}

function unknownKind(where: string, kind: string): never {
  throw new Error(`${where}: ${kind.slice(0, 40)} is not a kind of event`);
}

function proposalsOf(event: Fields): { id: number }[] {
  const all = [event.proposal, ...(Array.isArray(event.proposals) ? event.proposals : [])];
  return all.filter((one): one is { id: number } => isObject(one) && isNumber(one.id));
}
