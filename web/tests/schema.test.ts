import { describe, expect, it } from "vitest";
import { boundsOf, fieldsOf, readField } from "../src/live/schema";

const SCHEMA = {
  properties: {
    share: { anyOf: [{ type: "number", minimum: 0, maximum: 1 }, { type: "null" }], default: null, description: "the share" },
    chunk: { type: "integer", minimum: 1, default: 16 },
    unit: { enum: ["chunk", "step"], default: "chunk", type: "string" },
    fast: { type: "boolean", default: false },
    words: { type: "array", default: ["Wait"] },
  },
};

describe("fields of a schema", () => {
  const fields = Object.fromEntries(fieldsOf(SCHEMA).map((field) => [field.name, field]));

  it("have the kinds of the schema", () => {
    expect(Object.values(fields).map((field) => field.kind)).toEqual(["number", "integer", "choice", "switch", "text"]);
    expect(fields.share!.optional).toBe(true);
    expect(boundsOf(fields.chunk!)).toBe("at least 1, default 16");
  });

  it("read what is typed", () => {
    expect(readField(fields.share!, " 0.25 ")).toBe(0.25);
    expect(readField(fields.share!, "")).toBeUndefined();
    expect(readField(fields.unit!, "step")).toBe("step");
    expect(readField(fields.fast!, "true")).toBe(true);
    expect(readField(fields.words!, '["Hm"]')).toEqual(["Hm"]);
  });

  it("refuse what is out of bounds", () => {
    expect(() => readField(fields.share!, "2")).toThrow("must be at most 1, got 2");
    expect(() => readField(fields.chunk!, "0")).toThrow("must be at least 1, got 0");
    expect(() => readField(fields.chunk!, "1.5")).toThrow("must be a whole number, got 1.5");
    expect(() => readField(fields.share!, "many")).toThrow("must be a number, got many");
    expect(() => readField(fields.words!, "[1,")).toThrow("must be JSON");
  });
});
