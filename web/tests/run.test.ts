import { describe, expect, it } from "vitest";
import type { AnyEvent, Call } from "../src/data/types";
import { verdict } from "../src/live/compare";
import { costOf } from "../src/live/cost";
import { momentsOf, type Player } from "../src/live/replay";
import { Run, stop } from "../src/live/run";
import { Ledger } from "../src/trace/ledger";
import { spanAt } from "../src/view/bar";
import { Follow } from "../src/view/follow";

const COUNTS = {
  requests: 1,
  prompt_tokens: 5,
  cached_tokens: 0,
  produced_tokens: 2,
  scored_tokens: 0,
  shared_cache_tokens: 0,
  beyond_tokens: 0,
};
const CALL: Call = { role: "big", ...COUNTS, seconds: 1, inner: null, began: 0 };
const EVENTS = [
  {
    event: "started",
    at: 0,
    problem: { messages: [{ role: "user", content: "?" }], seed: 1 },
    method: "m",
    params: {},
    engines: { big: { name: "b" } },
  },
  { event: "wrote", at: 1, call: CALL, seed: 1, proposal: proposal(0, "It is \\boxed{4}.") },
] as unknown as AnyEvent[];
const ENDED = { event: "ended", at: 2, finish_reason: "stop", seconds: 2 } as AnyEvent;

function proposal(id: number, text: string) {
  return { id, parent: null, text, completion: { ids: [1, 2], end_id: null, logprobs: null }, dropped: 0, phase: "thinking" };
}

describe("a chain that was stopped", () => {
  const finished = Run.of([...EVENTS, ENDED], null, "4");
  const wrong = Run.of([...EVENTS, ENDED], null, "5");
  const stopped = Run.of(EVENTS, null, "4");

  it("is judged neither right nor wrong", () => {
    expect([finished.right, wrong.right, stopped.right]).toEqual([true, false, null]);
    expect(Run.of(EVENTS, null, "4", false).right).toBeNull();
  });

  it("does not count for those that found the answer", () => {
    expect(verdict([finished, finished])).toBe("The right answer is 4: 2 of 2 found it.");
    expect(verdict([finished, stopped])).toBe("The right answer is 4: 1 of 1 that finished found it.");
    expect(verdict([stopped, stopped])).toBe("");
  });

  it("has no known cost", () => {
    const prices = { big: { prompt: 1, cached: 1, produced: 1 } } as never;
    expect(costOf(finished, prices)).toBeCloseTo(7e-6);
    expect(costOf(stopped, prices)).toBeNull();
  });
});

describe("the ledger", () => {
  it("has no more pieces than were written, whatever is taken back", () => {
    const ledger = new Ledger();
    for (const event of [...EVENTS, { event: "rewound", at: 1, pieces: 3, entries: null } as AnyEvent]) ledger.apply(event);
    expect(ledger.usage().big!.kept_tokens).toBe(2);
  });

  it("counts the cue of an answer as a piece", () => {
    const ledger = new Ledger();
    const answered = { event: "answered", at: 2, call: CALL, cue: "So:", seed: 1, proposal: proposal(1, "4") } as unknown as AnyEvent;
    for (const event of [...EVENTS, answered, { event: "rewound", at: 2, pieces: 2, entries: null } as AnyEvent]) ledger.apply(event);
    expect(ledger.usage().big!.kept_tokens).toBe(2);
  });
});

describe("the bar", () => {
  const spans = [
    { status: "kept" as const, tokens: 10 },
    { status: "discarded" as const, tokens: 18 },
    { status: "kept" as const, tokens: 8 },
    { status: "discarded" as const, tokens: 4 },
  ];

  it("finds the text of a token in the bar, and in the stripe below it", () => {
    expect([0, 9.9, 10, 17.9].map((token) => spanAt(spans, token, true))).toEqual([0, 0, 2, 2]);
    expect([0, 17.9, 18].map((token) => spanAt(spans, token, false))).toEqual([1, 1, 3]);
    expect(spanAt(spans, 22, false)).toBeNull();
  });
});

/** A box of 100 that scrolls as a browser's does. */
class Scrolling {
  clientHeight = 100;
  scrollHeight = 100;
  private top = 0;
  get scrollTop() {
    return this.top;
  }
  set scrollTop(to: number) {
    this.top = Math.max(0, Math.min(to, this.scrollHeight - this.clientHeight));
  }
}

describe("the text of a chain", () => {
  it("stays at its end when it grows after our own scroll", () => {
    const box = new Scrolling();
    const follow = new Follow(box);
    box.scrollHeight = 300;
    follow.go();
    box.scrollHeight = 500;
    follow.scrolled();
    follow.go();
    expect(box.scrollTop).toBe(400);
  });

  it("stays where the reader scrolled to, until the reader is at the end again", () => {
    const box = new Scrolling();
    const follow = new Follow(box);
    box.scrollHeight = 500;
    follow.go();
    box.scrollTop = 120;
    follow.scrolled();
    box.scrollHeight = 700;
    follow.go();
    expect(box.scrollTop).toBe(120);
    box.scrollTop = 600;
    follow.scrolled();
    box.scrollHeight = 800;
    follow.go();
    expect(box.scrollTop).toBe(700);
  });
});

describe("a replay", () => {
  it("shows texts piece by piece, and has few moments where there are many texts", () => {
    const text = { ...proposal(0, "Four."), completion: { ids: [1, 2, 3, 4, 5], end_id: null, logprobs: null } };
    const events = (count: number) => Array.from({ length: count }, () => ({ ...EVENTS[1], proposal: text })) as unknown as AnyEvent[];
    expect(momentsOf(events(1))).toHaveLength(5 + 1);
    expect(momentsOf(events(60_000))).toHaveLength(2 * 60_000);
  });
});

describe("the end of what moves", () => {
  const moving = (replayed: boolean) => {
    const player = replayed ? ({} as Player) : null;
    const run = {
      moving: true,
      player,
      ended: false,
      cancel: () => {
        run.ended = true;
      },
    };
    return run;
  };

  it("is that of the replays where there are any, and else that of the runs", () => {
    const [run, replay] = [moving(false), moving(true)];
    stop([run, replay]);
    expect([run.ended, replay.ended]).toEqual([false, true]);
    stop([run, { ...replay, moving: false }]);
    expect(run.ended).toBe(true);
  });
});
