// Reads and writes trace files: JSON lines, of which the first is a header (docs/trace.md).

import type { AnyEvent } from "../data/types";
import { checkEvents } from "./check";

const READABLE = [1, 2, 3];
const OLD_NAMES: [string, string][] = [
  ['"event":"warmed"', '"event":"prefilled"'],
  ['"warm_every":', '"prefill_every":'],
  ['"verb":"warm"', '"verb":"prefill"'],
];
const VERSION = 3;

/** The events of a trace file, or of the object that `--json` prints. Throws an Error that says what is wrong. */
export function readTrace(text: string): AnyEvent[] {
  const lines = text.split("\n").flatMap((line, place): [string, number][] => (line.trim() ? [[line, place + 1]] : []));
  const first = parsed(lines[0]?.[0] ?? "");
  if (isObject(first) && isObject(first.trace)) return checked(first.trace.events, first.trace.speculative_trace);
  if (!isObject(first) || !("speculative_trace" in first)) {
    throw new Error("this is not a trace: its first line is no trace header; `speculative ask --trace FILE` writes one");
  }
  const rest = lines.slice(1);
  const events = rest.map(([line, number], place) => {
    const event = parsed(OLD_NAMES.reduce((found, [old, now]) => found.replaceAll(old, now), line));
    if (!isObject(event) && place === rest.length - 1 && place > 0) return null; // a chain that was cut off: the lines before it are shown
    if (!isObject(event)) throw new Error(`line ${number} of the trace is damaged; the file may be cut off`);
    return event;
  });
  return checked(
    events.filter((event) => event !== null),
    first.speculative_trace,
    rest.map(([, number]) => number),
  );
}

/** The file of these events. */
export function writeTrace(events: AnyEvent[]): string {
  return [{ speculative_trace: VERSION }, ...events].map((line) => `${JSON.stringify(line)}\n`).join("");
}

function checked(events: unknown, version: unknown, lines?: number[]): AnyEvent[] {
  if (!READABLE.includes(version as number))
    throw new Error(`the trace has version ${String(version)}, and this page reads ${READABLE.join(", ")}`);
  if (!Array.isArray(events) || events[0]?.event !== "started") throw new Error("the trace does not begin with a `started` event");
  checkEvents(events, lines);
  return events;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
