import type { MethodList } from "../data/types";
import { sameAnswer } from "../trace/answer";
import { count } from "../view/dom";
import { wholeRoles } from "../view/usage";
import { costOf, speedOf } from "./cost";
import { Icon } from "./icon";
import { About } from "./panel";
import type { Run } from "./run";
import { useRun } from "./use-run";

/** What each of the runs cost, whether their answers agree, and whether they are right. */
export function Comparison({ runs, list }: { runs: Run[]; list: Pick<MethodList, "prices" | "currency"> }) {
  return (
    <section class="comparison" aria-label="comparison">
      <h2>Side by side</h2>
      <div class="wide" tabindex={0} role="region" aria-label="figures of each method">
        <table>
          <thead>
            <tr>
              {[
                "method",
                "answer",
                "seconds",
                "against big_only",
                "big's tokens",
                "small's tokens",
                "discarded",
                `1,000 such chains${list.currency ? ` (${list.currency})` : ""}`,
              ].map((title, place) => (
                <th key={title} scope="col" class={place > 1 ? "number" : ""}>
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {runs.map((run) => (
              <Row key={run} run={run} runs={runs} list={list} />
            ))}
          </tbody>
        </table>
      </div>
      <Agreement key={runs.length} runs={runs} />
    </section>
  );
}

function Row({ run, runs, list }: { run: Run; runs: Run[]; list: Pick<MethodList, "prices" | "currency"> }) {
  useRun(run);
  const usage = run.chain.ledger.usage();
  const discarded = wholeRoles(usage).reduce((sum, [, cost]) => sum + cost.discarded_tokens, 0);
  const price = run.moving ? null : costOf(run, list.prices);
  const speed = run.moving ? null : speedOf(run, runs);
  const { right, estimate } = run;
  const written = (role: string) => (estimate.get(role)?.kept ?? 0) + (estimate.get(role)?.discarded ?? 0);
  const unsure = [...estimate.values()].reduce((sum, one) => sum + one.discarded, 0);
  return (
    <tr>
      <th scope="row">
        <span class="named">
          <Icon mark={run.mark} /> <span class="label">{run.label}</span>
        </span>
      </th>
      <td class={run.error ? "wrong" : right === null ? "" : right ? "right" : "wrong"}>
        {run.moving
          ? "…"
          : run.error
            ? "failed"
            : `${right === null ? "" : right ? "✓ " : "✗ "}${run.answer ?? (run.state === "cancelled" ? "·" : "none")}`}
      </td>
      <td class="number">{(run.moving ? run.elapsed : run.seconds).toFixed(2)}</td>
      <td class="number">{speed ? `${speed.measured ? "" : "≈ "}${speed.times.toFixed(2)} ×` : "·"}</td>
      {["big", "small"].map((role) => (
        <td key={role} class="number">
          <About estimate={written(role)} />
          {count((usage[role]?.produced_tokens ?? 0) + written(role))}
        </td>
      ))}
      <td class="number">
        <About estimate={unsure} />
        {count(discarded + unsure)}
      </td>
      <td class="number">{price === null ? "·" : (1000 * price).toFixed(2)}</td>
    </tr>
  );
}

/** How many of the chains that came to their end have the right answer. */
export function verdict(runs: Pick<Run, "state" | "expected" | "right">[]): string {
  const judged = runs.filter((run) => run.state === "done");
  const expected = judged.find((run) => run.expected !== null)?.expected;
  if (!expected) return "";
  const right = judged.filter((run) => run.right).length;
  return `The right answer is ${expected}: ${right} of ${judged.length}${judged.length < runs.length ? " that finished" : ""} found it.`;
}

function Agreement({ runs }: { runs: Run[] }) {
  for (const run of runs) useRun(run);
  const ended = runs.filter((run) => !run.moving);
  const answers = ended.map((run) => run.answer).filter((answer) => answer !== null);
  const agree = answers.every((answer) => sameAnswer(answer, answers[0]!));
  const all = answers.length === runs.length;
  const told =
    ended.length < runs.length
      ? `${ended.length} of ${runs.length} chains are finished.`
      : answers.length === 0
        ? "No chain has an answer."
        : answers.length === 1
          ? "One chain has an answer."
          : agree
            ? all
              ? "All answers agree."
              : `${answers.length} of ${runs.length} chains have an answer, and these agree.`
            : "The answers differ.";
  return (
    <p class="said" role="status">
      {told} {ended.length === runs.length ? verdict(runs) : ""}
    </p>
  );
}
