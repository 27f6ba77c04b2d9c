// What is drawn of a chain, as a fold over its events: report/strokes.py in the page's own language, for chains that are still
// being written. A test holds the two together.

const ACCEPTED = "accepted";
const TAKEN_BACK = "taken back";
const UNDECIDED = "never decided on";
const DRAWN = "wrote drafted scored accepted rejected inserted rewound answered child became asked stopped degraded cancelled ended".split(" ");
const SPACE = /(?:[^\S\ufeff]|[\x1c-\x1f\x85])+/;

export class Sketch {
  /** `happened`: events as they stand in a trace (docs/trace.md). */
  constructor(happened = []) {
    this.strokes = [];
    this.pieces = []; // the strokes that are the chain's text, by their index
    this.ends = new Set(); // the strokes whose last token ended their phase
    this.proposals = new Map();
    this.open = new Set();
    this.sureness = new Map();
    this.children = new Map();
    this.copies = new Map(); // by draft: itself and its copies, but those that were discarded
    this.half = null; // a call that was cut off: what it wrote is kept, if that is accepted next
    for (const event of happened) this.apply(event);
  }

  apply(event) {
    if (!["degraded", "inserted", "accepted"].includes(event.event)) this.giveUp();
    if (DRAWN.includes(event.event)) this[event.event](event);
  }

  wrote({ call, proposal }) {
    this.keep(pieceOf(call.role, proposal));
  }

  drafted({ call, proposals }) {
    const alike = new Map();
    const copied = proposals.reduce((sum, { completion }) => sum + produced(completion), 0) > call.produced_tokens;
    for (const proposal of proposals) {
      if (copied) {
        const key = JSON.stringify([proposal.parent, proposal.completion.ids]);
        if (!alike.has(key)) alike.set(key, new Set());
        this.copies.set(proposal.id, alike.get(key).add(proposal.id));
      }
      this.proposals.set(proposal.id, { author: call.role, proposal });
      this.open.add(proposal.id);
      if (proposal.completion.logprobs?.length) this.sureness.set(proposal.id, meanOf(proposal.completion.logprobs));
    }
  }

  scored({ drafts, logprobs }) {
    drafts.forEach((draft, place) => logprobs[place].length && this.sureness.set(draft, meanOf(logprobs[place])));
  }

  accepted({ drafts }) {
    if (!drafts.includes(this.half?.proposal.id)) this.giveUp();
    const half = this.half;
    this.half = null;
    for (const number of drafts) {
      const { author, proposal } = this.proposals.get(number);
      this.keep(pieceOf(author, proposal), ACCEPTED, this.sureness.get(number) ?? null);
      this.open.delete(number);
    }
    if (half && !half.lost) {
      const rest = half.call.produced_tokens - this.strokes.at(-1).tokens;
      const more = rest ? `, ${rest} of its tokens are discarded` : "";
      this.note(half.call.role, `a call of ${half.call.role} was cut off here${more}`, rest);
    }
  }

  rejected({ drafts, reason }) {
    this.discard(drafts, reason);
  }

  inserted({ text, phase }) {
    this.reopen();
    this.keep({ author: "method", text, phase, tokens: 0, ends: false });
  }

  rewound({ pieces }) {
    for (const place of this.pieces.splice(pieces)) this.strokes[place] = { ...this.strokes[place], fate: "discarded", verdict: TAKEN_BACK };
  }

  answered({ call, cue, proposal }) {
    if (cue) this.keep({ author: "method", text: cue, phase: "answer", tokens: 0, ends: false });
    this.keep({ ...pieceOf(call.role, proposal), phase: "answer" });
  }

  child({ index, events }) {
    this.children.set(index, events);
  }

  became({ index }) {
    this.rewound({ pieces: 0 });
    const events = this.children.get(index);
    this.children.delete(index);
    this.leave();
    const child = new Sketch(events);
    const start = this.strokes.length;
    this.pieces = child.pieces.map((place) => start + place);
    this.ends = new Set([...child.ends].map((place) => start + place));
    this.strokes = this.strokes.concat(child.strokes);
  }

