// Fields of a form, from the JSON schema of a method's parameters.

export interface Field {
  name: string;
  about: string;
  kind: "number" | "integer" | "switch" | "choice" | "text";
  choices: (string | number)[];
  usual: unknown;
  optional: boolean;
  least?: number;
  most?: number;
  above?: number;
  below?: number;
}

interface Schema {
  type?: string;
  enum?: (string | number)[];
  const?: string | number;
  anyOf?: Schema[];
  default?: unknown;
  description?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  properties?: Record<string, Schema>;
}

/** The fields of a method, in the order of its schema. `most`: the largest whole number that the service takes. */
export function fieldsOf(schema: Record<string, unknown>, most = Number.POSITIVE_INFINITY): Field[] {
  const fields = Object.entries((schema as Schema).properties ?? {}).map(([name, property]) => fieldOf(name, property));
  return fields.map((field) => (field.kind === "integer" && Number.isFinite(most) ? { ...field, most: lesser(field.most, most) } : field));
}

function lesser(own: number | undefined, most: number): number {
  return own === undefined ? most : Math.min(own, most);
}

function fieldOf(name: string, property: Schema): Field {
  const options = property.anyOf ?? [property];
  const real = options.find((option) => option.type !== "null") ?? property;
  const choices =
    real.enum ??
    (real.const === undefined
      ? options.flatMap((option) => option.enum ?? (option.const === undefined ? [] : [option.const]))
      : [real.const]);
  const kinds: Record<string, Field["kind"]> = { number: "number", integer: "integer", boolean: "switch" };
  return {
    name,
    about: property.description ?? "",
    kind:
      choices.length && options.every((option) => option.enum || option.const !== undefined || option.type === "null")
        ? "choice"
        : (kinds[real.type ?? ""] ?? "text"),
    choices,
    usual: property.default,
    optional: options.some((option) => option.type === "null"),
    least: real.minimum,
    most: real.maximum,
    above: real.exclusiveMinimum,
    below: real.exclusiveMaximum,
  };
}

/** What a typed text means; undefined leaves the field to its default. Throws an Error that says what is wrong. */
export function readField(field: Field, typed: string): unknown {
  const text = typed.trim();
  if (text === "") return undefined;
  if (field.kind === "choice" || field.kind === "switch") return chosenOf(field, text);
  if (field.kind === "text") return listed(text);
  const value = Number(text);
  if (!Number.isFinite(value)) throw new Error(`must be a number, got ${text}`);
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) throw new Error(`must be a number in decimal digits, got ${text}`);
  if (field.kind === "integer" && Number.isInteger(value) && !Number.isSafeInteger(value)) throw new Error(`must be smaller, got ${text}`);
  if (field.kind === "integer" && !Number.isInteger(value)) throw new Error(`must be a whole number, got ${text}`);
  const { least, most, above, below } = field;
  if (least !== undefined && value < least) throw new Error(`must be at least ${least}, got ${text}`);
  if (most !== undefined && value > most) throw new Error(`must be at most ${most}, got ${text}`);
  if (above !== undefined && value <= above) throw new Error(`must be above ${above}, got ${text}`);
  if (below !== undefined && value >= below) throw new Error(`must be below ${below}, got ${text}`);
  return value;
}

function chosenOf(field: Field, text: string): unknown {
  const choices = field.kind === "switch" ? [true, false] : field.choices;
  const found = choices.find((choice) => String(choice) === text);
  if (found === undefined) throw new Error(`must be one of ${choices.join(", ")}, got ${text}`);
  return found;
}

/** The bounds of a field in words. */
export function boundsOf({ least, most, above, below, usual, optional }: Field): string {
  const told: string[] = [];
  if (least !== undefined) told.push(`at least ${least}`);
  if (above !== undefined) told.push(`above ${above}`);
  if (most !== undefined) told.push(`at most ${most}`);
  if (below !== undefined) told.push(`below ${below}`);
  if (usual !== undefined && usual !== null) told.push(`default ${typeof usual === "object" ? JSON.stringify(usual) : usual}`);
  else if (optional) told.push("may be empty");
  return told.join(", ");
}

/** A list or an object where the text is one, else the text. */
function listed(text: string): unknown {
  if (!/^[[{]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("must be JSON");
  }
}
