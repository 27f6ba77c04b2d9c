// A run: one chain on its way, or a recorded one.

import type { AnyEvent, ChainReport, Mark } from "../data/types";
import { boxed, sameAnswer } from "../trace/answer";
import type { Work } from "../trace/calls";
import { Chain } from "../trace/chain";
import { momentsOf, Player } from "./replay";
import { type News, type Service, ServiceError } from "./service";
import { type Ask, labelOf } from "./settings";
import { callsUnderWay, type Estimate, underWay } from "./under-way";

/** Ends what a reader sees moving: replays before real runs, since those cannot be begun again for nothing. */
export function stop(runs: Pick<Run, "moving" | "player" | "cancel">[]): void {
  const moving = runs.filter((run) => run.moving);
  const replays = moving.filter((run) => run.player);
  for (const run of replays.length ? replays : moving) run.cancel();
}

export type State = "running" | "done" | "cancelled" | "failed";

/** An event that the page cannot fold into the chain. */
class Unreadable extends Error {}

export class Run {
  chain = new Chain();
  state: State = "running";
  error = "";
  /** The field that the service named in its error. */
  param: string | null = null;
  report: ChainReport | null = null;
  seconds = 0;
  /** The replay that is under way. */
  player: Player | null = null;
  private cutOff = new Map<string, Estimate>();
  private cutCalls: Work[] = [];
  private readonly began = performance.now();
  private readonly abort = new AbortController();
  private readonly listeners = new Set<() => void>();

  /** `ask` is null for a trace from a file; `expected`: the right answer, where it is known. */
  constructor(
    readonly label: string,
    readonly mark: Mark | null,
    readonly ask: Ask | null,
    readonly expected: string | null,
    private readonly verdict: boolean | null = null,
  ) {}

  /** A recorded chain. `verdict`: whether its answer is right, where the grader has said so. */
  static of(events: AnyEvent[], mark: Mark | null, expected: string | null, verdict: boolean | null = null): Run {
    const chain = Chain.of(structuredClone(events));
    const started = chain.started;
    const run = new Run(started ? labelOf({ method: started.method }) : "a trace", mark, null, expected, verdict);
    run.chain = chain;
    run.seconds = chain.seconds;
    run.state = chain.ended ? "done" : "cancelled";
    if (!chain.ended) chain.timeline.close();
    return run;
  }

  /** Streams the chain to its end, its failure, or until it is cancelled. */
  async stream(service: Service, ask: Ask): Promise<void> {
    try {
      for await (const news of service.ask(ask, this.abort.signal)) {
        this.take(news);
      }
      this.finish("done");
    } catch (error) {
      if (this.abort.signal.aborted) this.finish("cancelled");
      else {
        const known = error instanceof ServiceError || error instanceof Unreadable;
        this.error = known ? error.message : "the service cannot be reached";
        this.param = error instanceof ServiceError ? error.param : null;
        this.finish("failed");
      }
    }
  }

  private take(news: News): void {
    try {
      if ("report" in news) this.report ??= news.report;
      else if ("event" in news) this.chain.at(news.path).apply(news.event);
      else this.chain.at(news.path).write(news.delta, this.elapsed);
    } catch (error) {
      throw new Unreadable(`the page cannot read the service's reply: ${(error as Error).message}`);
    }
    this.tell();
  }

  cancel(): void {
    if (this.player) this.player.end();
    else this.abort.abort();
  }

  /** Plays the finished chain again, in about as many seconds. */
  replay(seconds: number): void {
    this.player?.end();
    const recorded = this.chain;
    this.player = new Player(momentsOf(recorded.events), seconds / (recorded.seconds || 1), (over) => {
      this.chain = this.player?.chain ?? recorded;
      if (over) {
        this.player = null;
        this.chain = recorded;
      }
      this.tell();
    });
    this.tell();
  }

  /** Whether the chain that is shown still grows. */
  get moving(): boolean {
    return this.state === "running" || this.player !== null;
  }

  /** Calls a function after each change; returns the end of that. */
  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** About how many tokens of calls that are not over, or were cut off, were written, by role. */
  get estimate(): Map<string, Estimate> {
    return this.moving ? underWay(this.chain.timeline) : this.cutOff;
  }

  /** The calls that are not over, or were cut off with the run. */
  get callsUnderWay(): Work[] {
    return this.moving ? callsUnderWay(this.chain.timeline, this.elapsed) : this.cutCalls;
  }

  /** Wall time until now. */
  get elapsed(): number {
    if (this.player) return this.player.clock;
    return this.state === "running" ? (performance.now() - this.began) / 1000 : this.seconds;
  }

  get answer(): string | null {
    return boxed(this.chain.text("answer")) ?? (this.moving ? null : boxed(this.chain.text("thinking")));
  }

  /** Whether the answer is right; null where that is not known, and for a chain that did not come to its end. */
  get right(): boolean | null {
    return this.expected === null || this.moving || this.state !== "done" ? null : (this.verdict ?? sameAnswer(this.answer, this.expected));
  }

  tell(): void {
    for (const listener of this.listeners) listener();
  }

  private finish(state: State): void {
    this.seconds = this.chain.ended?.seconds ?? (performance.now() - this.began) / 1000;
    this.cutOff = underWay(this.chain.timeline);
    this.cutCalls = callsUnderWay(this.chain.timeline, this.seconds).map((work) => ({ ...work, verb: "was cut off" }));
    if (!this.chain.ended) this.chain.timeline.interrupt();
    this.state = state;
    this.tell();
  }
}
