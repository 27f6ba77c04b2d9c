// Checks the events of a file, so that what is shown is what the file holds. What refers to what has the rules of trace/check.py.

import type { AnyEvent } from "../data/types";

type Fields = Record<string, unknown>;

/** Throws an Error that names the event, its line where it is known, and the reason if an event has another form or does not fit those before it. */
export function checkEvents(events: unknown[], lines: number[] = []): asserts events is AnyEvent[] {
  const damage = new Check().find(events);
  if (!damage) return;
  const line = lines[damage.place] === undefined ? "" : ` (line ${lines[damage.place]})`;
  throw new Error(`event ${damage.place + 1} of the trace${line} is damaged: ${damage.reason}`);
}

const MOST_SECONDS = 1e8; // three years: a drawing of the time has no more room

/** Folds the events of one chain down to what later events may refer to. */
class Check {
  pieces = 0;
  /** The number of tokens of each draft. */
  private drafts = new Map<number, number>();
  /** The number of pieces of each child. */
  private children = new Map<number, number>();

  find(events: unknown[]): { place: number; reason: string } | null {
    let over = false;
    for (const [place, event] of events.entries()) {
      const reason = over ? "the chain is over before it" : this.reason(event, place);
      if (reason) return { place, reason };
      over = (event as Fields).event === "ended";
    }
    return null;
  }

  /** The reason against an event, or an empty text; then the event is counted. */
  private reason(event: unknown, place: number): string {
    if (!isObject(event) || typeof event.event !== "string") return "it has no kind";
    if (place > 0 && event.event === "started") return "the chain begins a second time";
    const fields = fieldsOf(event.event);
    if (!fields) return `${event.event.slice(0, 40)} is not a kind of event`;
    const wrong = fields.find(([name, kind]) => !kind(event[name]));
    if (wrong) return `${wrong[0]} is missing or has another type`;
    return between("at", event.at ?? 0, MOST_SECONDS) || callReason(event.call) || this.proposals(event) || this.own(event);
  }

  private proposals(event: Fields): string {
    for (const { id, parent, dropped, completion } of proposalsOf(event)) {
      const reason = between("dropped", dropped ?? 0, completion.ids.length);
      if (reason) return reason;
      if (typeof parent === "number" && (!this.drafts.has(parent) || parent >= id)) return `it follows draft ${parent}, which is missing`;
      if (event.event === "drafted" || event.event === "cancelled") this.drafts.set(id, completion.ids.length);
    }
    return "";
  }

  private own(event: Fields): string {
    switch (event.event) {
      case "accepted":
      case "rejected": {
        const drafts = event.drafts as number[];
        const missing = drafts.find((draft) => !this.drafts.has(draft));
        if (missing !== undefined) return `it refers to draft ${missing}, which is missing`;
        if (event.event === "rejected") return "";
        this.pieces += drafts.length;
        const cut = event.cut as [number, number] | null | undefined;
        return cut ? between("cut", cut[0], this.drafts.get(drafts.at(-1) ?? -1) ?? 0) || atLeast("cut", cut[1]) : "";
      }
      case "scored": {
        const [lists, drafts] = [event.logprobs as unknown[], event.drafts as unknown[]];
        return lists.length === drafts.length ? "" : `it has ${lists.length} lists of log-probabilities for ${drafts.length} drafts`;
      }
      case "wrote":
      case "inserted":
        this.pieces += 1;
        return "";
      case "answered":
        this.pieces += event.cue ? 2 : 1;
        return "";
      case "rewound": {
        const reason = between("pieces", event.pieces, this.pieces) || atLeast("entries", event.entries ?? 0);
        this.pieces = event.pieces as number;
        return reason;
      }
      case "child": {
        const child = new Check();
        const damage = child.find(event.events as unknown[]);
        const index = event.index as number;
        this.children.set(index, child.pieces);
        return damage ? `in child chain ${index + 1}, event ${damage.place + 1}: ${damage.reason}` : "";
      }
      case "became": {
        const pieces = this.children.get(event.index as number);
        this.pieces = pieces ?? 0;
        return pieces === undefined ? `it refers to child chain ${(event.index as number) + 1}, which is missing` : "";
      }
      case "ended":
        return between("seconds", event.seconds, MOST_SECONDS);
      default:
        return "";
    }
  }
}

function between(name: string, value: unknown, most: number): string {
  if (!isNumber(value)) return `${name} is missing or has another type`;
  return (value as number) >= 0 && (value as number) <= most ? "" : `${name} must be from 0 to ${most}, got ${value}`;
}

function atLeast(name: string, value: unknown): string {
  if (!isNumber(value)) return `${name} is missing or has another type`;
  return (value as number) >= 0 ? "" : `${name} must be at least 0, got ${value}`;
}

function callReason(call: unknown): string {
  if (!isObject(call)) return "";
  for (const name of COUNTS) {
    const reason = atLeast(name, call[name]);
    if (reason) return reason;
  }
  return between("seconds", call.seconds, MOST_SECONDS) || between("began", call.began ?? 0, MOST_SECONDS);
}

type Kind = (value: unknown) => boolean;

const isNumber: Kind = (value) => typeof value === "number" && Number.isFinite(value);
const isWhole: Kind = (value) => Number.isSafeInteger(value);
const isText: Kind = (value) => typeof value === "string";
const isNumbers: Kind = (value) => Array.isArray(value) && value.every(isNumber);
const isTexts: Kind = (value) => Array.isArray(value) && value.every(isText);
const isList: Kind = (value) => Array.isArray(value);

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const COUNTS = ["requests", "prompt_tokens", "cached_tokens", "produced_tokens", "scored_tokens"];
const isCall: Kind = (value) => isObject(value) && isText(value.role) && [...COUNTS, "seconds"].every((name) => isNumber(value[name]));
const isCompletion: Kind = (value) => isObject(value) && isNumbers(value.ids) && (!value.logprobs || isNumbers(value.logprobs));
const isProposal: Kind = (value) => isObject(value) && isWhole(value.id) && isText(value.text) && isCompletion(value.completion);
const isProblem: Kind = (value) =>
  isObject(value) &&
  Array.isArray(value.messages) &&
  value.messages.length > 0 &&
  value.messages.every((one) => isObject(one) && isText(one.content));
const isEngines: Kind = (value) => isObject(value) && Object.values(value).every((one) => isObject(one) && isText(one.name));
const isCut: Kind = (value) => value === null || value === undefined || (isNumbers(value) && (value as number[]).length === 2);

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
    ["cut", isCut],
  ],
  rejected: [
    ["drafts", isNumbers],
    ["reason", isText],
    ["judgement", isJudgement],
  ],
  inserted: [["text", isText]],
  rewound: [["pieces", isWhole]],
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
    ["index", isWhole],
    ["events", isList],
  ],
  became: [["index", isWhole]],
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

interface Offered {
  id: number;
  parent: unknown;
  dropped: unknown;
  completion: { ids: number[] };
}

/** The proposals of an event whose fields are known to be right. */
function proposalsOf(event: Fields): Offered[] {
  const all = [event.proposal, ...(Array.isArray(event.proposals) ? event.proposals : [])];
  return all.filter((one): one is Offered => isProposal(one));
}
