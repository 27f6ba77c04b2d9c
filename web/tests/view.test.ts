import { describe, expect, it } from "vitest";
import type { AnyEvent, Call, MethodList } from "../src/data/types";
import { boundsOf, fieldsOf } from "../src/live/schema";
import { asksOf, type Settings } from "../src/live/settings";
import { callsUnderWay, underWay } from "../src/live/under-way";
import { Chain } from "../src/trace/chain";
import type { Span } from "../src/trace/timeline";
import { bandsOf } from "../src/view/author";
import { agreementOf, factsOf, judgementOf, meaningOf, readingOf, toldOf } from "../src/view/facts";
import { nearest } from "../src/view/lanes";

function call(role: string, began: number, seconds: number, produced = 0, scored = 0): Call {
  const counts = { requests: 1, prompt_tokens: 5, cached_tokens: 0, produced_tokens: produced, scored_tokens: scored };
  return { role, ...counts, seconds, shared_cache_tokens: 0, beyond_tokens: 0, inner: null, began };
}

function proposal(id: number, text: string, more: object = {}) {
  return { id, parent: null, text, completion: { ids: [1, 2], end_id: null, ...more }, dropped: 0, phase: "thinking" };
}

const EVENTS = [
  { event: "started", at: 0, problem: { messages: [{ role: "user", content: "?" }] }, method: "m", params: {}, engines: {} },
  { event: "drafted", at: 1, call: call("small", 0, 1, 2), seed: 1, proposals: [proposal(0, "One.", { logprobs: [-1, -2] })] },
  { event: "scored", at: 1.5, call: call("big", 1, 0.5, 0, 2), drafts: [0], logprobs: [[-3, -4]] },
  { event: "rejected", at: 1.5, drafts: [0], reason: "low", judgement: { score: -3.5, threshold: -1, role: "big" } },
  {
    event: "wrote",
    at: 2,
    call: call("big", 1.5, 0.5, 2),
    seed: 1,
    proposal: proposal(1, "Two.", { mean_logprob: -0.25, mean_entropy: 0.5 }),
  },
] as unknown as AnyEvent[];

describe("a call", () => {
  const chain = Chain.of(EVENTS);

  it("tells its role, purpose, seconds and tokens", () => {
    expect(chain.works.map(toldOf)).toEqual([
      "small drafted · 1 s, from 0 s on · 2 tokens",
      "big scored a draft · 0.5 s, from 1 s on · 2 tokens scored",
      "big wrote · 0.5 s, from 1.5 s on · 2 tokens",
    ]);
  });

  it("leads to the text that it wrote or judged", () => {
    expect(chain.works.map(({ texts }) => chain.timeline.placesOf(texts))).toEqual([[0], [0], [1]]);
  });

  it("is found under the pointer, or beside it", () => {
    expect(nearest(chain.works, 1.2, 0.1)).toBe(chain.works[1]);
    expect(nearest(chain.works, 2.05, 0.1)).toBe(chain.works[2]);
    expect(nearest(chain.works, 2.2, 0.1)).toBeNull();
  });
});

describe("the facts of a text", () => {
  const [first, second] = Chain.of(EVENTS).timeline.spans.map(factsOf);

  it("have the means that a watched chain has", () => {
    expect(second).toBe("big wrote · 2 tokens · mean log-probability -0.25 nats · mean entropy 0.50 nats · 0.5 s");
  });

  it("say what is not known", () => {
    expect(first).toBe(
      "small drafted, low · 2 tokens · mean log-probability -1.5 nats · entropy not known · 1 s · mean log-probability for big -3.5 nats · big: score -3.5 < -1",
    );
  });
});

describe("a draft that was accepted in part", () => {
  const draft = proposal(0, "One two.", { ids: [1, 2, 3], logprobs: [0, -0.5, -1] });
  const accepted = (cut: [number, number], tops: [number, number][][] = []) =>
    Chain.of([
      { ...EVENTS[0], engines: { big: { fingerprint: "f" }, small: { fingerprint: "f" } } },
      { event: "drafted", at: 1, call: call("small", 0, 1, 3), seed: 1, proposals: [draft] },
      { event: "scored", at: 1.5, call: call("big", 1, 0.5), drafts: [0], logprobs: [[-1, -8, -4]], tops: [tops] },
      { event: "accepted", at: 1.5, drafts: [0], judgement: null, cut },
    ] as unknown as AnyEvent[]);

  it("stands there in two parts, each with its own numbers", () => {
    const chain = accepted([1, 3], [[[1, -1]], [[9, -1]], [[3, -1]]]);
    expect(chain.timeline.spans.map(({ text, status, tokens }) => [text, status, tokens])).toEqual([
      ["One", "kept", 1],
      [" two.", "discarded", 2],
    ]);
    expect(chain.timeline.spans.map(factsOf)).toEqual([
      "small drafted, accepted · 1 token · mean log-probability 0 nats · entropy not known · 1 s · mean log-probability for big -1 nats · big would have written the same",
      "small drafted, the rest of an accepted draft · 2 tokens · mean log-probability -0.75 nats · entropy not known · 1 s · mean log-probability for big -6 nats · big would go on differently after 0 tokens",
    ]);
    expect(chain.ledger.usage().small!.discarded_tokens).toBe(2);
  });

  it("is rejected where nothing of it entered", () => {
    const [empty, rest] = accepted([0, 0]).timeline.spans;
    expect([empty!.text, rest!.text, rest!.tokens, rest!.verdict]).toEqual(["", "One two.", 3, "rejected"]);
  });
});

