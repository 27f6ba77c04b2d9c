// What is known of a span or a call, in words.

import type { Work } from "../trace/calls";
import type { Span } from "../trace/timeline";
import { brief, plural } from "./dom";

/** All that is known of a span, in one line. */
export function factsOf(span: Span): string {
  const seconds = span.call ? [`${brief(span.call.seconds)} s`] : [];
  if (span.status === "note") return [span.author, plural(span.tokens, "token"), ...seconds].join(" · ");
  const verb = span.status === "kept" ? (span.verdict === "accepted" ? "drafted, accepted" : "wrote") : `drafted, ${span.verdict}`;
  const told = [`${span.author} ${verb}`, plural(span.tokens, "token")];
  if (span.mean_logprob !== null) told.push(`mean log-probability ${brief(span.mean_logprob)} nats`);
  if (span.entropy !== null && span.entropy !== undefined) told.push(`mean entropy ${span.entropy.toFixed(2)} nats`);
  const missing = [span.mean_logprob ?? "log-probability", span.entropy ?? "entropy"].filter((one) => typeof one === "string");
  if (missing.length && span.tokens) told.push(`${missing.join(" and ")} not known`);
  told.push(...seconds);
  told.push(...[judgementOf(span), agreementOf(span)].filter(Boolean));
  return told.join(" · ");
}

/** All that is known of a call, in one line. */
export function toldOf({ role, verb, began, ended, tokens, scored }: Work): string {
  const told = [`${role} ${verb}`, `${brief(ended - began)} s, from ${brief(began)} s on`];
  if (tokens) told.push(plural(tokens, "token"));
  if (scored) told.push(`${plural(scored, "token")} scored`);
  return told.join(" · ");
}

/** How far the role that read a text would have written the same, where that is known. */
export function agreementOf({ agreed, tokens }: Span): string {
  if (!agreed) return "";
  const { role } = agreed;
  return agreed.tokens >= tokens
    ? `${role} would have written the same`
    : `${role} would go on differently after ${plural(agreed.tokens, "token")}`;
}

/** The judgement of a span as a comparison, or an empty text. */
export function judgementOf(span: Span): string {
  const { judgement } = span;
  if (!judgement) return "";
  const by = judgement.role ? `${judgement.role}: ` : "";
  if (judgement.threshold === null || judgement.threshold === undefined) return `${by}score ${brief(judgement.score)}`;
  const { score, threshold } = judgement;
  const sign = score >= threshold ? "≥" : "<";
  return `${by}score ${brief(score)} ${sign} ${brief(threshold)}`;
}
