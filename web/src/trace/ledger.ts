// What a chain cost by role, folded from its events as trace/state.py does.

import type { AnyEvent, Call, Usage } from "../data/types";

interface Kept {
  author: string;
  tokens: number;
  ends: boolean;
  text: boolean;
}

export class Ledger {
  children = new Map<number, Ledger>();
  private costs = new Map<string, Usage>();
  private pieces: Kept[] = [];
  private offers = new Map<number, { author: string; size: number; ends: boolean; text: boolean }>();

  apply(event: AnyEvent): void {
    if ("call" in event) this.pay(event.call);
    switch (event.event) {
      case "started":
        for (const role of Object.keys(event.engines)) this.cost(role);
        break;
      case "wrote":
      case "answered":
        this.keep(this.offer(event.call.role, event.proposal));
        break;
      case "drafted":
        for (const proposal of event.proposals) this.offer(event.call.role, proposal);
        break;
      case "cancelled":
        if (event.proposal) this.offer(event.call.role, event.proposal);
        break;
      case "accepted":
        for (const draft of event.drafts) {
          const cut = draft === event.drafts.at(-1) ? event.cut : null;
          const offer = this.offers.get(draft);
          if (offer) this.keep(cut ? { ...offer, size: cut[0], ends: false } : offer);
        }
        break;
      case "inserted":
        this.reopen();
        this.pieces.push({ author: "method", tokens: 0, ends: false, text: event.text !== "" });
        break;
      case "rewound":
        this.pieces.length = event.pieces;
        break;
      case "became":
        this.pieces = [...(this.children.get(event.index)?.pieces ?? [])];
        break;
    }
  }

  /** The usage by role, children included; produced = kept + discarded. */
  usage(): Record<string, Usage> {
    const totals = this.spent();
    for (const total of Object.values(totals)) total.kept_tokens = 0;
    for (const { author, tokens } of this.pieces) if (totals[author]) totals[author].kept_tokens += tokens;
    for (const total of Object.values(totals)) total.discarded_tokens = total.produced_tokens - total.kept_tokens;
    return totals;
  }

  private spent(): Record<string, Usage> {
    const totals = Object.fromEntries([...this.costs].map(([role, cost]) => [role, { ...cost }]));
    for (const child of this.children.values()) {
      for (const [role, cost] of Object.entries(child.spent())) {
        const total = totals[role];
        if (!total) totals[role] = cost;
        else for (const name of NAMES) total[name] += cost[name];
      }
    }
    return totals;
  }

  private offer(
    author: string,
    proposal: { id: number; text: string; dropped: number; completion: { ids: number[]; end_id: number | null } },
  ) {
    const ends = proposal.completion.end_id !== null && proposal.completion.end_id !== undefined;
    const made = { author, size: proposal.completion.ids.length - proposal.dropped + (ends ? 1 : 0), ends, text: proposal.text !== "" };
    this.offers.set(proposal.id, made);
    return made;
  }

  private keep({ author, size, ends, text }: { author: string; size: number; ends: boolean; text: boolean }): void {
    this.pieces.push({ author, tokens: size, ends, text });
  }

  private reopen(): void {
    const place = this.pieces.findLastIndex((piece) => piece.text || piece.tokens);
    const last = this.pieces[place];
    if (last?.ends) this.pieces[place] = { ...last, tokens: last.tokens - 1, ends: false };
  }

  private cost(role: string): Usage {
    let found = this.costs.get(role);
    if (!found) {
      found = Object.fromEntries(NAMES.map((name) => [name, 0])) as unknown as Usage;
      this.costs.set(role, found);
    }
    return found;
  }

  private pay(call: Call): void {
    const cost = this.cost(call.role);
    for (const name of PAID) cost[name] += call[name];
  }
}

const PAID = ["requests", "prompt_tokens", "cached_tokens", "produced_tokens", "scored_tokens", "seconds"] as const;
const NAMES = [...PAID, "kept_tokens", "discarded_tokens"] as const;
