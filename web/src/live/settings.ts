// What is asked: a problem, the methods that solve it, and the limits of each chain. It travels in the page's address.

import type { MethodList } from "../data/types";
import { fieldsOf, readField } from "./schema";

/** A method or a wrapper, with the text of its fields as typed. */
export interface Choice {
  name: string;
  typed: Record<string, string>;
}

export interface Contender extends Choice {
  wrappers: Choice[];
}

export interface Settings {
  problem: string;
  contenders: Contender[];
  seed: string;
  temperature: string;
  tokens: string;
  seconds: string;
}

export const MOST = 4;

/** Wrong input: the place of the field and what is wrong. */
export type Mistakes = Map<string, string>;

/** A mistake with the name of its field, which the service's own words hold already. */
export function named(name: string, mistake: string): string {
  return mistake.startsWith("must") ? `${name} ${mistake}` : mistake;
}

/** The body of a request for one contender. */
export interface Ask {
  method: string;
  params?: Record<string, unknown>;
  with?: string[];
  messages: { role: "user"; content: string }[];
  seed?: number;
  temperature?: number;
  max_tokens?: number;
  max_seconds?: number;
}

/** The library's own default runs with every engine but shows no drafts: the page begins with one that does, if the pair can score. */
const [PLAIN, DRAFTING] = ["random_switch", "likelihood_verify"];

/** The first settings of the page: the default of the service, if it has one of its own. */
export function usual(list: MethodList): Settings {
  const preset = list.presets.find((one) => one.name === list.default);
  const drafts = list.default === PLAIN && list.methods.some((one) => one.name === DRAFTING && one.missing === undefined);
  const contender = preset ? contenderOf(preset) : { name: drafts ? DRAFTING : list.default, typed: {}, wrappers: [] };
  const example = list.examples[2] ?? list.examples[0];
  return { problem: example?.problem ?? "", contenders: [contender], seed: "4", temperature: "", tokens: "", seconds: "" };
}

/** The contender of a preset. */
export function contenderOf(preset: { method: string; params: Record<string, unknown>; wrappers: string[] }): Contender {
  const typed = Object.fromEntries(Object.entries(preset.params).map(([name, value]) => [name, spelled(value)]));
  return { name: preset.method, typed, wrappers: preset.wrappers.map(parsed) };
}

/** Reads all fields into requests, or says what is wrong with them. */
export function asksOf(settings: Settings, list: MethodList): { asks: Ask[]; mistakes: Mistakes } {
  const mistakes: Mistakes = new Map();
  if (!settings.problem.trim()) mistakes.set("problem", "must not be empty");
  const size = new TextEncoder().encode(settings.problem).length;
  if (size > list.limits.max_prompt!)
    mistakes.set("problem", `must have at most ${list.limits.max_prompt} bytes (--max-prompt), got ${size}; shorten it`);
  const number = (place: "seed" | "temperature" | "tokens" | "seconds", kind: "integer" | "number", least: number, most?: number) => {
    try {
      return readField({ name: place, about: "", kind, choices: [], usual: null, optional: true, least, most }, settings[place]) as
        | number
        | undefined;
    } catch (error) {
      mistakes.set(place, (error as Error).message);
      return undefined;
    }
  };
  const common = {
    messages: [{ role: "user" as const, content: settings.problem }],
    seed: number("seed", "integer", 0),
    temperature: number("temperature", "number", 0, 2),
    max_tokens: number("tokens", "integer", 1, list.limits.max_tokens),
    max_seconds: number("seconds", "number", 0.001, list.limits.max_seconds),
  };
  const asks = settings.contenders.map((contender, place) => {
    const card = list.methods.find((one) => one.name === contender.name);
    if (!card) mistakes.set(`${place}.method`, `the service has no method ${contender.name}`);
    const params = read(contender, card?.schema ?? {}, `${place}.params`, mistakes, list.limits.max_param);
    const unknown = card ? unknownOf(contender, card.schema) : "";
    if (unknown) mistakes.set(`${place}.method`, `${contender.name} has no parameter ${unknown}; choose the method again`);
    const wrappers = contender.wrappers.map((wrapper, number) => {
      const found = list.wrappers.find((one) => one.name === wrapper.name);
      if (!found) mistakes.set(`${place}.with.${number}`, `the service has no wrapper ${wrapper.name}; remove it`);
      const strange = found ? unknownOf(wrapper, found.schema) : "";
      if (strange) mistakes.set(`${place}.with.${number}`, `${wrapper.name} has no parameter ${strange}; remove it`);
      const given = read(wrapper, found?.schema ?? {}, `${place}.with.${number}`, mistakes, list.limits.max_param);
      return spell(wrapper.name, given);
    });
    return { method: contender.name, ...(Object.keys(params).length && { params }), ...(wrappers.length && { with: wrappers }), ...common };
  });
  return { asks, mistakes };
}

