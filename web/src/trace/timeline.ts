// The timeline of a chain: its spans, folded from its events as report/timeline.py does.

import type { AnyEvent, Call, Completion, Drafted, Judgement, Proposal } from "../data/types";

export type Status = "kept" | "discarded" | "note" | "draft";
export type Phase = "thinking" | "answer";

/** Numbers of a span that are known when its events are. */
export interface Facts {
  /** The calls that wrote it: several where neighbours are shown as one. */
  calls?: Call[];
  entropy?: number | null;
  judgement?: Judgement | null;
  /** A role that read it, and the mean log-probability (nats) that this role finds. */
  reading?: [string, number] | null;
  /** The role that read it, and how many of its first tokens are those that this role finds likeliest: all of them if `whole`. */
  agreed?: { role: string; tokens: number; whole: boolean };
}

/** A run of text with one author and one status. */
export interface Span extends Facts {
  author: string;
  text: string;
  status: Status;
  phase: Phase;
  depth: number;
  tokens: number;
  verdict: string;
  mean_logprob: number | null;
}

/** Unfinished text of a call. */
export interface Writing {
  role: string;
  text: string;
  draft: number;
  phase: Phase;
  committed: boolean;
  /** When its first text came, in seconds since the chain began. */
  began?: number;
}

interface Piece {
  author: string;
  text: string;
  kept: number;
  phase: Phase;
  ends: boolean;
  logprob: number | null;
  facts: Facts;
}

interface Offer {
  author: string;
  proposal: Proposal;
  call: Call;
}

const ACCEPTED = "accepted";
const TAKEN_BACK = "taken back";
const UNDECIDED = "undecided";
const REST = "the rest of an accepted draft";
const CUT_OFF = "cut off";
type CutOff = Extract<AnyEvent, { event: "cancelled" }>;

export class Timeline {
  spans: Span[] = [];
  /** Unfinished text by role and draft. */
  writing = new Map<string, Writing>();
  children = new Map<number, Timeline>();
  private pieces: number[] = [];
  private offers = new Map<number, Offer>();
  private open = new Set<number>();
  private readings = new Map<number, { role: string; logprobs: number[] }>();
  private ends = new Set<number>();
  private copies = new Map<number, Set<number>>();
  private partial: CutOff | null = null;
  /** Replies about drafts that are not decided yet: they stand behind the decision. */
  private replies = new Map<number, Span[]>();
  /** The vocabulary of each role: ids of one are compared with ids of the same one only. */
  private vocabularies = new Map<string, string>();
  private agreed = new Map<number, NonNullable<Facts["agreed"]>>();

  /** Takes new text of a call. */
  write(delta: Writing, began = 0): void {
    if (this.offers.has(delta.draft)) return;
    const key = `${delta.draft} ${delta.role}`;
    const before = this.writing.get(key);
    if (before) before.text += delta.text;
    else this.writing.set(key, { ...delta, began });
  }

  /** Drafts that are proposed and not yet decided. */
  undecided(): Span[] {
    return [...this.open].map((number) => this.proposed(number, "draft", "not decided yet", null));
  }

  /** The numbers of the spans that these calls wrote. */
  placesOf(calls: Call[]): number[] {
    const wanted = new Set(calls);
    return this.spans.flatMap((span, place) => (span.calls?.some((call) => wanted.has(call)) ? [place] : []));
  }

