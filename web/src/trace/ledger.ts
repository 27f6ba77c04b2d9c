// What a chain cost by role, folded from its events as trace/state.py does.

import type { AnyEvent, Call, Usage } from "../data/types";

/** The roles of a tower's pair that wrote a text, with their numbers of tokens. */
type Authors = [string, number][];

interface Kept {
  author: string;
  tokens: number;
  ends: boolean;
  text: boolean;
  authors: Authors;
}

interface Offered {
  id: number;
  text: string;
  dropped: number;
  completion: { ids: number[]; end_id: number | null; authors?: Authors };
}

export class Ledger {
  children = new Map<number, Ledger>();
  private costs = new Map<string, Usage>();
  private pieces: Kept[] = [];
  private offers = new Map<number, Kept>();

  apply(event: AnyEvent): void {
    if ("call" in event) this.pay(event.call);
    switch (event.event) {
      case "started":
        for (const role of Object.keys(event.engines)) this.cost(role);
        break;
      case "answered":
        if (event.cue) this.pieces.push(inserted(event.cue));
        this.pieces.push(this.offer(event.call.role, event.proposal));
        break;
      case "wrote":
        this.pieces.push(this.offer(event.call.role, event.proposal));
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
          if (offer) this.pieces.push(cut ? shortened(offer, cut[0]) : offer);
        }
        break;
      case "inserted":
        this.reopen();
        this.pieces.push(inserted(event.text));
        break;
      case "rewound":
        this.pieces.splice(event.pieces);
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
    for (const { author, tokens, authors } of this.pieces) {
      for (const [role, kept] of [[author, tokens] as const, ...inner(author, authors)]) if (totals[role]) totals[role].kept_tokens += kept;
    }
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

  private offer(author: string, { id, text, dropped, completion }: Offered): Kept {
    const ends = completion.end_id !== null && completion.end_id !== undefined;
    const tokens = completion.ids.length - dropped + (ends ? 1 : 0);
    const whole: Kept = { author, tokens, ends, text: text !== "", authors: completion.authors ?? [] };
    const made = { ...shortened(whole, tokens), ends };
    this.offers.set(id, made);
    return made;
  }

  private reopen(): void {
    const place = this.pieces.findLastIndex((piece) => piece.text || piece.tokens);
    const last = this.pieces[place];
    if (last?.ends) this.pieces[place] = shortened(last, last.tokens - 1);
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
    this.add(call.role, call);
    for (const one of call.inner?.calls ?? []) this.add(`${call.role}/${one.role}`, one);
  }

  private add(role: string, call: Call): void {
    const cost = this.cost(role);
    for (const name of PAID) cost[name] += call[name];
  }
}

function inserted(text: string): Kept {
  return { author: "method", tokens: 0, ends: false, text: text !== "", authors: [] };
}

/** The beginning of a piece. */
function shortened(piece: Kept, tokens: number): Kept {
  let left = tokens;
  const authors: Authors = [];
  for (const [author, count] of piece.authors) {
    if (left <= 0) break;
    authors.push([author, Math.min(count, left)]);
    left -= count;
  }
  return { ...piece, tokens, ends: false, authors };
}

/** The rows of usage inside a tower, with the kept tokens of a piece. */
function inner(author: string, authors: Authors): [string, number][] {
  return authors.flatMap(([name, kept]) => {
    const names = name.split("/");
    return names.map((_, depth): [string, number] => [[author, ...names.slice(0, depth + 1)].join("/"), kept]);
  });
}

const PAID = ["requests", "prompt_tokens", "cached_tokens", "produced_tokens", "scored_tokens", "seconds"] as const;
const NAMES = [...PAID, "kept_tokens", "discarded_tokens"] as const;
