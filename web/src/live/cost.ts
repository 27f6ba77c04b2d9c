// What a run cost, and how fast it was.

import type { TokenPriceCard, Usage } from "../data/types";
import { wholeRoles } from "../view/usage";
import type { Run } from "./run";

export type Usages = Record<string, Usage>;
export type Prices = Record<string, TokenPriceCard>;

/** The price of all tokens, or null where the price of a role is not known. */
export function priceOf(usage: Usages, prices: Prices): number | null {
  let total = 0;
  for (const [role, cost] of Object.entries(usage)) {
    if (Object.keys(usage).some((other) => other.startsWith(`${role}/`))) continue; // a tower: the models of its pair are paid for
    const price = prices[role];
    if (!price) return null;
    const read = cost.prompt_tokens - cost.cached_tokens + cost.scored_tokens;
    total += (read * price.prompt + cost.cached_tokens * price.cached + cost.produced_tokens * price.produced) / 1e6;
  }
  return total;
}

/** The price of a run so far; null also for one that was stopped, since the cost of its last call is not known. */
export function costOf(run: Pick<Run, "state" | "chain">, prices: Prices): number | null {
  return run.state === "cancelled" || run.state === "failed" ? null : priceOf(run.chain.ledger.usage(), prices);
}

/** The share of the big model in one kind of tokens, or null without tokens. */
export function bigShare(usage: Usages, field: "kept_tokens" | "produced_tokens"): number | null {
  const total = wholeRoles(usage).reduce((sum, [, cost]) => sum + cost[field], 0);
  return total ? (usage.big?.[field] ?? 0) / total : null;
}

/** How many times faster than `big_only` a run was: measured beside it, or estimated from the big model's own speed in the run. */
export function speedOf(run: Run, others: Run[]): { times: number; measured: boolean } | null {
  const seconds = run.chain.seconds;
  if (!seconds || run.chain.started?.method === "big_only") return null;
  const alone = others.find((other) => other !== run && other.state === "done" && other.chain.started?.method === "big_only");
  if (alone) return { times: alone.chain.seconds / seconds, measured: true };
  const usage = run.chain.ledger.usage();
  const wrote = run.chain.works.filter((work) => work.role === "big" && work.tokens > 0);
  const tokens = wrote.reduce((sum, work) => sum + work.tokens, 0);
  const kept = wholeRoles(usage).reduce((sum, [, cost]) => sum + cost.kept_tokens, 0);
  if (tokens < 8 || !kept) return null;
  const each = wrote.reduce((sum, work) => sum + work.ended - work.began, 0) / tokens;
  return { times: (each * kept) / seconds, measured: false };
}
