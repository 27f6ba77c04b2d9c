// What is known of a span or a call, in words.

import type { Work } from "../trace/calls";
import type { Span } from "../trace/timeline";
import { brief, plural } from "./dom";

/** All that is known of a span, in one line. */
export function factsOf(span: Span): string {
  const seconds = span.calls?.length ? [`${brief(span.calls.reduce((sum, call) => sum + call.seconds, 0))} s`] : [];
  if (span.status === "note") return [span.author, plural(span.tokens, "token"), ...seconds].join(" · ");
  const facts = [`${span.author} ${verbOf(span)}`, plural(span.tokens, "token")];
  const missing: string[] = [];
  if (span.mean_logprob === null) missing.push("log-probability");
  else facts.push(`mean log-probability ${brief(span.mean_logprob)} nats`);
  if (span.entropy === null || span.entropy === undefined) missing.push("entropy");
  else facts.push(`mean entropy ${span.entropy.toFixed(2)} nats`);
  if (missing.length && span.tokens) facts.push(`${missing.join(" and ")} not known`);
  return [...facts, ...seconds, ...readingOf(span)].join(" · ");
}

/** What another role, or the method, made of a span. */
export function readingOf(span: Span): string[] {
  const { reading } = span;
  const likely = reading ? `mean log-probability for ${reading[0]} ${brief(reading[1])} nats` : "";
  const measure = span.judgement?.measure;
  return [likely, judgementOf(span) + (measure ? ` (${measure})` : ""), agreementOf(span)].filter(Boolean);
}

function verbOf({ status, verdict }: Span): string {
  if (status === "kept") return verdict === "accepted" ? "drafted, accepted" : "wrote";
  return `${verdict === "taken back" || /^chain \d+$/.test(verdict) ? "wrote" : "drafted"}, ${verdict}`;
}

/** All that is known of a call, in one line. */
export function toldOf({ role, verb, began, ended, tokens, scored }: Work): string {
  const facts = [`${role} ${verb}`, `${brief(ended - began)} s, from ${brief(began)} s on`];
  if (tokens) facts.push(plural(tokens, "token"));
  if (scored) facts.push(`${plural(scored, "token")} scored`);
  return facts.join(" · ");
}

/** How far the role that read a text would have written the same, where that is known. */
export function agreementOf({ agreed, tokens, text }: Span): string {
  if (!agreed || !(tokens || text)) return "";
  const { role } = agreed;
  return agreed.whole ? `${role} would have written the same` : `${role} would go on differently after ${plural(agreed.tokens, "token")}`;
}

/** The judgement of a span as a comparison, or an empty text. */
export function judgementOf(span: Span): string {
  const { judgement } = span;
  if (!judgement) return "";
  const by = judgement.role ? `${judgement.role}: ` : "";
  if (judgement.threshold === null || judgement.threshold === undefined) return `${by}score ${rounded(judgement.score)}`;
  const { score, threshold } = judgement;
  const sign = score >= threshold ? "≥" : "<";
  return `${by}score ${rounded(score, threshold)} ${sign} ${brief(threshold)}`;
}

/** What the score of a span is, in words: its measure, the role that gave it, and its threshold. An empty text without a judgement. */
export function meaningOf({ judgement }: Span): string {
  if (!judgement) return "";
  const { score, threshold, role, measure } = judgement;
  const compared = threshold !== null && threshold !== undefined;
  return [
    `score ${compared ? rounded(score, threshold) : rounded(score)}`,
    ...(measure ? [`: ${measure}`] : []),
    ...(role ? [`, from ${role}`] : []),
    ...(compared ? [`; threshold ${brief(threshold)}`] : []),
  ].join("");
}

/** A score as brief as its comparison allows: a millionth beside a tenth is zero. */
function rounded(score: number, threshold = 1): string {
  return Math.abs(score) < Math.abs(threshold) / 1000 ? "0" : brief(score);
}
