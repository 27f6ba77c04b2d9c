import { describe, expect, it } from "vitest";
import type { AnyEvent, Call } from "../src/data/types";
import { boxed, sameAnswer } from "../src/trace/answer";
import { Chain } from "../src/trace/chain";
import { readTrace, writeTrace } from "../src/trace/file";
import { decide, direction, type Slider, type Step, sliderOf } from "../src/trace/steps";
import { overlap, union } from "../src/view/lanes";

function call(role: string, produced: number, began = 0, seconds = 1): Call {
  return {
    role,
    requests: 1,
    prompt_tokens: 5,
    cached_tokens: 0,
    produced_tokens: produced,
    scored_tokens: 0,
    seconds,
    shared_cache_tokens: 0,
    beyond_tokens: 0,
    inner: null,
    began,
  };
}

function proposal(id: number, text: string, tokens: number, parent: number | null = null) {
  const completion = {
    ids: Array.from({ length: tokens }, (_, at) => at),
    finish: "length" as const,
    end_id: null,
    logprobs: null,
    top_logprobs: null,
    choice_logprobs: null,
    authors: [],
  };
  return { id, parent, text, completion, dropped: 0, phase: "thinking" as const };
}

const card = (name: string) => ({ name, dialect: "plain", fingerprint: name, context: 100 });
const STARTED = {
  event: "started",
  at: 0,
  problem: { messages: [{ role: "user", content: "?" }], seed: 1 },
  method: "m",
  params: {},
  engines: { big: card("b"), small: card("s") },
  library: "x",
} as unknown as AnyEvent;

const EVENTS: AnyEvent[] = [
  STARTED,
  { event: "wrote", at: 1, call: call("big", 2), seed: 1, proposal: proposal(0, "One.", 2) },
  { event: "drafted", at: 2, call: call("small", 3, 1), seed: 1, proposals: [proposal(1, "Two.", 3)] },
  { event: "rejected", at: 2, drafts: [1], reason: "low", judgement: { score: 1, threshold: 5, role: "big", measure: null } },
  { event: "drafted", at: 3, call: call("small", 4, 2), seed: 1, proposals: [proposal(2, "Three.", 4)] },
  { event: "accepted", at: 3, drafts: [2], judgement: { score: 7, threshold: 5, role: "big", measure: null }, cut: null },
];

describe("a chain", () => {
  const chain = Chain.of(structuredClone(EVENTS));

  it("has a span for each text, with its fate", () => {
    expect(chain.timeline.spans.map(({ author, text, status, verdict }) => [author, text, status, verdict])).toEqual([
      ["big", "One.", "kept", ""],
      ["small", "Two.", "discarded", "low"],
      ["small", "Three.", "kept", "accepted"],
    ]);
  });

  it("counts produced = kept + discarded", () => {
    const { big, small } = chain.ledger.usage();
    expect([big!.produced_tokens, big!.kept_tokens, big!.discarded_tokens]).toEqual([2, 2, 0]);
    expect([small!.produced_tokens, small!.kept_tokens, small!.discarded_tokens]).toEqual([7, 4, 3]);
  });

  it("shows unfinished text until its event comes", () => {
    const live = new Chain();
    live.apply(STARTED);
    for (const text of ["O", "ne."]) live.write({ role: "big", text, draft: 0, phase: "thinking", committed: true });
    expect([...live.timeline.writing.values()].map(({ text }) => text)).toEqual(["One."]);
    live.apply(structuredClone(EVENTS[1]!));
    expect(live.timeline.writing.size).toBe(0);
    live.write({ role: "big", text: "late", draft: 0, phase: "thinking", committed: true });
    expect(live.timeline.writing.size).toBe(0);
  });

  it("takes the text of a child over", () => {
    const child: AnyEvent = { event: "child", at: 0, index: 0, seed: 2, instruction: "", events: structuredClone(EVENTS) };
    const parent = Chain.of([
      STARTED,
      child,
      { event: "became", at: 4, index: 0 },
      { event: "ended", at: 4, finish_reason: "stop", seconds: 4 },
    ]);
    expect(parent.text("thinking")).toBe("One.Three.");
    expect(parent.ledger.usage().small!.discarded_tokens).toBe(3);
    expect(parent.works).toHaveLength(3);
    expect(readTrace(writeTrace(parent.events))[1]).toEqual(child);
  });
});

