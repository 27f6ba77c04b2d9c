// Errors of the service that name a field, at that field.

import type { MethodList } from "../data/types";
import { fieldsOf } from "./schema";
import type { Mistakes, Settings } from "./settings";

type Refused = { error: string; param: string | null };
const OWN: Record<string, string> = {
  max_tokens: "tokens",
  max_seconds: "seconds",
  temperature: "temperature",
  seed: "seed",
  messages: "problem",
};

/** The mistakes that the service found, one refused run for each contender. */
export function refusals(runs: Refused[], settings: Settings, list: Pick<MethodList, "methods" | "wrappers">): Mistakes {
  const found: Mistakes = new Map();
  runs.forEach(({ error, param }, place) => {
    if (!error) return;
    const own = OWN[param?.split(".").at(-1) ?? ""];
    const places = placesOf(settings, place, list);
    const named = places.find(({ name }) => param?.split(".").at(-1) === name || names(error, name));
    const wrapped = param === "with" ? places.find((each) => each.place.includes(".with.")) : undefined;
    const at = own ?? (named ?? wrapped)?.place;
    if (at) found.set(at, error);
  });
  return found;
}

/** The fields of a contender: those of its wrappers that were filled in, then those of its method. */
function placesOf({ contenders }: Settings, place: number, { methods, wrappers }: Pick<MethodList, "methods" | "wrappers">) {
  const contender = contenders[place];
  if (!contender) return [];
  const around = contender.wrappers.flatMap((wrapper, number) =>
    fieldsOf(wrappers.find(({ name }) => name === wrapper.name)?.schema ?? {})
      .filter(({ name }) => wrapper.typed[name]?.trim())
      .map(({ name }) => ({ name, place: `${place}.with.${number}.${name}` })),
  );
  const own = fieldsOf(methods.find(({ name }) => name === contender.name)?.schema ?? {});
  return [...around, ...own.map(({ name }) => ({ name, place: `${place}.params.${name}` }))];
}

/** Whether the beginning of an error, before its first colon, names a field. */
function names(error: string, field: string): boolean {
  return (error.split(":", 1)[0] ?? "").split(/[^\w]+/).includes(field);
}
