// Where the samples come from: what each command that wrote a run folder put down.

import type { Contents } from "../data/types";
import { h, plural } from "../view/dom";

type Entry = Record<string, unknown>;

export function provenance({ runs, library }: Contents): HTMLElement[] {
  const told = (runs as { folder: string; samples: number; provenance: Entry[] }[]).flatMap((run) => {
    const kept = run.provenance.map((entry, place) => h("details", {}, h("summary", { text: titleOf(entry, place) }), list(entry)));
    const hint = `${plural(run.samples, "sample")}${kept.length ? "" : "; no provenance was kept"}`;
    return [h("h3", { text: run.folder }), h("p", { class: "hint", text: hint }), ...kept];
  });
  return [...told, h("p", { class: "hint", text: `Written by speculative ${library}. This file needs no network, and asks for none.` })];
}

function titleOf(entry: Entry, place: number): string {
  const command = Array.isArray(entry.command) ? entry.command.join(" ") : String(entry.command ?? "");
  return [command || `command ${place + 1}`, String(entry.time ?? entry.at ?? "")].filter(Boolean).join(" · ");
}

function list(value: unknown): HTMLElement {
  if (value === null || typeof value !== "object") return h("code", { text: String(value) });
  if (Array.isArray(value) && value.every((one) => one === null || typeof one !== "object"))
    return h("code", { text: value.join("  ") || "none" });
  const kept = Object.entries(value);
  if (!kept.length) return h("code", { text: "none" });
  return h("dl", {}, ...kept.map(([name, one]) => h("div", {}, h("dt", { text: name }), h("dd", {}, list(one)))));
}
