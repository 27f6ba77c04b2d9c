// A chain as its events tell it: timeline, cost, calls and judged steps, with its children.

import type { AnyEvent, Ended, Started } from "../data/types";
import { noteWriters, type Work, type Writers, workOf } from "./calls";
import { Ledger } from "./ledger";
import { Steps } from "./steps";
import { Timeline, type Writing } from "./timeline";

export class Chain {
  readonly events: AnyEvent[] = [];
  readonly timeline = new Timeline();
  readonly ledger = new Ledger();
  readonly works: Work[];
  readonly steps: Steps;
  readonly children = new Map<number, Chain>();
  started: Started | null = null;
  ended: Ended | null = null;
  /** Seconds of the latest event. */
  clock = 0;
  private readonly writers: Writers = new Map();

  constructor(private readonly parent?: Chain) {
    this.works = parent?.works ?? [];
    this.steps = parent?.steps ?? new Steps();
  }

  static of(events: Iterable<AnyEvent>): Chain {
    const chain = new Chain();
    for (const event of events) chain.apply(event);
    return chain;
  }

  /** Takes the next event. The events inside of a `child` are applied to that child. */
  apply(event: AnyEvent): void {
    this.events.push(event);
    const at = event.at ?? 0; // a file may leave it out
    this.clock = Math.max(this.clock, at);
    if (this.parent) this.parent.clock = Math.max(this.parent.clock, at);
    if (event.event === "started") this.started = event;
    if (event.event === "ended") this.ended = event;
    if (event.event === "child") this.begin(event.index, event);
    noteWriters(event, this.writers);
    const work = workOf(event, this.writers);
    if (work) this.works.push(work);
    this.steps.apply(event);
    this.ledger.apply(event);
    this.timeline.apply(event);
  }

  /** The chain at the end of a path of child numbers. */
  at(path: number[]): Chain {
    return path.reduce((chain: Chain, index) => chain.children.get(index) ?? chain.begin(index), this);
  }

  write(delta: Writing, began = 0): void {
    this.timeline.write(delta, began);
  }

  /** Wall time in seconds; of a chain under way, the time of its latest event. */
  get seconds(): number {
    return this.ended?.seconds ?? this.clock;
  }

  text(phase: "thinking" | "answer"): string {
    return this.timeline.spans
      .filter((span) => span.status === "kept" && span.phase === phase)
      .map((span) => span.text)
      .join("");
  }

  private begin(index: number, event?: Extract<AnyEvent, { event: "child" }>): Chain {
    const child = new Chain(this);
    const nested = event?.events ?? [];
    if (event) event.events = child.events as AnyEvent[]; // so that the trace, when it is saved, has what arrives later
    this.children.set(index, child);
    this.ledger.children.set(index, child.ledger);
    this.timeline.children.set(index, child.timeline);
    for (const one of nested) child.apply(one);
    return child;
  }
}
