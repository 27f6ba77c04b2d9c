// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";
import type { Span } from "../src/trace/timeline";
import { pillOf } from "../src/view/pill";

describe("the pill of a judgement", () => {
  it("tells what its score is on hover and to a screen reader", () => {
    const scored = { score: 0.9, threshold: 0.7, role: "judge", measure: "reward" };
    const pill = pillOf({ judgement: scored, status: "kept" } as unknown as Span)!;
    expect(pill.textContent).toBe("✓ judge: score 0.9 ≥ 0.7");
    expect(pill.getAttribute("title")).toBe("kept: score 0.9: reward, from judge; threshold 0.7");
    expect([pill.getAttribute("aria-label"), pill.getAttribute("role")]).toEqual([pill.getAttribute("title"), "note"]);
    expect(pillOf({ judgement: scored, status: "discarded" } as unknown as Span)!.title).toMatch(/^discarded: score 0.9: reward/);
    expect(pillOf({ judgement: null, status: "kept" } as unknown as Span)).toBeNull();
  });
});
