import { describe, expect, it } from "vitest";
import type { AnyEvent, Call, MethodList } from "../src/data/types";
import { boundsOf, fieldsOf } from "../src/live/schema";
import { asksOf, type Settings } from "../src/live/settings";
import { Chain } from "../src/trace/chain";
import { bandsOf } from "../src/view/author";
import { agreementOf, factsOf, toldOf } from "../src/view/facts";
import { nearest } from "../src/view/lanes";

function call(role: string, began: number, seconds: number, produced = 0, scored = 0): Call {
  const counts = { requests: 1, prompt_tokens: 5, cached_tokens: 0, produced_tokens: produced, scored_tokens: scored };
  return { role, ...counts, seconds, shared_cache_tokens: 0, inner: null, began };
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
    expect(first).toBe("small drafted, low · 2 tokens · mean log-probability -3.5 nats · entropy not known · 1 s · big: score -3.5 < -1");
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

  it("says nothing where the vocabularies differ, or nothing was told", () => {
    expect(read([[[1, -0.1]], [[2, -0.1]]], { ...engines, small: { name: "s", fingerprint: "g" } })).toEqual([""]);
    expect(read([])).toEqual([""]);
  });
});