  apply(event: AnyEvent): void {
    this.settle(event);
    if (this.partial && !["degraded", "inserted", "accepted"].includes(event.event)) this.keepPartial(this.partial);
    switch (event.event) {
      case "started":
        for (const [role, { fingerprint }] of Object.entries(event.engines)) this.vocabularies.set(role, fingerprint);
        break;
      case "wrote":
        this.offers.set(event.proposal.id, { author: event.call.role, proposal: event.proposal, call: event.call });
        this.keep(pieceOf(event.call.role, event.proposal, event.call));
        break;
      case "drafted":
        this.propose(event);
        break;
      case "scored":
        event.drafts.forEach((draft, place) => {
          const found = event.logprobs[place] ?? [];
          this.readings.set(draft, { role: event.call.role, logprobs: found });
          this.agree(draft, event.call.role, event.tops?.[place] ?? []);
        });
        break;
      case "accepted":
        this.accept(event.drafts, event.judgement ?? null, event.cut ?? null);
        this.reply(event.drafts);
        break;
      case "rejected":
        this.discard(event.drafts, event.reason, event.judgement ?? null);
        this.reply(event.drafts);
        break;
      case "inserted":
        this.reopen();
        this.keep(insertion(event.text, event.phase));
        break;
      case "rewound":
        this.takeBack(event.pieces);
        break;
      case "answered":
        if (event.cue) this.keep(insertion(event.cue, "answer"));
        this.keep({ ...pieceOf(event.call.role, event.proposal, event.call), phase: "answer" });
        break;
      case "became":
        this.become(event.index);
        break;
      case "asked": {
        const replies = event.replies.map((reply) => reply.trim().split(/\s+/).join(" ")).join(" · ");
        const { role, produced_tokens } = event.call;
        const span: Span = {
          ...blank(role, `${role} was asked (${event.question}) and replied: ${replies}`),
          status: "note",
          tokens: produced_tokens,
          calls: [event.call],
        };
        if (event.after !== null && this.open.has(event.after))
          this.replies.set(event.after, [...(this.replies.get(event.after) ?? []), span]);
        else this.spans.push(span);
        break;
      }
      case "chose":
        this.note("method", event.reason);
        break;
      case "stopped":
        this.note("method", `the thinking ends: ${event.reason}`);
        break;
      case "cancelled":
        if (event.proposal) {
          this.offers.set(event.proposal.id, { author: event.call.role, proposal: event.proposal, call: event.call });
          this.partial = event;
        } else this.noteWaste(event.call);
        break;
      case "degraded":
        this.note(event.survivor, `${event.role} is lost, ${event.survivor} continues: ${event.error}`);
        break;
      case "ended":
        this.close();
        break;
    }
  }

  /**
   * Ends the timeline of a chain that was cut off: text that was being written stays, with an unknown number of tokens. Text that is not
   * sure to enter the chain is discarded.
   */
  interrupt(): void {
    if (this.stopWriting()) this.note("method", "the chain was cut off here; what the last call cost is not known");
    this.close();
  }

  /** Makes spans of the text that is being written, also in the children; returns whether there was any. */
  private stopWriting(): boolean {
    for (const { role, text, phase, committed } of this.writing.values()) {
      const fate: Pick<Span, "status" | "verdict"> = committed
        ? { status: "kept", verdict: "" }
        : { status: "discarded", verdict: CUT_OFF };
      this.spans.push({ ...blank(role, text), phase, ...fate });
    }
    const inside = [...this.children.values()].map((child) => child.stopWriting());
    return this.writing.size > 0 || inside.includes(true);
  }

  /** Ends the timeline: open drafts are discarded. */
  close(): void {
    if (this.partial) this.keepPartial(this.partial);
    this.discard(
      [...this.open].sort((one, other) => one - other),
      UNDECIDED,
      null,
    );
    this.reply([...this.replies.keys()]);
    this.leave([...this.children]);
    this.children = new Map();
    this.writing.clear();
  }

  /** Puts the replies about drafts behind the decision on them. */
  private reply(drafts: number[]): void {
    for (const draft of drafts) {
      this.spans.push(...(this.replies.get(draft) ?? []));
      this.replies.delete(draft);
    }
  }

