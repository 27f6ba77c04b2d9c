// Errors of the service that name a field, at that field.

import type { Mistakes } from "./settings";

type Refused = { error: string; param: string | null };
const OWN: Record<string, string> = {
  max_tokens: "tokens",
  max_seconds: "seconds",
  temperature: "temperature",
  seed: "seed",
  messages: "problem",
};

/** The mistakes that the service found, one refused run for each contender. */
export function refusals(runs: Refused[]): Mistakes {
  const found: Mistakes = new Map();
  runs.forEach(({ error, param }, place) => {
    const at = error && param ? placeOf(param, place) : undefined;
    if (at) found.set(at, error);
  });
  return found;
}

/** The place of a field of the form: `with[0].ballots` of a request is the first wrapper's. */
function placeOf(param: string, place: number): string | undefined {
  if (/^(params\.|with\[)/.test(param)) return `${place}.${param.replace(/\[(\d+)\]/, ".$1")}`;
  return OWN[param];
}
