import { boundsOf, type Field, fieldsOf } from "./schema";
import { type Choice, type Mistakes, named } from "./settings";

/** The fields of a method or wrapper, generated from its schema. `place` is where mistakes name them. */
export function Fields({
  choice,
  schema,
  place,
  mistakes,
  most,
  change,
}: {
  choice: Choice;
  schema: Record<string, unknown>;
  place: string;
  mistakes: Mistakes;
  most?: number;
  change: (choice: Choice) => void;
}) {
  const fields = fieldsOf(schema, most);
  if (!fields.length) return null;
  return (
    <div class="fields">
      {fields.map((field) => (
        <FieldView
          key={field.name}
          field={field}
          id={`${place}.${field.name}`}
          typed={choice.typed[field.name] ?? ""}
          mistake={mistakes.get(`${place}.${field.name}`)}
          change={(text) => change({ ...choice, typed: { ...choice.typed, [field.name]: text } })}
        />
      ))}
    </div>
  );
}

function FieldView({
  field,
  id,
  typed,
  mistake,
  change,
}: {
  field: Field;
  id: string;
  typed: string;
  mistake?: string;
  change: (text: string) => void;
}) {
  const about = `${id}.about`;
  const common = {
    id,
    "aria-describedby": about,
    "aria-invalid": mistake ? true : undefined,
    onChange: (event: Event) => change((event.currentTarget as HTMLInputElement).value),
  };
  const usual = field.usual === null || field.usual === undefined ? "" : String(field.usual);
  return (
    <div class={`field${mistake ? " bad" : ""}`}>
      <label for={id}>{field.name}</label>
      {field.kind === "choice" || field.kind === "switch" ? (
        <select {...common} value={typed}>
          <option value="">{usual ? `${usual} (default)` : "default"}</option>
          {(field.kind === "switch" ? ["true", "false"] : field.choices).map((choice) => (
            <option key={choice} value={String(choice)}>
              {String(choice)}
            </option>
          ))}
        </select>
      ) : (
        <input
          {...common}
          type="text"
          inputMode={field.kind === "text" ? "text" : "decimal"}
          autocomplete="off"
          value={typed}
          placeholder={usual}
          onInput={common.onChange}
        />
      )}
      <p class={mistake ? "mistake" : "hint"} id={about}>
        {mistake ? named(field.name, mistake) : [field.about, boundsOf(field)].filter(Boolean).join(" · ")}
      </p>
    </div>
  );
}
