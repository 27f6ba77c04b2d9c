// One chain on a page of its own.

import { bar } from "./bar.js";
import { ChainView } from "./chain.js";
import { logo, toggle } from "./controls.js";
import { h } from "./dom.js";
import { spansOf, unpacked } from "./data.js";
import { usageTable } from "./usage.js";

const page = document.getElementById("page");

function verdict({ boxed, expected, right }) {
  if (boxed === null && right === null) return null;
  const told = right === null ? "" : right ? "✓ right" : `✗ the right answer is ${expected}`;
  const box = h("b", { class: "found", text: boxed ?? "not found" });
  return h("p", { class: `outcome ${right === null ? "" : right ? "right" : "wrong"}` }, "answer ", box, " ", h("span", { text: told }));
}

function show(shown) {
  const spans = spansOf(shown.chain);
  const view = new ChainView(`chain of ${shown.method}`);
  view.show(spans);
  document.title = `${shown.method} · Speculative Reasoning`;
  const chain = h("article", { class: "chain single" }, view.element);
  const given = Object.entries(shown.params).filter(([, value]) => value !== null);
  const params = given.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const engines = Object.entries(shown.engines).map(([role, name]) => `${role}: ${name}`);
  page.replaceChildren(
    h("header", { class: "top" }, h("div", { class: "brand" }, logo(), h("span", { text: "Speculative Reasoning" })), h("h1", { text: shown.method }), h("p", { class: "lead", text: [...params, `seed=${shown.seed}`].join("  ") }), h("p", { class: "hint", text: engines.join(" · ") })),
    h("section", {}, h("h2", { text: "Problem" }), h("p", { class: "asked", text: shown.problem }), ...[verdict(shown)].filter(Boolean)),
    h("section", {}, h("h2", { text: "Chain" }), bar(spans, shown.chain.usage), h("div", { class: "filters" }, toggle("author labels", false, (on) => chain.classList.toggle("labelled", on)), toggle("open drafts", false, (on) => view.open(on))), chain),
    h("section", {}, h("h2", { text: "Usage" }), usageTable(shown.chain.usage), h("p", { class: "hint", text: shown.finish })),
  );
}

try {
  show(await unpacked("chain"));
} catch (error) {
  document.getElementById("wait").replaceChildren(`This chain cannot be shown: ${error.message}`);
  throw error;
}
