// Written by `python scripts/web_types.py` from the types of the library; a test holds them together.

export type AnyEvent = Started | Wrote | Drafted | Scored | Rewarded | Asked | Accepted | Rejected | Inserted | Rewound | Noted | Instructed | Chose | Prefilled | Cancelled | Degraded | Child | Became | Stopped | Answered | Ended;

export interface Accepted {
  event: "accepted";
  at: number;
  drafts: number[];
  judgement: Judgement | null;
  cut: [number, number] | null;
}

export interface Advice {
  text: string;
  prompt_tokens: number;
  completion_tokens: number;
  seconds: number;
}

export interface Answered {
  event: "answered";
  at: number;
  call: Call;
  seed: number;
  cue: string;
  proposal: Proposal;
}

export interface Asked {
  event: "asked";
  at: number;
  call: Call;
  seed: number;
  question: string;
  after: number | null;
  replies: string[];
  completions: Completion[];
  choices: string[];
}

export interface Axis {
  key: "api" | "big_tokens" | "flops" | "gpu" | "seconds" | "share_kept" | "share_spent";
  name: string;
  title: string;
  unit: string;
}

export interface Became {
  event: "became";
  at: number;
  index: number;
}

export interface Call {
  role: string;
  requests: number;
  prompt_tokens: number;
  cached_tokens: number;
  produced_tokens: number;
  scored_tokens: number;
  seconds: number;
  shared_cache_tokens: number;
  began: number;
  inner: InnerWork | null;
  beyond_tokens: number;
}

export interface Cancelled {
  event: "cancelled";
  at: number;
  call: Call;
  verb: string;
  seed: number;
  error: string;
  lost: boolean;
  proposal: Proposal | null;
}

export interface ChainPage {
  events: (Started | Wrote | Drafted | Scored | Rewarded | Asked | Accepted | Rejected | Inserted | Rewound | Noted | Instructed | Chose | Prefilled | Cancelled | Degraded | Child | Became | Stopped | Answered | Ended)[];
  mark: Mark;
  expected: string | null;
  right: boolean | null;
  currency: string;
  prices: Record<string, TokenPriceCard>;
  priced: string;
  library: string;
}

export interface ChainReport {
  finish_reason: string;
  usage: Record<string, Usage>;
  method?: string;
  params?: Record<string, unknown>;
  ignored?: string[];
  seed?: number;
  seconds?: number;
  boxed?: string | null;
  degraded?: string | null;
  advice?: Advice[];
  choices?: Chosen[];
  events?: unknown[][];
}

export interface Child {
  event: "child";
  at: number;
  index: number;
  seed: number;
  events: (Started | Wrote | Drafted | Scored | Rewarded | Asked | Accepted | Rejected | Inserted | Rewound | Noted | Instructed | Chose | Prefilled | Cancelled | Degraded | Child | Became | Stopped | Answered | Ended)[];
  instruction: string;
}

export interface Chose {
  event: "chose";
  at: number;
  way: string;
  reason: string;
}

export interface Chosen {
  way: string;
  reason: string;
  at: number;
}

export interface Colour {
  light: string;
  dark: string;
}

export interface Completion {
  ids: number[];
  finish: "context" | "cut" | "end" | "length" | "loop" | "no room" | "stop" | "until";
  end_id: number | null;
  logprobs: number[] | null;
  top_logprobs: [number, number][][] | null;
  choice_logprobs: number[] | null;
  authors: [string, number][];
  mean_logprob?: number;
  mean_entropy?: number;
}

export interface Contents {
  library: string;
  summaries: MethodSummary[];
  frontiers: Frontier[];
  problems: ReportProblem[];
  marks: Record<string, Mark>;
  rows: Row[];
  runs: Record<string, unknown>[];
  hardware: HardwareForecast | null;
}

export interface Contrast {
  task: string;
  label: string;
  against: string;
  problems: number;
  chains: number;
  difference: number;
  interval: [number, number];
  p: number;
  share_kept: [number | null, number | null];
  costs: Record<string, number>;
  p_here: number | null;
}

export interface Cost {
  unit: string;
  chain: number;
  right: number | null;
  parts: Record<string, number>;
  hardware: Record<string, string>;
}

