import { describe, expect, it } from "vitest";
import type { MethodList } from "../src/data/types";
import { refusals } from "../src/live/refusals";
import { asksOf, contenderOf, fromAddress, labelOf, type Settings, toAddress, usual } from "../src/live/settings";
import { commandLine, quote } from "../src/live/snippets";

const SETTINGS: Settings = {
  problem: "What is 2 + 2? \u{1f600} #&%",
  contenders: [{ name: "vote", typed: { ballots: "3" }, wrappers: [{ name: "early_exit", typed: {} }] }],
  seed: "1",
  temperature: "",
  tokens: "",
  seconds: "",
};

describe("settings", () => {
  it("come back from an address", () => {
    expect(fromAddress(toAddress(SETTINGS))).toEqual(SETTINGS);
  });

  it("of a foreign or broken address are null", () => {
    for (const hash of ["", "#x", "#ask=", "#ask=%", "#ask=1", "#ask=%7B%7D", `#ask=${JSON.stringify({ ...SETTINGS, contenders: [] })}`]) {
      expect(fromAddress(hash)).toBeNull();
    }
  });

  it("begin with the default of the service, or with a method that shows drafts in place of the library's own", () => {
    const examples = [{ problem: "First?" }, { problem: "Second?" }, { problem: "Third?" }];
    const methods = [{ name: "random_switch" }, { name: "likelihood_verify" }];
    const list = { presets: [], default: "random_switch", methods, examples } as unknown as MethodList;
    expect(usual(list)).toMatchObject({ problem: "Third?", contenders: [{ name: "likelihood_verify", typed: {}, wrappers: [] }] });
    expect(usual({ ...list, default: "big_only" }).contenders[0]!.name).toBe("big_only");
    const unserved = [methods[0], { name: "likelihood_verify", missing: "big cannot score" }] as MethodList["methods"];
    expect(usual({ ...list, methods: unserved }).contenders[0]!.name).toBe("random_switch");
    const presets = [{ name: "fast", method: "big_only", params: {}, wrappers: [] }];
    expect(usual({ ...list, presets, default: "fast" } as unknown as MethodList).contenders[0]!.name).toBe("big_only");
  });

  it("are filled from a preset", () => {
    const preset = { method: "random_switch", params: { big_share: 0.2 }, wrappers: ["vote(ballots=3)"] };
    expect(contenderOf(preset)).toEqual({
      name: "random_switch",
      typed: { big_share: "0.2" },
      wrappers: [{ name: "vote", typed: { ballots: "3" } }],
    });
  });

  it("have a label as on the command line", () => {
    expect(labelOf({ method: "random_switch", params: { big_share: 0.2 }, with: ["early_exit", "vote(ballots=3)"] })).toBe(
      "vote(ballots=3)*early_exit*random_switch(big_share=0.2)",
    );
  });
});

describe("a command line", () => {
  it("quotes what a shell would read", () => {
    expect(quote("it's $HOME")).toBe("'it'\\''s $HOME'");
    expect(quote("big_only")).toBe("big_only");
  });

  it("has all settings", () => {
    const ask = {
      method: "random_switch",
      params: { big_share: 0.2, fast: false },
      with: ["vote(ballots=3)"],
      messages: [{ role: "user" as const, content: "Hm?" }],
      seed: 3,
    };
    expect(commandLine(ask, {})).toBe(
      "speculative ask 'Hm?' --method random_switch --big-share 0.2 --no-fast --with 'vote(ballots=3)' --seed 3",
    );
  });

  it("names the engines of another pair", () => {
    const ask = { method: "big_only", messages: [{ role: "user" as const, content: "Hm?" }] };
    const pair = { big: "bundled:small", small: "$SPECULATIVE_SMALL" };
    expect(commandLine(ask, pair)).toBe("speculative ask 'Hm?' --method big_only --big bundled:small --small \"$SPECULATIVE_SMALL\"");
  });
});

const PLANS = { properties: { plans: { type: "string", default: "" }, ballots: { type: "integer", minimum: 1, default: 5 } } };
const LIST = {
  methods: [{ name: "big_only", schema: { properties: { answer_by: { type: "string" } } } }],
  wrappers: [{ name: "vote", schema: PLANS }],
  limits: {},
} as unknown as MethodList;

function around(typed: Record<string, string>): Settings {
  return { ...SETTINGS, contenders: [{ name: "big_only", typed: {}, wrappers: [{ name: "vote", typed }] }] };
}

describe("an unknown parameter", () => {
  it("is told and not left out in silence", () => {
    const settings = { ...SETTINGS, contenders: [{ name: "big_only", typed: { speed: "9", answer_by: "big" }, wrappers: [] }] };
    expect([...asksOf(settings, LIST).mistakes]).toEqual([["0.method", "big_only has no parameter speed; choose the method again"]]);
  });

  it("of a wrapper is told, too", () => {
    expect([...asksOf(around({ plans: "x", zork: "1" }), LIST).mistakes]).toEqual([["0.with.0", "vote has no parameter zork; remove it"]]);
  });
});

describe("a wrapper", () => {
  it("is spelled with quotes where a value needs them, and read so", () => {
    const [ask] = asksOf(around({ plans: 'a,b=3 "(' }), LIST).asks;
    expect(ask!.with).toEqual(['vote(plans="a,b=3 \\"(")']);
    expect(contenderOf({ method: "big_only", params: {}, wrappers: [...ask!.with!, "vote(ballots=3, plans=x)"] }).wrappers).toEqual([
      { name: "vote", typed: { plans: 'a,b=3 "(' } },
      { name: "vote", typed: { ballots: "3", plans: "x" } },
    ]);
  });

  it("has the service's errors at its own field", () => {
    const error = "vote.ballots: a request may have at most 64 chains at once (--max-chains), got 1000; ask for fewer";
    const whole = "wrapper 'vote(inner=1)': `inner` cannot be set";
    expect([...refusals([{ error, param: "with[0].ballots" }])]).toEqual([["0.with.0.ballots", error]]);
    expect([
      ...refusals([
        { error: "", param: null },
        { error: whole, param: "with[1]" },
      ]),
    ]).toEqual([["1.with.1", whole]]);
    expect([...refusals([{ error, param: "params.samples" }])]).toEqual([["0.params.samples", error]]);
    expect(refusals([{ error, param: "n" }]).size).toBe(0);
  });
});
