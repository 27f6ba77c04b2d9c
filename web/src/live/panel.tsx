import type { MethodList } from "../data/types";
import { hue } from "../view/author";
import { brief, count, percent } from "../view/dom";
import { bigShare, costOf, priceOf, speedOf } from "./cost";
import type { Run } from "./run";
import { useRun } from "./use-run";

/** Live counts of a run: tokens by role and fate, the share of big, seconds, cost, and speed against `big_only`. */
export function Panel({ run, runs, list }: { run: Run; runs: Run[]; list: Pick<MethodList, "prices" | "currency" | "priced"> }) {
  useRun(run);
  const usage = run.chain.ledger.usage();
  const price = run.moving ? null : costOf(run, list.prices);
  const speed = speedOf(run, runs);
  const roles = Object.keys(usage).sort();
  const written = run.estimate;
  const facts: [string, string, string][] = [
    ["seconds", run.moving ? run.elapsed.toFixed(1) : run.seconds.toFixed(2), "wall time of the chain"],
    ["share of big", percent(bigShare(usage, "kept_tokens"), 0), "part of the chain's tokens that the big model wrote"],
    [
      "big's share of all written tokens",
      percent(bigShare(usage, "produced_tokens"), 0),
      "part of the tokens that models wrote, the discarded ones too; what they read is not in it",
    ],
  ];
  if (priceOf(usage, list.prices) !== null && roles.length) {
    const told = price === null ? "·" : `${(1000 * price).toFixed(2)} ${list.currency}`;
    facts.push(["cost of 1,000 such chains", told, price === null ? "not known: the chain has not come to its end" : list.priced]);
  }
  if (speed && !run.moving) {
    const about = speed.measured
      ? "measured against big_only beside it"
      : "estimated from the big model's own seconds for each token in this run";
    facts.push([`speed against big_only${speed.measured ? "" : " (estimate)"}`, `${speed.times.toFixed(2)} ×`, about]);
  }
  return (
    <div class="panel" role="group" aria-label={`counts of ${run.label}`}>
      <table class="counts">
        <thead>
          <tr>
            <th scope="col">tokens</th>
            <th scope="col" class="number">
              kept
            </th>
            <th scope="col" class="number">
              discarded
            </th>
            <th scope="col" class="number">
              read
            </th>
          </tr>
        </thead>
        <tbody>
          {roles.map((role) => (
            <tr key={role}>
              <th scope="row" class={`key ${hue(role.split("/").at(-1)!)}`}>
                <b>{role}</b>
              </th>
              {(["kept", "discarded"] as const).map((fate) => (
                <td key={fate} class="number">
                  <About estimate={written.get(role)?.[fate]} />
                  {count(usage[role]![`${fate}_tokens`] + (written.get(role)?.[fate] ?? 0))}
                </td>
              ))}
              <td
                class="number"
                title={`${count(usage[role]!.cached_tokens)} of them from the cache, ${count(usage[role]!.scored_tokens)} scored`}
              >
                {count(usage[role]!.prompt_tokens + usage[role]!.scored_tokens)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <dl class="figures">
        {facts.map(([name, value, about]) => (
          <div key={name} title={about}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <p class="hint">
        {run.moving
          ? ""
          : `read: prompts of all calls, also what a cache held · calls: ${roles.map((role) => `${role} ${count(usage[role]!.requests)}, ${brief(usage[role]!.seconds)} s`).join(" · ")}`}
      </p>
    </div>
  );
}

/** The sign of a number with an estimate in it. */
export function About({ estimate }: { estimate: number | undefined }) {
  return estimate ? <span title="with an estimate of the text of calls that are not over, or were cut off">≈ </span> : null;
}
