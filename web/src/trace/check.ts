// Checks the events of a file, so that what is shown is what the file holds.

import type { AnyEvent } from "../data/types";

type Fields = Record<string, unknown>;

/** Throws an Error that names the event and the field if an event has another form, or refers to one that is missing. */
export function checkEvents(events: unknown[]): asserts events is AnyEvent[] {
  const known = new Set<number>();
  events.forEach((event, place) => {
    const where = `event ${place + 1} of the trace is damaged`;
    if (!isObject(event) || typeof event.event !== "string") throw new Error(`${where}: it has no kind`);
    if (place > 0 && event.event === "started") throw new Error(`${where}: the chain begins a second time`);
    if (place > 0 && (events[place - 1] as Fields).event === "ended") throw new Error(`${where}: the chain is over before it`);
    for (const [name, kind] of fieldsOf(event.event) ?? unknownKind(where, event.event)) {
      if (!kind(event[name])) throw new Error(`${where}: ${name} is missing or has another type`);
    }
    if (event.at !== undefined && !isNumber(event.at)) throw new Error(`${where}: at is not a number`);
    for (const { id } of proposalsOf(event)) known.add(id);
    if (event.event === "accepted" || event.event === "rejected") {
      for (const draft of event.drafts as number[])
        if (!known.has(draft)) throw new Error(`${where}: it refers to draft ${draft}, which is missing`);
    }
    if (event.event === "child") checkEvents(event.events as unknown[]);
  });
}

type Kind = (value: unknown) => boolean;

const isNumber: Kind = (value) => typeof value === "number" && Number.isFinite(value);
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
const isProposal: Kind = (value) =>
  isObject(value) && isNumber(value.id) && isText(value.text) && isNumber(value.dropped) && isCompletion(value.completion);
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
  rewound: [["pieces", isNumber]],
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
    ["seconds", isNumber],
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
