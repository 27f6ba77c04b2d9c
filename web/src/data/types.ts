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
