// Where the samples come from: what each command that wrote a run folder put down.

import { h, plural } from "./dom.js";

export function provenance({ runs, library }) {
  const told = runs.flatMap((run) => {
    const entries = run.provenance.map((entry, place) => h("details", {}, h("summary", { text: titleOf(entry, place) }), list(entry)));
    return [h("h3", { text: run.folder }), h("p", { class: "hint", text: `${plural(run.samples, "sample")}${entries.length ? "" : "; no provenance was kept"}` }), ...entries];
  });
  return [...told, h("p", { class: "hint", text: `Written by speculative ${library}. This file needs no network, and asks for none.` })];
}

function titleOf(entry, place) {
  const command = Array.isArray(entry.command) ? entry.command.join(" ") : entry.command;
  return [command || `command ${place + 1}`, entry.time ?? entry.at ?? ""].filter(Boolean).join(" · ");
}

function list(value) {
  if (value === null || typeof value !== "object") return h("code", { text: String(value) });
  if (Array.isArray(value) && value.every((one) => one === null || typeof one !== "object")) return h("code", { text: value.join("  ") || "none" });
  const entries = Object.entries(value);
  return entries.length ? h("dl", {}, ...entries.map(([name, one]) => h("div", {}, h("dt", { text: name }), h("dd", {}, list(one))))) : h("code", { text: "none" });
}
