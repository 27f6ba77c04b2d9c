// The same request as code that works as pasted.

import type { Ask } from "./settings";

/** A command for curl. */
export function curl(ask: Ask, base: URL, keyed: boolean): string {
  const key = keyed ? ' -H "Authorization: Bearer $SPECULATIVE_API_KEY"' : "";
  return `curl ${quote(new URL("v1/chat/completions", base).href)} -H 'Content-Type: application/json'${key} -d ${quote(JSON.stringify(ask))}`;
}

/** A program for Python's standard library. */
export function python(ask: Ask, base: URL, keyed: boolean): string {
  const key = keyed ? ', "Authorization": "Bearer " + os.environ["SPECULATIVE_API_KEY"]' : "";
  return [
    keyed ? "import json, os" : "import json",
    "from urllib.request import Request, urlopen",
    "",
    `body = json.loads(${JSON.stringify(JSON.stringify(ask))})`,
    `request = Request(${JSON.stringify(new URL("v1/chat/completions", base).href)}, json.dumps(body).encode(), {"Content-Type": "application/json"${key}})`,
    "reply = json.load(urlopen(request))",
    'print(reply["choices"][0]["message"]["content"])',
    'print(reply["speculative"]["usage"])',
    "",
  ].join("\n");
}

/** A command line of the library. `pair`: the engine of each role that is not the library's own default. */
export function commandLine(ask: Ask, pair: Record<string, string>): string {
  const flags: [string, unknown][] = [
    ["seed", ask.seed],
    ["temperature", ask.temperature],
    ["max-tokens", ask.max_tokens],
    ["max-seconds", ask.max_seconds],
  ];
  const given = flags.filter(([, value]) => value !== undefined).map(([name, value]) => `--${name} ${value}`);
  const params = Object.entries(ask.params ?? {}).map(([name, value]) => flag(name, value));
  const wrappers = (ask.with ?? []).map((spec) => `--with ${quote(spec)}`);
  const problem = ask.messages[0]?.content ?? "";
  const placed = problem.startsWith("-") ? ["--", quote(problem)] : [];
  return [
    "speculative ask",
    ...(placed.length ? [] : [quote(problem)]),
    `--method ${quote(ask.method)}`,
    ...Object.entries(pair).map(([role, spec]) => `--${role} ${named(spec)}`),
    ...params,
    ...wrappers,
    ...given,
    ...placed,
  ].join(" ");
}

/** A variable of the environment stays one, in quotes. */
function named(spec: string): string {
  return spec.startsWith("$") ? `"${spec}"` : quote(spec);
}

function flag(name: string, value: unknown): string {
  const spelled = name.replaceAll("_", "-");
  if (typeof value === "boolean") return value ? `--${spelled}` : `--no-${spelled}`;
  return `--${spelled} ${quote(String(value))}`;
}

/** A text as one word of a POSIX shell. */
export function quote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
