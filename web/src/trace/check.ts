// Checks the events of a file, so that what is shown is what the file holds. trace/check.py has the same rules.

import { type AnyEvent, type Call, type Proposal, SHAPES, type Shape } from "../data/types";

/** Throws an Error that names the event, its line where it is known, and the reason if an event has another shape or does not fit those before it. */
export function checkEvents(events: unknown[], lines: number[] = []): asserts events is AnyEvent[] {
  const damage = new Check().find(events);
  if (!damage) return;
  const line = lines[damage.place] === undefined ? "" : ` (line ${lines[damage.place]})`;
  throw new Error(`event ${damage.place + 1} of the trace${line} is damaged: ${damage.reason}`);
}

const MOST_SECONDS = 1e8; // three years: a chain never takes so long
const MOST_TOKENS = 1e12;
const COUNTS = [
  "requests",
  "prompt_tokens",
  "cached_tokens",
  "produced_tokens",
  "scored_tokens",
  "shared_cache_tokens",
  "beyond_tokens",
] as const;

/** Folds the events of one chain down to what later events may refer to. */
class Check {
  pieces = 0;
  /** The ids of all texts. */
  private texts = new Set<number>();
  /** The number of tokens of each draft. */
  private drafts = new Map<number, number>();
  /** The drafts that are not decided. */
  private open = new Set<number>();
  /** The number of pieces of each child. */
  private children = new Map<number, number>();

  find(events: unknown[]): { place: number; reason: string } | null {
    let last: AnyEvent | null = null;
    for (const [place, event] of events.entries()) {
      const reason = misshaped(event) || this.order(last, event as AnyEvent) || this.own(event as AnyEvent);
      if (reason) return { place, reason };
      last = event as AnyEvent;
    }
    return null;
  }

  private order(last: AnyEvent | null, event: AnyEvent): string {
    if (last?.event === "ended") return "the chain is over before it";
    if (last && event.event === "started") return "the chain begins a second time";
    const twice = last && "call" in event && event.call.seconds && last.event === event.event && last.at === event.at;
    return twice && JSON.stringify(last) === JSON.stringify(event) ? "it stands there twice" : "";
  }

  /** The reason against an event, or an empty text; then the event is counted. */
  private own(event: AnyEvent): string {
    const call = "call" in event ? event.call : null;
    return between("at", event.at ?? 0, MOST_SECONDS) || (call && callReason(call)) || this.proposals(event) || this.references(event);
  }

  private proposals(event: AnyEvent): string {
    for (const proposal of proposalsOf(event)) {
      const reason = this.proposal(proposal, "call" in event ? event.call.produced_tokens : 0);
      if (reason) return reason;
      this.texts.add(proposal.id);
      if (event.event !== "drafted" && event.event !== "cancelled") continue;
      this.drafts.set(proposal.id, proposal.completion.ids.length);
      this.open.add(proposal.id);
    }
    return "";
  }

  private proposal({ id, parent, dropped, completion }: Proposal, produced: number): string {
    if (this.texts.has(id)) return `draft ${id} stands there already`;
    if (parent !== null && (!this.drafts.has(parent) || parent >= id)) return `it follows draft ${parent}, which is missing`;
    const tokens = completion.ids.length + (completion.end_id === null || completion.end_id === undefined ? 0 : 1);
    if (tokens > produced) return `a text has ${tokens} tokens, and its call produced ${produced}`;
    return between("dropped", dropped, completion.ids.length);
  }

  private references(event: AnyEvent): string {
    switch (event.event) {
      case "accepted": {
        const { drafts, cut } = event;
        this.pieces += drafts.length;
        const most = this.drafts.get(drafts.at(-1) ?? Number.NaN) ?? 0;
        return this.decide(drafts) || (cut ? between("cut", cut[0], most) || between("cut", cut[1], MOST_TOKENS) : "");
      }
      case "rejected":
        return this.decide(event.drafts);
      case "scored": {
        const { logprobs, drafts } = event;
        if (logprobs.length === drafts.length) return this.missing(drafts);
        return `it has ${logprobs.length} lists of log-probabilities for ${drafts.length} drafts`;
      }
      case "rewarded":
        return this.missing(event.drafts);
      case "wrote":
      case "inserted":
        this.pieces += 1;
        return "";
      case "answered":
        this.pieces += event.cue ? 2 : 1;
        return "";
      case "rewound": {
        const reason = between("pieces", event.pieces, this.pieces) || between("entries", event.entries ?? 0, MOST_TOKENS);
        this.pieces = event.pieces;
        return reason;
      }
      case "child": {
        const child = new Check();
        const damage = child.find(event.events);
        this.children.set(event.index, child.pieces);
        return damage ? `in child chain ${event.index + 1}, event ${damage.place + 1}: ${damage.reason}` : "";
      }
      case "became": {
        const pieces = this.children.get(event.index);
        this.pieces = pieces ?? 0;
        return pieces === undefined ? `it refers to child chain ${event.index + 1}, which is missing` : "";
      }
      case "ended":
        return between("seconds", event.seconds, MOST_SECONDS);
      default:
        return "";
    }
  }