  private accept(drafts: number[], judgement: Judgement | null, cut: [number, number] | null): void {
    let partial = this.partial;
    this.partial = null;
    if (partial?.proposal && !drafts.includes(partial.proposal.id)) {
      this.keepPartial(partial);
      partial = null;
    }
    for (const number of drafts) {
      const offer = this.offers.get(number);
      if (!offer) continue;
      const part = number === drafts.at(-1) ? cut : null;
      const whole = pieceOf(offer.author, offer.proposal, offer.call);
      const piece = part ? { ...whole, kept: part[0], text: prefix(whole.text, part[1]), ends: false } : whole;
      const known = { ...this.known(number, 0, part?.[0]), ...(number === drafts.at(-1) && { judgement }) };
      this.keep({ ...piece, facts: known, logprob: known.mean_logprob }, ACCEPTED);
      if (part && number !== partial?.proposal?.id) this.discardRest(number, part);
      this.open.delete(number);
    }
    const last = this.spans.at(-1);
    if (partial && !partial.lost && last) {
      const rest = partial.call.produced_tokens - last.tokens;
      const more = rest ? `, ${rest} of its tokens are discarded` : "";
      this.note(partial.call.role, `a call of ${partial.call.role} was cut off here${more}`, rest, partial.call);
    }
  }

  /** Forgets unfinished text that is finished, cut off or replaced. */
  private settle(event: AnyEvent): void {
    if (!this.writing.size) return;
    const settled = new Set<number>();
    if (event.event === "drafted") for (const proposal of event.proposals) settled.add(proposal.id);
    if ((event.event === "wrote" || event.event === "answered" || event.event === "cancelled") && event.proposal)
      settled.add(event.proposal.id);
    const over = event.event === "accepted" || event.event === "became" || event.event === "ended";
    for (const [key, one] of this.writing) if (settled.has(one.draft) || (over && !one.committed)) this.writing.delete(key);
  }

  /** Notes how far the role that read a draft would have written the same. */
  private agree(draft: number, role: string, tops: [number, number][][]): void {
    const offer = this.offers.get(draft);
    if (!offer || !tops.length || this.vocabularies.get(role) !== this.vocabularies.get(offer.author)) return;
    const { ids } = offer.proposal.completion;
    const other = ids.findIndex((id, place) => tops[place]?.[0]?.[0] !== id);
    this.agreed.set(draft, { role, tokens: other < 0 ? ids.length : other, whole: other < 0 });
  }

  private propose(event: Drafted): void {
    const alike = new Map<string, Set<number>>();
    const produced = event.proposals.reduce((sum, one) => sum + producedOf(one.completion), 0);
    const copied = produced > event.call.produced_tokens;
    for (const proposal of event.proposals) {
      if (copied) {
        const key = `${proposal.parent} ${proposal.completion.ids}`;
        const same = alike.get(key) ?? new Set();
        alike.set(key, same.add(proposal.id));
        this.copies.set(proposal.id, same);
      }
      this.offers.set(proposal.id, { author: event.call.role, proposal, call: event.call });
      this.open.add(proposal.id);
    }
  }

  private keep(piece: Piece, verdict = ""): void {
    if (piece.ends) this.ends.add(this.spans.length);
    this.pieces.push(this.spans.length);
    const { author, text, phase, kept, facts, logprob } = piece;
    this.spans.push({ author, text, status: "kept", phase, depth: 0, tokens: kept, verdict, mean_logprob: logprob, ...facts });
  }

  private keepPartial(partial: CutOff): void {
    this.partial = null;
    const { proposal, call } = partial;
    if (proposal) this.spans.push({ ...blank(call.role, proposal.text), phase: proposal.phase, calls: [call] });
    if (!partial.lost) this.noteWaste(call);
  }

  private noteWaste(call: Call): void {
    const tokens = call.produced_tokens;
    if (tokens) this.note(call.role, `a call of ${call.role} was cut off: its ${tokens} tokens are discarded`, tokens, call);
  }