describe("judged steps", () => {
  const steps = Chain.of(structuredClone(EVENTS)).steps.found;

  it("are those with a score and a threshold", () => {
    expect(steps.map(({ score, kept }) => [score, kept])).toEqual([
      [1, false],
      [7, true],
    ]);
  });

  it("are decided again at another threshold", () => {
    expect(direction(steps)).toBe("up");
    expect(decide(steps, 5, "up")).toEqual([false, true]);
    expect(decide(steps, 8, "up")).toEqual([false, false]);
    expect(decide(steps, 0, "up")).toEqual([true, true]);
    const down: Step[] = steps.map((step) => ({ ...step, kept: !step.kept }));
    expect(direction(down)).toBe("down");
    expect(direction([...steps, ...down])).toBeNull();
  });

  it("pass at their threshold in spite of rounding, as in the methods", () => {
    const rounded: Step[] = steps.map((step) => ({ ...step, score: step.threshold - 1e-12, kept: true }));
    expect(direction([...steps, ...rounded])).toBe("up");
    expect(decide(rounded, rounded[0]!.score + 2e-12, "up")).toEqual([true, true]);
  });
});

describe("the slider", () => {
  const steps = Chain.of(structuredClone(EVENTS)).steps.found;

  it("goes over the bounds of the parameter, in whole steps for whole scores", () => {
    const ends = ({ before, after, at }: Slider) => [at(-before), at(0), at(after), after + before];
    expect(ends(sliderOf(steps, { least: 0, most: 9 }))).toEqual([0, 5, 9, 9]);
    expect(ends(sliderOf(steps))).toEqual([-2, 5, 10, 12]);
    const parts = steps.map((step) => ({ ...step, score: step.score / 10 }));
    expect(ends(sliderOf(parts, { least: 0, most: 9 }))).toEqual([0, 5, 9, 201]);
  });

  it("has the threshold of the chain as one of its places", () => {
    const { before, after, at } = sliderOf([
      { ...steps[0]!, score: -1.57, threshold: -0.1 },
      { ...steps[0]!, score: 0, threshold: -0.1 },
    ]);
    const places = Array.from({ length: before + after + 1 }, (_, place) => at(place - before));
    expect(places).toContain(-0.1);
    expect(places.toSorted((one, other) => one - other)).toEqual(places);
  });

  it("is missing where scores are compared with no threshold", () => {
    const alone = Chain.of(
      structuredClone(EVENTS).map((one) => ("judgement" in one ? { ...one, judgement: { score: 1 } } : one)) as AnyEvent[],
    );
    expect([alone.steps.found.length, alone.steps.alone]).toEqual([0, 2]);
  });
});

describe("a judge's reply", () => {
  it("stands behind the step that it judged", () => {
    const asked = (after: number | null) =>
      ({
        event: "asked",
        at: 2,
        call: call("big", 1),
        seed: 1,
        question: "judge",
        after,
        replies: [" 1,\n9"],
        completions: [],
        choices: [],
      }) as AnyEvent;
    const [started, wrote, drafted, rejected, another, accepted] = structuredClone(EVENTS) as [AnyEvent, ...AnyEvent[]];
    const events = [started, wrote, drafted, asked(1), rejected, another, asked(2), accepted, asked(null)] as AnyEvent[];
    const reply = "big was asked (judge) and replied: 1, 9";
    expect(Chain.of(events).timeline.spans.map(({ text }) => text)).toEqual(["One.", "Two.", reply, "Three.", reply, reply]);
  });
});