  asked({ call, question, replies }) {
    const told = replies.map((reply) => reply.split(SPACE).filter(Boolean).join(" ")).join(" · ");
    this.note(call.role, `${call.role} is asked aside (${question}): ${told}`, call.produced_tokens);
  }

  stopped({ reason }) {
    this.note("method", `the thinking ends: ${reason}`);
  }

  degraded({ role, survivor, error }) {
    this.note(survivor, `${role} is lost, ${survivor} goes on in its place: ${error}`);
  }

  cancelled({ call, proposal, lost }) {
    if (proposal) {
      this.proposals.set(proposal.id, { author: call.role, proposal });
      this.half = { call, proposal, lost };
    } else {
      this.wasted(call);
    }
  }

  /** Nothing goes on behind a call that was cut off. */
  giveUp() {
    if (!this.half) return;
    const { call, proposal, lost } = this.half;
    this.half = null;
    this.strokes.push(stroke(call.role, proposal.text, { phase: proposal.phase }));
    if (!lost) this.wasted(call);
  }

  wasted(call) {
    const tokens = call.produced_tokens;
    if (tokens) this.note(call.role, `a call of ${call.role} was cut off: its ${tokens} tokens are discarded`, tokens);
  }

  ended() {
    this.close();
  }

  /** Nothing more will happen: what is still undecided is discarded. */
  close() {
    this.giveUp();
    this.discard([...this.open].sort((one, other) => one - other), UNDECIDED);
    this.leave();
  }

  keep({ author, text, phase, tokens, ends }, verdict = "", sureness = null) {
    if (ends) this.ends.add(this.strokes.length);
    this.pieces.push(this.strokes.length);
    this.strokes.push(stroke(author, text, { phase, tokens, verdict, sureness }));
  }

  /** The end is taken back: its token is no longer part of the chain. */
  reopen() {
    const last = this.pieces.findLast((place) => this.strokes[place].text || this.strokes[place].tokens);
    if (this.ends.delete(last)) this.strokes[last] = { ...this.strokes[last], tokens: this.strokes[last].tokens - 1 };
  }

  note(author, text, tokens = 0) {
    this.strokes.push(stroke(author, text, { fate: "note", tokens }));
  }

  discard(numbers, verdict) {
    for (const number of numbers) {
      const { author, proposal } = this.proposals.get(number);
      let depth = 0;
      for (let above = proposal.parent; above !== null; above = this.proposals.get(above).proposal.parent) depth += 1;
      this.open.delete(number);
      const copies = this.copies.get(number);
      copies?.delete(number);
      const tokens = copies?.size ? 0 : produced(proposal.completion);
      const told = { fate: "discarded", phase: proposal.phase, depth, tokens, verdict, sureness: this.sureness.get(number) ?? null };
      this.strokes.push(stroke(author, proposal.text, told));
    }
  }

  /** Draws chains that were not taken over: their text is discarded, their notes are left out. */
  leave() {
    for (const [index, events] of this.children) {
      this.note("method", `chain ${index + 1} on the same problem:`);
      const child = new Sketch(events);
      child.close();
      const kept = joined(child.strokes.filter((one) => one.fate === "kept"));
      for (const one of kept) this.strokes.push({ ...one, fate: "discarded", depth: 1, verdict: `chain ${index + 1}` });
    }
    this.children.clear();
  }
}

function stroke(author, text, more) {
  return { author, text, fate: "kept", phase: "thinking", depth: 0, tokens: 0, verdict: "", sureness: null, ...more };
}

function pieceOf(author, { completion, dropped, phase, text }) {
  const ends = (completion.end_id ?? null) !== null;
  return { author, text, phase, tokens: completion.ids.length - dropped + ends, ends };
}

function produced(completion) {
  return completion.ids.length + ((completion.end_id ?? null) !== null);
}

function meanOf(logprobs) {
  return Number((logprobs.reduce((sum, one) => sum + one, 0) / logprobs.length).toFixed(4));
}

/** Neighbours of one author and phase as one stroke. */
function joined(strokes) {
  const found = [];
  for (const one of strokes) {
    const last = found.at(-1);
    if (last && last.author === one.author && last.phase === one.phase) found[found.length - 1] = { ...last, text: last.text + one.text, tokens: last.tokens + one.tokens };
    else found.push(one);
  }
  return found;
}
