import { useState } from "preact/hooks";
import type { MethodList } from "../data/types";
import { decide, direction, type Step, sliderOf } from "../trace/steps";
import { brief, plural } from "../view/dom";
import type { Run } from "./run";
import { fieldsOf } from "./schema";

const ALONE =
  "The steps have scores, but this method compares none of them with a threshold: it takes the best of several drafts, or a number that it computes from the score, so no other threshold can be tried.";
const UNCLEAR = "The scores alone do not explain which steps were kept, so no other threshold can be tried.";

/** The bounds of the method's own parameter, where its steps were compared with that. */
function boundsOf(run: Run, methods: MethodList["methods"]): { least?: number; most?: number } {
  const method = run.chain.started?.method ?? "";
  const own = run.chain.started?.params.threshold;
  const card = methods.find(({ name }) => name === method.split("*").at(-1));
  const compared = run.chain.steps.found.every((step) => step.threshold === own);
  return (compared && fieldsOf(card?.schema ?? {}).find(({ name }) => name === "threshold")) || {};
}

/** What the score of a step is, where the trace tells it. */
function measureOf({ measure, judge }: Step): string {
  return measure ? `${measure}${judge ? `, from ${judge}` : ""}` : "";
}

/** Decides the judged steps of a finished chain again, at another threshold. */
export function Threshold({ run, methods }: { run: Run; methods: MethodList["methods"] }) {
  const steps = run.chain.steps.found;
  const own = steps[0]?.threshold ?? 0;
  const [place, choose] = useState(0);
  const way = direction(steps);
  if (run.moving) return null;
  if (!steps.length) return run.chain.steps.alone ? <p class="hint">{ALONE}</p> : null;
  if (way === null) return <p class="hint">{UNCLEAR}</p>;
  const { before, after, at } = sliderOf(steps, boundsOf(run, methods));
  const threshold = at(place);
  const measured = [...new Set(steps.map(measureOf).filter(Boolean))].join("; ");
  const now = decide(steps, threshold, way);
  const kept = now.filter(Boolean).length;
  const first = now.findIndex((keep, number) => keep !== steps[number]!.kept);
  const changed = now.filter((keep, number) => keep !== steps[number]!.kept).length;
  return (
    <details class="threshold">
      <summary>Try another threshold ({plural(steps.length, "judged step")})</summary>
      <label class="field">
        <span>
          threshold <output>{brief(threshold)}</output>
        </span>
        <input
          type="range"
          min={-before}
          max={after}
          step={1}
          value={place}
          aria-valuetext={brief(threshold)}
          onInput={(event) => choose(event.currentTarget.valueAsNumber)}
        />
      </label>
      {measured && <p class="hint">Scores: {measured}.</p>}
      <ol class="steps">
        {steps.map((one, number) => (
          <li key={one.draft} class={`${now[number] ? "keep" : "rewrite"}${now[number] === one.kept ? "" : " changed"}`}>
            <span class="score">
              {now[number] ? "✓ kept" : "✗ rewritten"} at {brief(one.score)}
            </span>{" "}
            <span class="excerpt-of-step">{one.text.trim().slice(0, 120)}</span>
          </li>
        ))}
      </ol>
      <p class="said" role="status">
        {plural(kept, "step")} of {steps.length} would be kept, {steps.filter((one) => one.kept).length} were.{" "}
        {changed
          ? `The first other decision is at step ${first + 1}: from there on the chain itself would differ, and so would all steps behind it.`
          : "All decisions stay as they were."}
      </p>
      {place !== 0 && (
        <button type="button" class="plain" onClick={() => choose(0)}>
          Back to {brief(own)}
        </button>
      )}
    </details>
  );
}