  private note(author: string, text: string, tokens = 0, call?: Call): void {
    this.spans.push({ ...blank(author, text), status: "note", tokens, ...(call && { calls: [call] }) });
  }

  /** Takes back the end of the last phase: its token is no longer part of the chain. */
  private reopen(): void {
    const last = this.pieces.findLast((place) => this.spans[place]?.text || this.spans[place]?.tokens) ?? -1;
    const span = this.spans[last];
    if (span && this.ends.delete(last)) this.spans[last] = { ...span, tokens: span.tokens - 1 };
  }

  private discard(numbers: number[], why: string, judgement: Judgement | null): void {
    for (const number of numbers) {
      this.open.delete(number);
      const span = this.proposed(number, "discarded", why, judgement);
      const copies = this.copies.get(number);
      copies?.delete(number);
      if (copies?.size) span.tokens = 0;
      this.spans.push(span);
    }
  }

  private proposed(number: number, status: Status, verdict: string, judgement: Judgement | null): Span {
    const { author, proposal } = this.offers.get(number)!;
    let depth = 0;
    for (let above = proposal.parent; above !== null; above = this.offers.get(above)?.proposal.parent ?? null) depth += 1;
    const tokens = producedOf(proposal.completion);
    return { author, text: proposal.text, status, phase: proposal.phase, depth, tokens, verdict, judgement, ...this.known(number) };
  }

  /** Adds the tokens of an accepted draft that did not enter the chain. */
  private discardRest(number: number, [tokens, characters]: [number, number]): void {
    const { author, proposal } = this.offers.get(number)!;
    const left = producedOf(proposal.completion) - tokens;
    if (left <= 0) return;
    const text = [...proposal.text].slice(characters).join("");
    const verdict = tokens ? REST : "rejected";
    const span = { author, text, status: "discarded" as const, phase: proposal.phase, depth: 0, tokens: left, verdict };
    this.spans.push({ ...span, ...this.known(number, tokens) });
  }

  /** What is known of the tokens of a draft, from the first of them to the one before `end`. */
  private known(number: number, first = 0, end = Number.POSITIVE_INFINITY): Facts & Pick<Span, "mean_logprob"> {
    const { proposal, call } = this.offers.get(number)!;
    const part = partOf(proposal.completion, first, end);
    const read = this.readings.get(number);
    const logprobs = read?.logprobs.slice(first, end) ?? [];
    const agreed = this.agreed.get(number);
    return {
      calls: [call],
      mean_logprob: logprobOf(part),
      entropy: entropyOf(part),
      reading: read && logprobs.length ? [read.role, mean(logprobs)] : null,
      agreed: agreed && {
        role: agreed.role,
        tokens: Math.max(0, Math.min(agreed.tokens, end) - first),
        whole: agreed.whole || agreed.tokens >= end,
      },
    };
  }

  private takeBack(pieces: number): void {
    for (const place of this.pieces.splice(pieces)) this.spans[place] = { ...this.spans[place]!, status: "discarded", verdict: TAKEN_BACK };
  }

  private become(index: number): void {
    this.takeBack(0);
    this.leave([...this.children].filter(([number]) => number !== index));
    const child = this.children.get(index);
    if (child) {
      const offset = this.spans.length;
      this.pieces = child.pieces.map((place) => offset + place);
      this.ends = new Set([...child.ends].map((place) => offset + place));
      this.spans.push(...child.spans);
    }
    this.children = new Map();
  }

  /** Adds the text of children that were not taken over. */
  private leave(children: [number, Timeline][]): void {
    for (const [number, child] of children) {
      this.note("method", `chain ${number + 1} on the same problem:`);
      child.close();
      const kept = joined(child.spans.filter((span) => span.status === "kept" || span.verdict === CUT_OFF));
      this.spans.push(...kept.map((span): Span => ({ ...span, status: "discarded", depth: 1, verdict: `chain ${number + 1}` })));
    }
  }
}