  private missing(drafts: number[]): string {
    const missing = drafts.find((draft) => !this.texts.has(draft));
    return missing === undefined ? "" : `it refers to draft ${missing}, which is missing`;
  }

  /** Decides drafts, or returns the reason why one of them cannot be decided. */
  private decide(drafts: number[]): string {
    for (const draft of drafts) {
      if (!this.drafts.has(draft)) return `it refers to draft ${draft}, which is missing`;
      if (!this.open.delete(draft)) return `draft ${draft} is decided already`;
    }
    return "";
  }
}

function proposalsOf(event: AnyEvent): Proposal[] {
  if ("proposals" in event) return event.proposals;
  return "proposal" in event && event.proposal ? [event.proposal] : [];
}

function callReason(call: Call): string {
  const seconds = between("seconds", call.seconds, MOST_SECONDS) || between("began", call.began ?? 0, MOST_SECONDS);
  return COUNTS.reduce((reason, name) => reason || between(name, call[name] ?? 0, MOST_TOKENS), seconds);
}

function between(name: string, value: number, most: number): string {
  return value >= 0 && value <= most ? "" : `${name} must be from 0 to ${most}, got ${value}`;
}

/** The reason why a value is not an event, or an empty text. */
function misshaped(event: unknown): string {
  if (!isObject(event) || typeof event.event !== "string") return "it has no kind";
  if (!KINDS.has(event.event)) return `${event.event.slice(0, 40)} is not a kind of event`;
  const path = misfit(event, "event");
  return path === null ? "" : `${path.join(".")} is missing or has another type`;
}

/** The shape of each kind of event. */
const KINDS = new Map(
  Object.values(SHAPES).flatMap((shape): [unknown, Shape][] => {
    const kind = typeof shape === "object" && "fields" in shape ? shape.fields.event : undefined;
    return typeof kind === "object" && "one" in kind ? [[kind.one[0], shape]] : [];
  }),
);

type Path = (string | number)[];

/** The way to the first part of a value that does not fit a shape, or null. */
function misfit(value: unknown, shape: Shape): Path | null {
  if (shape === "event") return isObject(value) && KINDS.has(value.event) ? misfit(value, KINDS.get(value.event)!) : [];
  if (typeof shape === "string") return fits(value, shape) ? null : [];
  if ("name" in shape) return misfit(value, SHAPES[shape.name]!);
  if ("one" in shape) return shape.one.includes(value) ? null : [];
  if ("either" in shape) return misfitOfAll(value, shape.either);
  if ("list" in shape) return Array.isArray(value) ? first(value.entries(), () => shape.list) : [];
  if ("row" in shape) {
    const { row } = shape;
    return Array.isArray(value) && value.length === row.length ? first(value.entries(), (place) => row[place]!) : [];
  }
  if (!isObject(value)) return [];
  if ("values" in shape) return first(Object.entries(value), () => shape.values);
  const missing = shape.needs.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) return [missing];
  const own = Object.entries(shape.fields).filter(([name]) => Object.hasOwn(value, name));
  return first(
    own.map(([name]): [string, unknown] => [name, value[name]]),
    (name) => shape.fields[name]!,
  );
}

function first<Key extends string | number>(parts: Iterable<[Key, unknown]>, shapeOf: (key: Key) => Shape): Path | null {
  for (const [key, part] of parts) {
    const path = misfit(part, shapeOf(key));
    if (path) return [key, ...path];
  }
  return null;
}

function misfitOfAll(value: unknown, shapes: Shape[]): Path | null {
  const paths = shapes.map((shape) => misfit(value, shape));
  return paths.includes(null) ? null : paths.reduce((one, other) => (other!.length > one!.length ? other : one))!;
}

function fits(value: unknown, kind: Extract<Shape, string>): boolean {
  switch (kind) {
    case "text":
      return typeof value === "string";
    case "number":
      return Number.isFinite(value);
    case "whole":
      return Number.isInteger(value);
    case "truth":
      return typeof value === "boolean";
    case "null":
      return value === null;
    default:
      return true;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