describe("chains of a vote", () => {
  const child = (index: number, events: object[] = []) => ({ event: "child", at: 0, index, seed: 1, instruction: "", events });
  const wrote = (id: number, text: string, began: number, logprob: number) => ({
    event: "wrote",
    at: began + 1,
    call: call("big", began, 1, 2),
    seed: 1,
    proposal: proposal(id, text, { mean_logprob: logprob, mean_entropy: 0.5 }),
  });

  it("have the sums of their calls, which all lead to the text", () => {
    const chain = Chain.of([
      EVENTS[0],
      child(0, [wrote(0, "One.", 0, -1), wrote(1, "Two.", 1, -2)]),
      { event: "ended", at: 2, finish_reason: "stop", seconds: 2 },
    ] as unknown as AnyEvent[]);
    expect(factsOf(chain.timeline.spans[1]!)).toBe(
      "big wrote, chain 1 · 4 tokens · mean log-probability -1.5 nats · mean entropy 0.50 nats · 2 s",
    );
    expect(chain.works.map(({ texts }) => chain.timeline.placesOf(texts))).toEqual([[1], [1]]);
  });

  it("keep the text that was being written when they are cut off", () => {
    const chain = Chain.of([EVENTS[0], child(0), child(1)] as unknown as AnyEvent[]);
    for (const path of [[0], [1]])
      for (const text of ["Some", " text"]) chain.at(path).write({ role: "big", text, draft: 0, phase: "thinking", committed: false }, 0.5);
    expect(underWay(chain.timeline)).toEqual(new Map([["big", { kept: 0, discarded: 6 }]]));
    const [one, other] = callsUnderWay(chain.timeline, 2);
    expect([one!.began, one!.ended, other!.role]).toEqual([0.5, 2, "big"]);
    expect(callsUnderWay(chain.timeline, 3)[0]).toBe(one);
    chain.timeline.interrupt();
    const texts = chain.timeline.spans.map(({ text, status }) => [text, status]);
    expect(texts).toContainEqual(["Some text", "discarded"]);
    expect(texts.filter(([text]) => text === "Some text")).toHaveLength(2);
  });

  it("do not take the draft that was being written with them", () => {
    const chain = Chain.of([EVENTS[0]] as unknown as AnyEvent[]);
    chain.write({ role: "small", text: "Half", draft: 0, phase: "thinking", committed: false });
    chain.timeline.interrupt();
    expect(chain.timeline.spans.map(({ text, status }) => [text, status])).toContainEqual(["Half", "discarded"]);
  });
});

describe("a judgement", () => {
  it("has no more digits than its comparison needs", () => {
    const judged = (score: number, threshold: number | null) => judgementOf({ judgement: { score, threshold, role: null } } as Span);
    expect(judged(-1.8e-6, -0.1)).toBe("score 0 ≥ -0.1");
    expect(judged(-1.57, -0.1)).toBe("score -1.57 < -0.1");
    expect(judged(1e-6, 2e-6)).toBe("score 1×10⁻⁶ < 2×10⁻⁶");
  });

  it("says what its score is", () => {
    const of = (judgement: object, status = "kept") => ({ judgement, status }) as unknown as Span;
    const scored = { score: -0.25, threshold: -1, role: "big", measure: "mean log-probability of a token (nats)" };
    expect(meaningOf(of(scored))).toBe("score -0.25: mean log-probability of a token (nats), from big; threshold -1");
    expect(meaningOf(of({ score: 1.2, threshold: null, role: null, measure: "perplexity of the chunk" }))).toBe(
      "score 1.2: perplexity of the chunk",
    );
    expect(meaningOf(of({ score: 3, threshold: 7, role: "big" }))).toBe("score 3, from big; threshold 7");
    expect(meaningOf({ judgement: null } as Span)).toBe("");
  });

  it("tells its measure among the facts of a text", () => {
    const judgement = { score: -3.5, threshold: -1, role: "big", measure: "mean log-probability of a token (nats)" };
    expect(readingOf({ judgement, reading: null } as unknown as Span)).toEqual([
      "big: score -3.5 < -1 (mean log-probability of a token (nats))",
    ]);
  });
});