/** The first characters of a text, counted as the library counts them. */
function prefix(text: string, characters: number): string {
  return text.length === characters ? text : [...text].slice(0, characters).join("");
}

function blank(author: string, text: string): Span {
  return { author, text, status: "kept", phase: "thinking", depth: 0, tokens: 0, verdict: "", mean_logprob: null };
}

function insertion(text: string, phase: Phase): Piece {
  return { author: "method", text, kept: 0, phase, ends: false, logprob: null, facts: {} };
}

function pieceOf(author: string, proposal: Proposal, call: Call): Piece {
  const { completion, text, dropped, phase } = proposal;
  const ends = completion.end_id !== null && completion.end_id !== undefined;
  const facts = factsOf(completion, call);
  return { author, text, kept: completion.ids.length - dropped + (ends ? 1 : 0), phase, ends, logprob: logprobOf(completion), facts };
}

function producedOf(completion: Completion): number {
  return completion.ids.length + (completion.end_id === null || completion.end_id === undefined ? 0 : 1);
}

function factsOf(completion: Completion, call: Call): Facts {
  return { calls: [call], entropy: entropyOf(completion) };
}

/** The completion of some of its tokens. Means of all of them do not hold for a part. */
function partOf(completion: Completion, first: number, end: number): Completion {
  if (first === 0 && end >= completion.ids.length) return completion;
  const { mean_logprob: _, mean_entropy: __, ...rest } = completion;
  const { logprobs, top_logprobs } = completion;
  return { ...rest, logprobs: logprobs?.slice(first, end) ?? null, top_logprobs: top_logprobs?.slice(first, end) ?? null };
}

/** The mean log-probability (nats) of the tokens, where the trace has it. */
function logprobOf({ mean_logprob, logprobs }: Completion): number | null {
  return mean_logprob ?? (logprobs?.length ? mean(logprobs) : null);
}

/** The mean entropy (nats) of the tokens, from their most likely ones, whose probabilities are scaled to a sum of 1. */
function entropyOf({ mean_entropy, top_logprobs: tops }: Completion): number | null {
  if (mean_entropy !== undefined) return mean_entropy;
  return tops?.length ? mean(tops.map((top) => entropy(top.map(([, logprob]) => Math.exp(logprob))))) : null;
}

function entropy(weights: number[]): number {
  const total = weights.reduce((sum, one) => sum + one, 0);
  return weights.reduce((sum, one) => (one ? sum - (one / total) * Math.log(one / total) : sum), 0);
}

function mean(values: number[]): number {
  return Math.round((values.reduce((sum, one) => sum + one, 0) / values.length) * 1e4) / 1e4;
}

/** Joins neighbours of one author and phase. */
function joined(spans: Span[]): Span[] {
  const found: Span[] = [];
  for (const span of spans) {
    const last = found.at(-1);
    if (last && last.author === span.author && last.phase === span.phase) found[found.length - 1] = together(last, span);
    else found.push(span);
  }
  return found;
}

function together(one: Span, other: Span): Span {
  const { author, phase, status, depth, verdict } = one;
  const text = one.text + other.text;
  const weigh = (left: number | null | undefined, right: number | null | undefined) =>
    weighed(left ?? null, one.tokens, right ?? null, other.tokens);
  return {
    ...{ author, phase, status, depth, verdict, text },
    tokens: one.tokens + other.tokens,
    mean_logprob: weigh(one.mean_logprob, other.mean_logprob),
    entropy: weigh(one.entropy, other.entropy),
    calls: [...new Set([...(one.calls ?? []), ...(other.calls ?? [])])],
  };
}

/** The mean of two means of so many tokens each, or null where one of them is not known. */
function weighed(one: number | null, tokens: number, other: number | null, more: number): number | null {
  if (!more) return one;
  if (!tokens) return other;
  return one === null || other === null ? null : (one * tokens + other * more) / (tokens + more);
}
