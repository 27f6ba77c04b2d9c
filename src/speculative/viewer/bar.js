// The bar of who wrote what: the chain's tokens in their order, and below them, on the same scale, those that were discarded.

import { count, draw, h, percent } from "./dom.js";
import { wholeRoles } from "./usage.js";

export const AUTHORS = ["big", "small", "judge", "method"];

/** The class that an author's colour hangs on. */
export function hue(author) {
  return AUTHORS.includes(author) ? author : "other";
}

/** A figure of the spans. `usage`: of tokens that no span shows, such as warm-ups, it knows that they were discarded. */
export function bar(spans, usage = {}) {
  const kept = lane(spans.filter((span) => span.status === "kept"));
  const seen = spans.filter((span) => span.status !== "kept");
  const shown = lane(seen).authors;
  const unseen = wholeRoles(usage).map(([author, cost]) => ({ author, tokens: Math.max(0, cost.discarded_tokens - (shown.get(author) ?? 0)) }));
  const lost = lane([...seen, ...unseen]);
  const scale = Math.max(kept.length, lost.length, 1);
  const told = [...kept.authors].map(([author, tokens]) => `${author} wrote ${count(tokens)} of ${count(kept.length)} tokens`);
  if (lost.length) told.push(`${count(lost.length)} tokens were discarded`);
  const drawing = draw(
    "svg",
    { class: "bar", viewBox: `0 0 ${scale} 10`, preserveAspectRatio: "none", role: "img", "aria-label": told.join(", ") || "nothing was written" },
    draw("rect", { class: "ground", x: 0, y: 0, width: scale, height: lost.length ? 6 : 10 }),
    paths(kept, 0, lost.length ? 6 : 10),
    paths(lost, 7, 3, "lost"),
  );
  return h("figure", { class: "written" }, drawing, h("figcaption", {}, ...legend(kept, lost)));
}

function lane(spans) {
  const authors = new Map();
  const shapes = new Map();
  let length = 0;
  for (const { author, tokens } of spans) {
    if (!tokens) continue;
    authors.set(author, (authors.get(author) ?? 0) + tokens);
    if (!shapes.has(author)) shapes.set(author, []);
    shapes.get(author).push([length, tokens]);
    length += tokens;
  }
  return { authors, shapes, length };
}

function paths({ shapes }, top, height, more = "") {
  return [...shapes].map(([author, runs]) =>
    draw("path", { class: `${hue(author)} ${more}`, d: runs.map(([start, width]) => `M${start} ${top}h${width}v${height}h${-width}z`).join("") }),
  );
}

function legend(kept, lost) {
  const words = [...kept.authors].map(([author, tokens]) =>
    h("span", { class: `key ${hue(author)}` }, h("b", { text: author }), ` ${count(tokens)} (${percent(tokens / kept.length, 0)})`),
  );
  return lost.length ? [...words, h("span", { class: "key lost", text: `${count(lost.length)} discarded` })] : words;
}