describe("a trace file", () => {
  it("is read as it was written", () => {
    expect(readTrace(writeTrace(EVENTS))).toEqual(EVENTS);
  });

  it("has old names in version 1", () => {
    const warmed = { event: "warmed", at: 1, call: call("small", 1), seed: 1, completion: proposal(0, "", 1).completion };
    const old = [{ speculative_trace: 1 }, STARTED, warmed].map((line) => JSON.stringify(line)).join("\n");
    expect(readTrace(old)[1]!.event).toBe("prefilled");
  });

  it("may hold the choice of a method, which is shown", () => {
    const chose: AnyEvent = { event: "chose", at: 0, way: "big_only", reason: "big_only is chosen: cheap" };
    const events = [EVENTS[0]!, chose, ...EVENTS.slice(1)];
    expect(Chain.of(readTrace(writeTrace(events))).timeline.spans[0]!.text).toBe("big_only is chosen: cheap");
  });

  it("is read up to a last line that is cut off", () => {
    expect(readTrace(`${writeTrace(EVENTS)}{"event":"wro`)).toEqual(EVENTS);
  });

  it("is refused where an event has another form", () => {
    const damaged = (change: (events: AnyEvent[]) => unknown) => {
      const events = structuredClone(EVENTS);
      change(events);
      return () => readTrace(writeTrace(events));
    };
    expect(
      damaged((events) => events.push({ event: "ended", at: 4, finish_reason: "stop", seconds: "soon" as unknown as number })),
    ).toThrow("event 7 of the trace (line 8) is damaged: seconds is missing or has another type");
    expect(damaged((events) => Object.assign(events[1]!, { proposal: { ...proposal(0, "", 1), text: 3 } }))).toThrow(
      "proposal.text is missing",
    );
    expect(damaged((events) => events.splice(2, 1))).toThrow("refers to draft 1, which is missing");
    expect(damaged((events) => events.push(...structuredClone(EVENTS)))).toThrow("begins a second time");
    expect(damaged((events) => Object.assign(events[1]!, { event: "hmm" }))).toThrow("hmm is not a kind of event");
  });

  it("is refused where it takes back to more pieces than there are", () => {
    const rewound = (pieces: number) => {
      const events = structuredClone(EVENTS);
      events.splice(2, 0, { event: "rewound", at: 1, pieces, entries: null });
      return () => readTrace(writeTrace(events));
    };
    expect(rewound(1)).not.toThrow();
    expect(rewound(0)).not.toThrow();
    expect(rewound(2)).toThrow("event 3 of the trace (line 4) is damaged: pieces must be from 0 to 1, got 2");
    expect(rewound(0.5)).toThrow("(line 4) is damaged: pieces is missing or has another type");
  });

  it("may take back the text of a child that the chain became", () => {
    const child: AnyEvent = { event: "child", at: 3, index: 0, seed: 1, instruction: "", events: structuredClone(EVENTS) };
    const became: AnyEvent[] = [STARTED, child, { event: "became", at: 3, index: 0 }];
    const rewound = (pieces: number): AnyEvent => ({ event: "rewound", at: 3, pieces, entries: null });
    expect(() => readTrace(writeTrace([...became, rewound(2)]))).not.toThrow();
    expect(() => readTrace(writeTrace([...became, rewound(3)]))).toThrow("pieces must be from 0 to 2, got 3");
  });

  it("is refused where a time or a number of dropped tokens cannot be", () => {
    const ended = (seconds: number) => writeTrace([...EVENTS, { event: "ended", at: 4, finish_reason: "stop", seconds }]);
    for (const wrong of [1e300, -1]) expect(() => readTrace(ended(wrong))).toThrow("(line 8) is damaged: seconds must be");
    const events = structuredClone(EVENTS);
    Object.assign(events[1]!, { proposal: { ...proposal(0, "One.", 2), dropped: 1e9 } });
    expect(() => readTrace(writeTrace(events))).toThrow("(line 3) is damaged: dropped must be from 0 to 2");
  });

  it("may leave out the times of its events", () => {
    const events = EVENTS.map(({ at: _, ...event }) => event) as AnyEvent[];
    const chain = Chain.of(readTrace(writeTrace(events)));
    expect([chain.seconds, chain.works.length]).toEqual([0, 3]);
    expect(chain.works.every(({ began }) => Number.isFinite(began))).toBe(true);
  });

  it("names the line as an editor counts it", () => {
    const [header, ...lines] = writeTrace(EVENTS).trim().split("\n");
    expect(() => readTrace([header, "", ...lines.slice(0, 2), "{", ...lines.slice(2)].join("\n"))).toThrow("line 5 of the trace");
  });

  it("is refused in words where the text is not a trace", () => {
    expect(() => readTrace("hello")).toThrow("not a trace");
    expect(() => readTrace('{"speculative_trace":99}\n')).toThrow("version 99");
    expect(() => readTrace('{"speculative_trace":3}\n{"event":"wro')).toThrow("line 2 of the trace is damaged");
    expect(() => readTrace('{"speculative_trace":3}\n{"event":"wrote"}')).toThrow("does not begin");
  });
});

describe("an answer", () => {
  it("is the content of the last box", () => {
    expect(boxed("\\boxed{1} and \\boxed{\\frac{1}{2}}.")).toBe("\\frac{1}{2}");
    expect(boxed("\\boxed{1")).toBeNull();
    expect(boxed("no box")).toBeNull();
  });

  it("is the same with other separators", () => {
    expect(sameAnswer("1,234", " 1234. ")).toBe(true);
    expect(sameAnswer("1", null)).toBe(false);
  });
});

describe("the time line", () => {
  it("counts the seconds of calls at once", () => {
    const work = (role: string, began: number, ended: number) => ({ role, verb: "", began, ended, tokens: 1 });
    const works = [work("big", 0, 2), work("small", 1, 3), work("small", 5, 6)];
    expect(union(works)).toBe(4);
    expect(overlap(works)).toBe(1);
  });

  it("takes the rounding of sums for no time at all", () => {
    const work = (role: string, began: number, ended: number) => ({ role, verb: "", began, ended, tokens: 1 });
    const works = [work("big", 0, 0.1), work("small", 0.1, 0.3), work("big", 0.3, 0.7), work("small", 0.7, 1.1)];
    expect(overlap(works)).toBe(0);
  });
});
