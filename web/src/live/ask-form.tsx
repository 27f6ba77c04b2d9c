import type { MethodList } from "../data/types";
import { ContenderForm } from "./contender";
import { OpenDetails } from "./open-details";
import { type Mistakes, MOST, named, type Settings } from "./settings";

interface Props {
  settings: Settings;
  list: MethodList;
  mistakes: Mistakes;
  running: boolean;
  /** Whether a chain is written, or played again. */
  moving: boolean;
  change: (settings: Settings) => void;
  start: () => void;
  cancel: () => void;
}

const LIMITS: ["seed" | "temperature" | "tokens" | "seconds", string, string][] = [
  ["seed", "seed", "the same seed gives the same chain; empty: drawn by the service"],
  ["temperature", "temperature", "0 takes the likeliest token"],
  ["tokens", "budget in tokens", "of the chain and its answer together"],
  ["seconds", "budget in seconds", "then the chain answers with what it has"],
];

/** The problem, the methods and the limits. Enter starts; Escape cancels. */
export function AskForm({ settings, list, mistakes, running, moving, change, start, cancel }: Props) {
  const { contenders } = settings;
  const usual = { seed: "drawn", temperature: String(list.temperature), tokens: String(list.limits.default_tokens), seconds: "no limit" };
  const put = (place: number, next: Settings["contenders"][number]) =>
    change({ ...settings, contenders: contenders.map((one, at) => (at === place ? next : one)) });
  return (
    <form
      class="ask"
      aria-label="ask"
      onSubmit={(event) => {
        event.preventDefault();
        start();
      }}
    >
      <Problem settings={settings} list={list} mistake={mistakes.get("problem")} change={change} start={start} />
      {contenders.map((contender, place) => (
        <ContenderForm
          key={place}
          contender={contender}
          place={place}
          list={list}
          mistakes={mistakes}
          change={(next) => put(place, next)}
          remove={contenders.length > 1 ? () => change({ ...settings, contenders: contenders.filter((_, at) => at !== place) }) : null}
        />
      ))}
      {contenders.length < MOST && (
        <button type="button" class="plain" onClick={() => change({ ...settings, contenders: [...contenders, another(settings, list)] })}>
          + Compare with another method
        </button>
      )}
      <OpenDetails title="Seed, temperature and budget" kind="limits" wrong={LIMITS.some(([name]) => mistakes.has(name))}>
        <div class="fields">
          {LIMITS.map(([name, title, about]) => (
            <div key={name} class={`field${mistakes.has(name) ? " bad" : ""}`}>
              <label for={name}>{title}</label>
              <input
                id={name}
                type="text"
                inputMode="decimal"
                autocomplete="off"
                value={settings[name]}
                placeholder={usual[name]}
                aria-invalid={mistakes.has(name) || undefined}
                aria-describedby={`${name}.about`}
                onInput={(event) => change({ ...settings, [name]: event.currentTarget.value })}
              />
              <p class={mistakes.has(name) ? "mistake" : "hint"} id={`${name}.about`}>
                {mistakes.has(name) ? named(title, mistakes.get(name)!) : about}
              </p>
            </div>
          ))}
        </div>
      </OpenDetails>
      <div class="go">
        {/* aria-disabled, since a button that is disabled while it has the focus loses it */}
        <button type="submit" class="primary" aria-disabled={running}>
          {contenders.length > 1 ? `Start ${contenders.length} chains` : "Start"} <kbd>Enter</kbd>
        </button>
        <button type="button" class="plain" aria-disabled={!moving} onClick={cancel}>
          Cancel <kbd>Esc</kbd>
        </button>
      </div>
    </form>
  );
}

function Problem({ settings, list, mistake, change, start }: Pick<Props, "settings" | "list" | "change" | "start"> & { mistake?: string }) {
  return (
    <div class={`field problem-box${mistake ? " bad" : ""}`}>
      <label for="problem">Problem</label>
      <textarea
        id="problem"
        ref={focusOnce}
        rows={5}
        dir="auto"
        value={settings.problem}
        aria-describedby="problem.about"
        aria-invalid={mistake ? true : undefined}
        onInput={(event) => change({ ...settings, problem: event.currentTarget.value })}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          start();
        }}
      />
      <p class={mistake ? "mistake" : "hint"} id="problem.about">
        {mistake ? named("The problem", mistake) : "Shift and Enter begin a new line."}
      </p>
      <div class="examples" role="group" aria-label="examples">
        {list.examples.map(({ problem, level }) => (
          <button
            key={problem}
            type="button"
            class="plain"
            title={problem}
            aria-pressed={settings.problem === problem}
            onClick={() => change({ ...settings, problem })}
          >
            {typeof level === "number" ? `level ${level}` : level || "example"}
          </button>
        ))}
      </div>
    </div>
  );
}

/** A method to compare with that is not there yet: big alone first, since all are measured against it. */
function another({ contenders }: Settings, list: MethodList): Settings["contenders"][number] {
  const wanted = ["big_only", "small_only", "random_switch", "spec_rewrite", list.default];
  const name = wanted.find((one) => !contenders.some((has) => has.name === one)) ?? list.default;
  return { name, typed: {}, wrappers: [] };
}

/** Focuses the field when the page opens, so that Enter starts. */
function focusOnce(element: HTMLTextAreaElement | null): void {
  if (element && document.activeElement === document.body && !element.dataset.met) element.focus({ preventScroll: true });
  if (element) element.dataset.met = "yes";
}