describe("the form", () => {
  const schema = {
    properties: { ballots: { type: "integer", minimum: 1 }, share: { type: "number" }, few: { type: "integer", maximum: 9 } },
  };
  const list = {
    methods: [{ name: "m", schema, mark: null }],
    wrappers: [],
    limits: { max_tokens: 9, max_seconds: 9, max_param: 64, max_prompt: 10 },
  } as unknown as MethodList;
  const settings: Settings = { problem: "2 + 2?", contenders: [], seed: "", temperature: "", tokens: "", seconds: "" };
  const mistakes = (more: Partial<Settings>) => [...asksOf({ ...settings, ...more }, list).mistakes];

  it("tells the largest number that the service takes", () => {
    expect(fieldsOf(schema, 64).map(boundsOf)).toEqual(["at least 1, at most 64", "", "at most 9"]);
    const contenders = [{ name: "m", typed: { ballots: "65" }, wrappers: [] }];
    expect(mistakes({ contenders })).toEqual([["0.params.ballots", "must be at most 64, got 65"]]);
  });

  it("refuses a problem that is too long at its field", () => {
    expect(mistakes({ problem: "\u00e4".repeat(6) })).toEqual([
      ["problem", "must have at most 10 bytes (--max-prompt), got 12; shorten it"],
    ]);
  });

  it("names a wrapper that the service does not have", () => {
    const contenders = [{ name: "m", typed: {}, wrappers: [{ name: "nope", typed: {} }] }];
    expect(mistakes({ contenders })).toEqual([["0.with.0", "the service has no wrapper nope; remove it"]]);
  });
});

describe("blocks of a drawing", () => {
  it("tell their author without colour", () => {
    const bands = ["big", "small", "judge", "method"].map((author) => bandsOf(author, 0, 6));
    expect(bands.map((all) => all.length)).toEqual([1, 2, 3, 4]);
    for (const all of bands) expect(all.at(-1)![0] + all.at(-1)![1]).toBeCloseTo(6);
  });
});

describe("a draft whose likely tokens its reader told", () => {
  const engines = { big: { name: "b", fingerprint: "f" }, small: { name: "s", fingerprint: "f" } };
  const read = (tops: [number, number][][], own: object = engines) =>
    Chain.of([
      { ...EVENTS[0], engines: own },
      EVENTS[1],
      { event: "scored", at: 1.5, call: call("big", 1, 0.5), drafts: [0], logprobs: [[-3, -4]], tops: [tops] },
      { event: "rejected", at: 1.5, drafts: [0], reason: "low" },
    ] as unknown as AnyEvent[]).timeline.spans.map(agreementOf);

  it("says where its reader would have gone another way", () => {
    const [one, two, other] = [[[1, -0.1]], [[2, -0.1]], [[9, -0.1]]] as [number, number][][];
    expect(read([one!, two!])).toEqual(["big would have written the same"]);
    expect(read([one!, other!])).toEqual(["big would go on differently after 1 token"]);
    expect(read([other!, two!])).toEqual(["big would go on differently after 0 tokens"]);
  });

  it("agrees with all of a draft that ends the text", () => {
    const ending = proposal(0, "One.", { end_id: 7 });
    const chain = Chain.of([
      { ...EVENTS[0], engines },
      { event: "drafted", at: 1, call: call("small", 0, 1, 3), seed: 1, proposals: [ending] },
      { event: "scored", at: 1.5, call: call("big", 1, 0.5), drafts: [0], logprobs: [[-3, -4]], tops: [[[[1, -0.1]], [[2, -0.1]]]] },
      { event: "accepted", at: 1.5, drafts: [0], judgement: null, cut: null },
    ] as unknown as AnyEvent[]);
    expect(chain.timeline.spans.map((span) => [span.tokens, agreementOf(span)])).toEqual([[3, "big would have written the same"]]);
  });

  it("says nothing where the vocabularies differ, or nothing was told", () => {
    expect(read([[[1, -0.1]], [[2, -0.1]]], { ...engines, small: { name: "s", fingerprint: "g" } })).toEqual([""]);
    expect(read([])).toEqual([""]);
  });
});