/** The filled fields that a method or a wrapper does not have. */
function unknownOf({ typed }: Choice, schema: Record<string, unknown>): string {
  return Object.keys(typed)
    .filter((name) => typed[name] && !Object.hasOwn(propertiesOf(schema), name))
    .join(", ");
}

/** The label of a contender: its method, parameters and wrappers, as on the command line. */
export function labelOf(ask: Pick<Ask, "method" | "params" | "with">): string {
  return [...[...(ask.with ?? [])].reverse(), spell(ask.method, ask.params ?? {})].join("*");
}

export function spell(name: string, params: Record<string, unknown>): string {
  const fields = Object.entries(params).map(([field, value]) => `${field}=${inSpec(value)}`);
  return fields.length ? `${name}(${fields.join(", ")})` : name;
}

function spelled(value: unknown): string {
  return value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** A value as it stands in a spelling: in quotes where it would end the field. */
function inSpec(value: unknown): string {
  const text = spelled(value);
  return /[,()="*]|^\s|\s$/.test(text) ? JSON.stringify(text) : text;
}

function parsed(spec: string): Choice {
  const [, name = spec, inside = ""] = /^([^(]*)(?:\(([\s\S]*)\))?$/.exec(spec) ?? [];
  const fields = [...inside.matchAll(/\s*([^=,]+)=\s*("(?:[^"\\]|\\.)*"|[^,]*)/g)];
  const typed = Object.fromEntries(fields.map(([, field, value]) => [field!.trim(), unquoted(value!.trim())]));
  return { name: name.trim(), typed };
}

function unquoted(value: string): string {
  return /^"[\s\S]*"$/.test(value) ? String(JSON.parse(value)) : value;
}

function propertiesOf(schema: Record<string, unknown>): object {
  return (schema.properties as object | undefined) ?? {};
}

function read(choice: Choice, schema: Record<string, unknown>, place: string, mistakes: Mistakes, most?: number): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const field of fieldsOf(schema, most)) {
    try {
      const value = readField(field, choice.typed[field.name] ?? "");
      if (value !== undefined) found[field.name] = value;
    } catch (error) {
      mistakes.set(`${place}.${field.name}`, (error as Error).message);
    }
  }
  return found;
}

/** The settings as the part of an address behind `#`. */
export function toAddress(settings: Settings): string {
  return `#ask=${encodeURIComponent(JSON.stringify(settings))}`;
}

/** The settings of an address, or null if it has none that can be read. */
export function fromAddress(hash: string): Settings | null {
  if (!hash.startsWith("#ask=")) return null;
  try {
    const found: unknown = JSON.parse(decodeURIComponent(hash.slice("#ask=".length)));
    return isSettings(found) ? found : null;
  } catch {
    return null;
  }
}

function isSettings(found: unknown): found is Settings {
  if (typeof found !== "object" || found === null) return false;
  const one = found as Record<string, unknown>;
  const texts = ["problem", "seed", "temperature", "tokens", "seconds"].every((name) => typeof one[name] === "string");
  const { contenders } = one;
  return (
    texts &&
    Array.isArray(contenders) &&
    contenders.length > 0 &&
    contenders.length <= MOST &&
    contenders.every((each) => isChoice(each) && Array.isArray(each.wrappers) && each.wrappers.every(isChoice))
  );
}

function isChoice(found: unknown): found is Choice & { wrappers?: unknown } {
  if (typeof found !== "object" || found === null) return false;
  const { name, typed } = found as Record<string, unknown>;
  return (
    typeof name === "string" &&
    typeof typed === "object" &&
    typed !== null &&
    Object.values(typed).every((value) => typeof value === "string")
  );
}
