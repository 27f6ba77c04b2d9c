import { useErrorBoundary } from "preact/hooks";
import type { MethodList } from "../data/types";
import { writeTrace } from "../trace/file";
import { ChainBox } from "./chain-box";
import { CopyButtons } from "./copy";
import { Icon } from "./icon";
import { Panel } from "./panel";
import type { Run } from "./run";
import { Threshold } from "./threshold";
import { useRun } from "./use-run";

const REPLAY_S = 14;

type Priced = Pick<MethodList, "prices" | "currency" | "priced"> & Partial<Pick<MethodList, "keyed" | "pair" | "methods">>;

interface Props {
  run: Run;
  runs: Run[];
  list: Priced;
}

/** One run; where it cannot be drawn, the reason stands there and the rest of the page goes on. */
export function RunView(props: Props) {
  const [broken] = useErrorBoundary();
  if (!broken) return <Whole {...props} />;
  return (
    <p class="outcome wrong" role="alert">
      ✗ {props.run.label} cannot be shown: {(broken as Error).message}
    </p>
  );
}

/** The chain with all that is known of it. */
function Whole({ run, runs, list }: Props) {
  useRun(run);
  return (
    <article class={`run-view ${run.state}`} aria-label={run.label}>
      <header class="run-head">
        <h3>
          <Icon mark={run.mark} /> <span class="label">{run.label}</span>
        </h3>
        <Status run={run} />
      </header>
      <Outcome run={run} />
      <div class="run-body">
        <ChainBox run={run} label={run.label} />
        <Panel run={run} runs={runs} list={list} />
      </div>
      <Threshold run={run} methods={list.methods ?? []} />
      <Actions run={run} keyed={list.keyed ?? false} pair={list.pair ?? {}} />
    </article>
  );
}

function Status({ run }: { run: Run }) {
  const told = {
    running: "writing …",
    done: `finished: ${run.chain.ended?.finish_reason ?? "stop"}`,
    cancelled: run.ask ? "cancelled" : "cut off",
    failed: "failed",
  }[run.state];
  return (
    <p class="state" role="status">
      {run.player ? "replay, slower than it was" : told}
    </p>
  );
}

function Outcome({ run }: { run: Run }) {
  if (run.error) {
    return (
      <p class="outcome wrong" role="alert">
        ✗ {run.error}
      </p>
    );
  }
  if (run.moving) return null;
  const { right, answer } = run;
  return (
    <p class={`outcome ${right === null ? "" : right ? "right" : "wrong"}`}>
      answer <b class="found">{answer ?? "not found"}</b>{" "}
      <span>{right === null ? "" : right ? "✓ right" : `✗ the right answer is ${run.expected}`}</span>
    </p>
  );
}

function Actions({ run, keyed, pair }: { run: Run; keyed: boolean; pair: Record<string, string> }) {
  if (run.moving || !run.chain.timeline.spans.length) return null;
  const seed = run.chain.started?.problem.seed;
  const playable = run.chain.works.some(({ tokens }) => tokens > 0);
  return (
    <div class="actions">
      {playable && (
        <button type="button" class="plain" onClick={() => run.replay(REPLAY_S)}>
          ▶ Replay slowly
        </button>
      )}
      <button
        type="button"
        class="plain"
        onClick={() => download(`${run.chain.started?.method ?? "chain"}-${seed}.jsonl`, writeTrace(run.chain.events))}
      >
        Download the trace
      </button>
      {run.ask && <CopyButtons ask={{ ...run.ask, seed }} keyed={keyed} pair={pair} />}
    </div>
  );
}

function download(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