export interface Degraded {
  event: "degraded";
  at: number;
  role: string;
  survivor: string;
  error: string;
}

export interface Drafted {
  event: "drafted";
  at: number;
  call: Call;
  seed: number;
  proposals: Proposal[];
}

export interface Ended {
  event: "ended";
  at: number;
  finish_reason: "cancelled" | "context" | "length" | "loop" | "stop" | "time";
  seconds: number;
}

export interface EngineCard {
  name: string;
  dialect: string;
  fingerprint: string;
  context: number;
}

export interface ErrorDetail {
  message: string;
  type: string;
  param: string | null;
  code: string | null;
}

export interface ErrorReply {
  error: ErrorDetail;
}

export interface Estimate {
  value: number;
  low: number;
  high: number;
}

export interface Example {
  problem: string;
  answer: string;
  level: number | string;
}

export interface Frontier {
  task: string;
  axis: Axis;
  points: Point[];
  lines: number[][];
  left_out: string;
}

export interface HardwareCard {
  profile: string;
  hardware: string;
  software: string;
  date: string;
  big: string;
  small: string;
  layout: string;
  placed: string;
  gpus: number;
  gpu_hour: number | null;
}

export interface HardwareForecast {
  card: HardwareCard;
  methods: PredictedMethod[];
}

export interface InnerWork {
  calls: Call[];
  chains: ((Started | Wrote | Drafted | Scored | Rewarded | Asked | Accepted | Rejected | Inserted | Rewound | Noted | Instructed | Chose | Prefilled | Cancelled | Degraded | Child | Became | Stopped | Answered | Ended)[])[];
}

export interface Inserted {
  event: "inserted";
  at: number;
  text: string;
  phase: "answer" | "thinking";
}

export interface Instructed {
  event: "instructed";
  at: number;
  role: string;
  text: string;
  tokens: number;
}

export interface Judgement {
  score: number;
  threshold: number | null;
  role: string | null;
  measure: string | null;
}

export interface Mark {
  colour: Colour;
  symbol: Symbol;
  hollow: boolean;
}

export interface Message {
  role: "assistant" | "system" | "user";
  content: string;
}

export interface MethodCard {
  name: string;
  about: string;
  schema: Record<string, unknown>;
  mark: Mark;
  append_only: boolean;
  training: boolean;
  missing?: string;
}

export interface MethodList {
  methods: MethodCard[];
  wrappers: MethodCard[];
  presets: PresetCard[];
  default: string;
  engines: Record<string, string>;
  examples: Example[];
  limits: Record<string, number>;
  temperature: number;
  currency: string;
  prices: Record<string, TokenPriceCard>;
  priced: string;
  pair: Record<string, string>;
  library: string;
  loaded: boolean;
  keyed: boolean;
  without_logprobs: string[];
}

export interface MethodSummary {
  task: string;
  label: string;
  method: string;
  params: Record<string, unknown>;
  problems: number;
  epochs: number;
  chains: number;
  accuracy: number;
  interval: [number, number];
  share_kept: number | null;
  share_spent: number | null;
  seconds: number;
  speed: number | null;
  finish_reasons: Record<string, number>;
  usage: Record<string, Usage>;
  pass_at: Record<string, Estimate>;
  maj_at: Record<string, Estimate>;
  costs: Record<string, Cost>;
  contrasts: Contrast[];
  control_of: string | null;
  degraded: number;
  settings: Record<string, unknown>;
  problem_set: string;
  folder: string;
  mean_concurrency: number;
  length: number;
  idle_roles: string[];
}

export interface Noted {
  event: "noted";
  at: number;
  role: string;
  text: string;
  tokens: number;
}

export interface PackedChain {
  kinds: ([string, "discarded" | "kept" | "note", "answer" | "thinking", number, string])[];
  kind_numbers: number[];
  texts: string[];
  tokens: number[];
  mean_logprobs: (number | null)[];
  readings: ([string, number] | null)[];
  usage: Record<string, Usage>;
}

