// @vitest-environment happy-dom
import { render } from "preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AnyEvent } from "../src/data/types";
import { Run } from "../src/live/run";
import { RunView } from "../src/live/run-view";
import { Ledger } from "../src/trace/ledger";
import { ChainView } from "../src/view/chain-view";

const LIST = { prices: {}, currency: "", priced: "" };
const CALL = { role: "big", requests: 1, prompt_tokens: 1, cached_tokens: 0, produced_tokens: 1, scored_tokens: 0, seconds: 1, began: 0 };
const EVENTS = [
  { event: "started", at: 0, problem: { messages: [{ role: "user", content: "?" }], seed: 1 }, method: "m", params: {}, engines: {} },
  {
    event: "wrote",
    at: 1,
    call: CALL,
    seed: 1,
    proposal: { id: 0, parent: null, text: "So.", completion: { ids: [1] }, dropped: 0, phase: "thinking" },
  },
  { event: "ended", at: 1, finish_reason: "stop", seconds: 1 },
] as unknown as AnyEvent[];

async function shown(): Promise<HTMLElement> {
  const place = document.createElement("div");
  document.body.replaceChildren(place);
  const run = Run.of(EVENTS, null, null);
  render(<RunView run={run} runs={[run]} list={LIST} />, place);
  await vi.waitFor(() => expect(place.textContent).toMatch(/cannot be shown|So\./));
  return place;
}

describe("a view that cannot be drawn", () => {
  beforeEach(() => {
    vi.spyOn(console, "error").mockImplementation(() => {});
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it("stands there with the reason, where its counts cannot be told", async () => {
    vi.spyOn(Ledger.prototype, "usage").mockImplementation(() => {
      throw new Error("no such role");
    });
    const place = await shown();
    expect(place.textContent).toBe("✗ m cannot be shown: no such role");
    expect(place.querySelector("[role=alert]")).not.toBeNull();
  });

  it("stands there with the reason, where its text cannot be painted", async () => {
    vi.spyOn(ChainView.prototype, "follow").mockImplementation(() => {
      throw new Error("no such span");
    });
    const place = await shown();
    expect(place.textContent).toBe("✗ m cannot be shown: no such span");
  });

  it("does not hinder the next one on the page", async () => {
    const place = document.createElement("div");
    document.body.replaceChildren(place);
    const runs = [Run.of(EVENTS, null, null), Run.of(EVENTS, null, null)];
    vi.spyOn(runs[0]!.chain.ledger, "usage").mockImplementation(() => {
      throw new Error("no such role");
    });
    const views = runs.map((run, number) => <RunView key={number} run={run} runs={runs} list={LIST} />);
    render(<div>{views}</div>, place);
    await vi.waitFor(() => expect(place.textContent).toContain("So."));
    expect(place.textContent).toContain("✗ m cannot be shown: no such role");
  });
});

describe("a text that is chosen", () => {
  it("is lit, and where it has no letters, the text before it", () => {
    const view = new ChainView();
    const span = { author: "big", status: "kept", phase: "thinking", depth: 0, tokens: 1, verdict: "", mean_logprob: null } as const;
    view.show([
      { ...span, text: "One." },
      { ...span, author: "small", text: "" },
    ]);
    view.reveal([1]);
    expect([...view.element.querySelectorAll(".lit")].map((element) => element.querySelector(".words")?.textContent)).toEqual(["One."]);
  });

  it("keeps its light when it is chosen again", () => {
    vi.useFakeTimers();
    const view = new ChainView();
    view.show([{ author: "big", text: "One.", status: "kept", phase: "thinking", depth: 0, tokens: 1, verdict: "", mean_logprob: null }]);
    view.reveal([0]);
    vi.advanceTimersByTime(1200);
    view.reveal([0]);
    vi.advanceTimersByTime(1200);
    expect(view.element.querySelectorAll(".lit")).toHaveLength(1);
    vi.advanceTimersByTime(500);
    expect(view.element.querySelectorAll(".lit")).toHaveLength(0);
    vi.useRealTimers();
  });

  it("is told when the pointer moves, and not when it is scrolled below it", () => {
    const view = new ChainView();
    const heard: string[] = [];
    view.told = (facts) => heard.push(facts);
    view.show([{ author: "big", text: "One.", status: "kept", phase: "thinking", depth: 0, tokens: 1, verdict: "", mean_logprob: null }]);
    const run = view.element.querySelector(".run")!;
    const over = () => run.dispatchEvent(new MouseEvent("pointerover", { bubbles: true, clientX: 5, clientY: 5 }));
    over();
    over();
    expect(heard).toHaveLength(1);
  });
});
