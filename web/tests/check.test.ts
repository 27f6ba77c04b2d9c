import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readTrace } from "../src/trace/file";

interface Case {
  name: string;
  says: string;
  insert?: number;
  event?: unknown;
  change?: (string | number)[];
  to?: unknown;
}

const DAMAGED = JSON.parse(readFileSync(new URL("../../tests/trace/damaged.json", import.meta.url), "utf-8")) as {
  events: unknown[];
  cases: Case[];
  misshapen: Case[];
};

function file(events: unknown[]): string {
  return [{ speculative_trace: 3 }, ...events].map((line) => JSON.stringify(line)).join("\n");
}

function damaged(one: Case): unknown[] {
  const events = structuredClone(DAMAGED.events);
  if (one.insert !== undefined) return events.toSpliced(one.insert, 0, one.event);
  const way = one.change!;
  const last = way.at(-1)!;
  const place = way.slice(0, -1).reduce<unknown>((found, step) => (found as Record<string | number, unknown>)[step], events);
  (place as Record<string | number, unknown>)[last] = one.to;
  return events;
}

describe("a trace", () => {
  it("that is whole is read", () => {
    expect(readTrace(file(DAMAGED.events))).toHaveLength(DAMAGED.events.length);
  });

  it.each(DAMAGED.cases.map((one) => [one.name, one] as const))("with %s is refused as the library refuses it", (_, one) => {
    const [event, reason] = one.says.replace("event ", "").split("|") as [string, string];
    expect(() => readTrace(file(damaged(one)))).toThrow(
      new Error(`event ${event} of the trace (line ${Number(event) + 1}) is damaged: ${reason}`),
    );
  });

  it.each(DAMAGED.misshapen.map((one) => [one.name, one] as const))("with %s is refused by the name of the field", (_, one) => {
    const [event, field] = one.says.replace("event ", "").split("|") as [string, string];
    expect(() => readTrace(file(damaged(one)))).toThrow(
      new Error(`event ${event} of the trace (line ${Number(event) + 1}) is damaged: ${field} is missing or has another type`),
    );
  });
});