export interface Point {
  label: string;
  method: string;
  x: number;
  accuracy: number;
  low: number;
  high: number;
  control_of: string | null;
  mark: Mark;
  best: boolean;
}

export interface PredictedMethod {
  task: string;
  label: string;
  predictions: Prediction[];
}

export interface Prediction {
  chains: number;
  latency_s: number;
  chains_per_gpu_hour: number;
  against_big: number | null;
  money: number | null;
}

export interface Prefilled {
  event: "prefilled";
  at: number;
  call: Call;
  seed: number;
  completion: Completion;
}

export interface PresetCard {
  name: string;
  method: string;
  params: Record<string, unknown>;
  wrappers: string[];
}

export interface Problem {
  messages: Message[];
  sampling: Sampling;
  max_tokens: number;
  max_produced: number | null;
  max_seconds: number | null;
  seed: number;
  answer_instruction: string | null;
  stop: string[];
  raw: boolean;
  degrade: "big" | "fail" | "small";
  prefill_every: number;
  answer_tokens: number | null;
  max_thinking: number | null;
}

export interface Proposal {
  id: number;
  parent: number | null;
  text: string;
  completion: Completion;
  dropped: number;
  phase: "answer" | "thinking";
}

export interface Rejected {
  event: "rejected";
  at: number;
  drafts: number[];
  reason: string;
  judgement: Judgement | null;
}

export interface ReportProblem {
  task: string;
  id: string;
  level: string;
  gold: string;
  text: string;
}

export interface Rewarded {
  event: "rewarded";
  at: number;
  call: Call;
  drafts: number[];
  rewards: number[];
  digest: string;
}

export interface Rewound {
  event: "rewound";
  at: number;
  pieces: number;
  entries: number | null;
}

export interface Row {
  task: string;
  label: string;
  problem: string;
  epoch: number;
  correct: boolean;
  found: string | null;
  why: string;
  finish_reason: string;
  seconds: number;
  usage: Record<string, Usage>;
  block: string | null;
  missing: string;
  answer: string;
  degraded: string | null;
}

export interface Sampling {
  temperature: number;
  top_p: number;
  top_k: number;
}

export interface SavedResult {
  text: string;
  answer: string | null;
  reasoning: string;
  finish_reason: "cancelled" | "context" | "length" | "loop" | "stop" | "time" | null;
  method: string;
  params: Record<string, unknown>;
  seed: number;
  seconds: number;
  trace: SavedTrace;
  usage: Record<string, Usage>;
  degraded: string | null;
}

export interface SavedTrace {
  speculative_trace: number;
  events: (Started | Wrote | Drafted | Scored | Rewarded | Asked | Accepted | Rejected | Inserted | Rewound | Noted | Instructed | Chose | Prefilled | Cancelled | Degraded | Child | Became | Stopped | Answered | Ended)[];
}

export interface Scored {
  event: "scored";
  at: number;
  call: Call;
  drafts: number[];
  logprobs: number[][];
  digest: string;
  tops: [number, number][][][];
}

export interface Started {
  event: "started";
  at: number;
  problem: Problem;
  method: string;
  params: Record<string, unknown>;
  engines: Record<string, EngineCard>;
  library: string;
}

export interface Stopped {
  event: "stopped";
  at: number;
  reason: string;
  finish: "cancelled" | "context" | "length" | "loop" | "stop" | "time";
}

export interface Symbol {
  path: string;
  marker: string;
}

export interface TokenPriceCard {
  prompt: number;
  cached: number;
  produced: number;
}

export interface Usage {
  requests: number;
  prompt_tokens: number;
  cached_tokens: number;
  produced_tokens: number;
  kept_tokens: number;
  discarded_tokens: number;
  scored_tokens: number;
  seconds: number;
}

export interface Wrote {
  event: "wrote";
  at: number;
  call: Call;
  seed: number;
  proposal: Proposal;
}

/** The shape of a value in JSON. `event` is an event of any kind; a field that is not in `needs` may be missing. */
export type Shape =
  | "text" | "number" | "whole" | "truth" | "null" | "any" | "event"
  | { name: string } | { one: unknown[] } | { list: Shape } | { row: Shape[] } | { values: Shape } | { either: Shape[] }
  | { fields: Record<string, Shape>; needs: string[] };

