// The service behind the page: its methods, and streams of chains. The key stays in memory.

import type { AnyEvent, ChainReport, ErrorReply, MethodList } from "../data/types";
import type { Writing } from "../trace/timeline";
import type { Ask } from "./settings";

/** An error of the service: its status, its words, and the field that it names. */
export class ServiceError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly param: string | null = null,
  ) {
    super(message);
  }
}

interface Packet {
  index: number;
  chain: number[];
  event?: AnyEvent;
  delta?: Writing;
}

/** What a stream tells: an event or new text, each with the way to its chain, or the report at the end. */
export type News = { path: number[]; event: AnyEvent } | { path: number[]; delta: Writing } | { report: ChainReport };

export class Service {
  private key = "";

  constructor(private readonly base = new URL(".", location.href)) {}

  useKey(key: string): void {
    this.key = key.trim();
  }

  async methods(): Promise<MethodList> {
    const reply = await fetch(new URL("v1/methods", this.base), { headers: this.headers() });
    if (!reply.ok) throw await errorOf(reply);
    return reply.json();
  }

  /** Streams one chain. Throws `ServiceError`, and what `signal` was aborted with. */
  async *ask(ask: Ask, signal: AbortSignal): AsyncGenerator<News> {
    const body = JSON.stringify({ ...ask, stream: true, events: "live" });
    const headers = { ...this.headers(), "content-type": "application/json" };
    const reply = await fetch(new URL("v1/chat/completions", this.base), { method: "POST", headers, body, signal });
    if (!reply.ok || !reply.body) throw await errorOf(reply);
    for await (const data of eventsOf(reply.body)) {
      if (data === "[DONE]") return;
      const { speculative, error } = JSON.parse(data) as { speculative?: Packet | ChainReport } & Partial<ErrorReply>;
      if (error) throw new ServiceError(reply.status, error.message, fieldOf(error));
      if (!speculative) continue;
      if (!("chain" in speculative)) yield { report: speculative };
      else if (speculative.event) yield { path: speculative.chain, event: speculative.event };
      else if (speculative.delta) yield { path: speculative.chain, delta: speculative.delta };
    }
    throw new ServiceError(reply.status, "the stream ended before the chain did");
  }

  private headers(): Record<string, string> {
    return this.key ? { authorization: `Bearer ${this.key}` } : {};
  }
}

/** The data of server-sent events. */
async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.startsWith("data: ")) yield line.slice("data: ".length);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** The field that an error is about: a prompt that is too long has no field in the service's words. */
function fieldOf({ param, code }: ErrorReply["error"]): string | null {
  return param ?? (code === "context_length_exceeded" ? "messages" : null);
}

async function errorOf(reply: Response): Promise<ServiceError> {
  try {
    const { error } = (await reply.json()) as ErrorReply;
    return new ServiceError(reply.status, error.message, fieldOf(error));
  } catch {
    return new ServiceError(reply.status, `the service replied with the status ${reply.status}`);
  }
}
