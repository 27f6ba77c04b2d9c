// Plays a recorded chain again, slowly: events at their times, and the text of each call over the time that the call took.

import type { AnyEvent, Proposal } from "../data/types";
import { workOf } from "../trace/calls";
import { Chain } from "../trace/chain";
import type { Writing } from "../trace/timeline";

interface Moment {
  at: number;
  path: number[];
  event?: AnyEvent;
  delta?: Writing;
}

const SLICES = 40; // of each text
const MOST = 100_000; // slices of all texts together

/** Everything that happened in a chain, in the order of its times. */
export function momentsOf(events: AnyEvent[], path: number[] = [], most = Math.max(1, Math.floor(MOST / countOf(events)))): Moment[] {
  const found: Moment[] = [];
  let latest = 0;
  for (const event of events) {
    latest = Math.max(latest, event.at ?? 0);
    const work = workOf(event, new Map());
    for (const [proposal, committed] of proposalsOf(event))
      if (work) found.push(...slices(proposal, committed, work.role, work.began, work.ended, path, most));
    if (event.event === "child") {
      found.push({ at: latest, path, event: { ...event, events: [] } });
      found.push(...momentsOf(event.events, [...path, event.index], most));
    } else found.push({ at: latest, path, event });
  }
  return path.length ? found : found.sort((one, other) => one.at - other.at);
}

/** The number of events, children's included. */
function countOf(events: AnyEvent[]): number {
  return events.reduce((sum, event) => sum + 1 + (event.event === "child" ? countOf(event.events) : 0), 0);
}

function proposalsOf(event: AnyEvent): [Proposal, boolean][] {
  if (event.event === "wrote" || event.event === "answered") return [[event.proposal, true]];
  return event.event === "drafted" ? event.proposals.map((proposal) => [proposal, false]) : [];
}

function slices(
  proposal: Proposal,
  committed: boolean,
  role: string,
  began: number,
  ended: number,
  path: number[],
  most: number,
): Moment[] {
  const letters = [...proposal.text];
  const number = Math.max(1, Math.min(SLICES, most, proposal.completion.ids.length));
  const each = Math.ceil(letters.length / number);
  return Array.from({ length: number }, (_, place) => {
    const text = letters.slice(place * each, (place + 1) * each).join("");
    const at = began + ((ended - began) * (place + 1)) / (number + 1);
    return { at, path, delta: { role, text, draft: proposal.id, phase: proposal.phase, committed } };
  }).filter(({ delta }) => delta.text);
}

/** Plays moments into a new chain in about as many seconds; calls `told` when something happened. */
export class Player {
  readonly chain = new Chain();
  private place = 0;
  private readonly began = performance.now();
  private frame = 0;

  constructor(
    private readonly moments: Moment[],
    private readonly factor: number,
    private readonly told: (over: boolean) => void,
  ) {
    this.frame = requestAnimationFrame(() => this.step());
  }

  /** Seconds of the chain that have been played. */
  get clock(): number {
    return (performance.now() - this.began) / 1000 / this.factor;
  }

  /** Plays the rest at once. */
  end(): void {
    cancelAnimationFrame(this.frame);
    this.play(Number.POSITIVE_INFINITY);
  }

  private step(): void {
    this.play(this.clock);
    if (this.place < this.moments.length) this.frame = requestAnimationFrame(() => this.step());
  }

  private play(until: number): void {
    const from = this.place;
    for (; this.place < this.moments.length && this.moments[this.place]!.at <= until; this.place++) {
      const { at, path, event, delta } = this.moments[this.place]!;
      if (event) this.chain.at(path).apply(event);
      else if (delta) this.chain.at(path).write(delta, at);
    }
    if (this.place > from) this.told(this.place === this.moments.length);
  }
}