export const SHAPES: Record<string, Shape> = {
  Accepted: {"fields": {"event": {"one": ["accepted"]}, "at": "number", "drafts": {"list": "whole"}, "judgement": {"either": [{"name": "Judgement"}, "null"]}, "cut": {"either": [{"row": ["whole", "whole"]}, "null"]}}, "needs": ["event", "drafts"]},
  Answered: {"fields": {"event": {"one": ["answered"]}, "at": "number", "call": {"name": "Call"}, "seed": "whole", "cue": "text", "proposal": {"name": "Proposal"}}, "needs": ["event", "call", "seed", "cue", "proposal"]},
  Asked: {"fields": {"event": {"one": ["asked"]}, "at": "number", "call": {"name": "Call"}, "seed": "whole", "question": "text", "after": {"either": ["whole", "null"]}, "replies": {"list": "text"}, "completions": {"list": {"name": "Completion"}}, "choices": {"list": "text"}}, "needs": ["event", "call", "seed", "question", "after", "replies", "completions"]},
  Became: {"fields": {"event": {"one": ["became"]}, "at": "number", "index": "whole"}, "needs": ["event", "index"]},
  Call: {"fields": {"role": "text", "requests": "whole", "prompt_tokens": "whole", "cached_tokens": "whole", "produced_tokens": "whole", "scored_tokens": "whole", "seconds": "number", "shared_cache_tokens": "whole", "began": "number", "inner": {"either": [{"name": "InnerWork"}, "null"]}, "beyond_tokens": "whole"}, "needs": ["role", "requests", "prompt_tokens", "cached_tokens", "produced_tokens", "scored_tokens", "seconds"]},
  Cancelled: {"fields": {"event": {"one": ["cancelled"]}, "at": "number", "call": {"name": "Call"}, "verb": "text", "seed": "whole", "error": "text", "lost": "truth", "proposal": {"either": [{"name": "Proposal"}, "null"]}}, "needs": ["event", "call", "verb"]},
  Child: {"fields": {"event": {"one": ["child"]}, "at": "number", "index": "whole", "seed": "whole", "events": {"list": "event"}, "instruction": "text"}, "needs": ["event", "index", "seed", "events"]},
  Chose: {"fields": {"event": {"one": ["chose"]}, "at": "number", "way": "text", "reason": "text"}, "needs": ["event", "way", "reason"]},
  Completion: {"fields": {"ids": {"list": "whole"}, "finish": {"one": ["context", "cut", "end", "length", "loop", "no room", "stop", "until"]}, "end_id": {"either": ["whole", "null"]}, "logprobs": {"either": [{"list": "number"}, "null"]}, "top_logprobs": {"either": [{"list": {"list": {"row": ["whole", "number"]}}}, "null"]}, "choice_logprobs": {"either": [{"list": "number"}, "null"]}, "authors": {"list": {"row": ["text", "whole"]}}, "mean_logprob": "number", "mean_entropy": "number"}, "needs": ["ids", "finish"]},
  Degraded: {"fields": {"event": {"one": ["degraded"]}, "at": "number", "role": "text", "survivor": "text", "error": "text"}, "needs": ["event", "role", "survivor", "error"]},
  Drafted: {"fields": {"event": {"one": ["drafted"]}, "at": "number", "call": {"name": "Call"}, "seed": "whole", "proposals": {"list": {"name": "Proposal"}}}, "needs": ["event", "call", "seed", "proposals"]},
  Ended: {"fields": {"event": {"one": ["ended"]}, "at": "number", "finish_reason": {"one": ["cancelled", "context", "length", "loop", "stop", "time"]}, "seconds": "number"}, "needs": ["event", "finish_reason", "seconds"]},
  EngineCard: {"fields": {"name": "text", "dialect": "text", "fingerprint": "text", "context": "whole"}, "needs": ["name", "dialect", "fingerprint", "context"]},
  InnerWork: {"fields": {"calls": {"list": {"name": "Call"}}, "chains": {"list": {"list": "event"}}}, "needs": ["calls"]},
  Inserted: {"fields": {"event": {"one": ["inserted"]}, "at": "number", "text": "text", "phase": {"one": ["answer", "thinking"]}}, "needs": ["event", "text", "phase"]},
  Instructed: {"fields": {"event": {"one": ["instructed"]}, "at": "number", "role": "text", "text": "text", "tokens": "whole"}, "needs": ["event", "role", "text", "tokens"]},
  Judgement: {"fields": {"score": "number", "threshold": {"either": ["number", "null"]}, "role": {"either": ["text", "null"]}, "measure": {"either": ["text", "null"]}}, "needs": ["score"]},
  Message: {"fields": {"role": {"one": ["assistant", "system", "user"]}, "content": "text"}, "needs": ["role", "content"]},
  Noted: {"fields": {"event": {"one": ["noted"]}, "at": "number", "role": "text", "text": "text", "tokens": "whole"}, "needs": ["event", "role", "text", "tokens"]},
  Prefilled: {"fields": {"event": {"one": ["prefilled"]}, "at": "number", "call": {"name": "Call"}, "seed": "whole", "completion": {"name": "Completion"}}, "needs": ["event", "call", "seed", "completion"]},
  Problem: {"fields": {"messages": {"list": {"name": "Message"}}, "sampling": {"name": "Sampling"}, "max_tokens": "whole", "max_produced": {"either": ["whole", "null"]}, "max_seconds": {"either": ["number", "null"]}, "seed": "whole", "answer_instruction": {"either": ["text", "null"]}, "stop": {"list": "text"}, "raw": "truth", "degrade": {"one": ["big", "fail", "small"]}, "prefill_every": "whole", "answer_tokens": {"either": ["whole", "null"]}, "max_thinking": {"either": ["whole", "null"]}}, "needs": ["messages"]},
  Proposal: {"fields": {"id": "whole", "parent": {"either": ["whole", "null"]}, "text": "text", "completion": {"name": "Completion"}, "dropped": "whole", "phase": {"one": ["answer", "thinking"]}}, "needs": ["id", "parent", "text", "completion", "dropped", "phase"]},
  Rejected: {"fields": {"event": {"one": ["rejected"]}, "at": "number", "drafts": {"list": "whole"}, "reason": "text", "judgement": {"either": [{"name": "Judgement"}, "null"]}}, "needs": ["event", "drafts", "reason"]},
  Rewarded: {"fields": {"event": {"one": ["rewarded"]}, "at": "number", "call": {"name": "Call"}, "drafts": {"list": "whole"}, "rewards": {"list": "number"}, "digest": "text"}, "needs": ["event", "call", "drafts", "rewards", "digest"]},
  Rewound: {"fields": {"event": {"one": ["rewound"]}, "at": "number", "pieces": "whole", "entries": {"either": ["whole", "null"]}}, "needs": ["event", "pieces"]},
  Sampling: {"fields": {"temperature": "number", "top_p": "number", "top_k": "whole"}, "needs": []},
  Scored: {"fields": {"event": {"one": ["scored"]}, "at": "number", "call": {"name": "Call"}, "drafts": {"list": "whole"}, "logprobs": {"list": {"list": "number"}}, "digest": "text", "tops": {"list": {"list": {"list": {"row": ["whole", "number"]}}}}}, "needs": ["event", "call", "drafts", "logprobs", "digest"]},
  Started: {"fields": {"event": {"one": ["started"]}, "at": "number", "problem": {"name": "Problem"}, "method": "text", "params": {"values": "any"}, "engines": {"values": {"name": "EngineCard"}}, "library": "text"}, "needs": ["event", "problem", "method", "params", "engines", "library"]},
  Stopped: {"fields": {"event": {"one": ["stopped"]}, "at": "number", "reason": "text", "finish": {"one": ["cancelled", "context", "length", "loop", "stop", "time"]}}, "needs": ["event", "reason", "finish"]},
  Wrote: {"fields": {"event": {"one": ["wrote"]}, "at": "number", "call": {"name": "Call"}, "seed": "whole", "proposal": {"name": "Proposal"}}, "needs": ["event", "call", "seed", "proposal"]},
};
