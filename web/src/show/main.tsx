import { render } from "preact";
import { unpacked } from "../data/blocks";
import type { ChainPage } from "../data/types";
import { Logo } from "../live/icon";
import { Run } from "../live/run";
import { RunView } from "../live/run-view";
import { checkEvents } from "../trace/check";

const page = document.getElementById("page")!;

/** The page of one saved chain. */
function Shown({ shown, run }: { shown: ChainPage; run: Run }) {
  const started = run.chain.started!;
  const given = Object.entries(started.params).filter(([, value]) => value !== null);
  const params = given.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return (
    <>
      <header class="top">
        <div class="brand">
          <Logo />
          <span>Speculative Reasoning</span>
        </div>
        <h1>{started.method}</h1>
        <p class="lead">{[...params, `seed=${started.problem.seed}`].join("  ")}</p>
        <p class="hint">
          {Object.entries(started.engines)
            .map(([role, engine]) => `${role}: ${engine.name}`)
            .join(" · ")}
        </p>
      </header>
      <section>
        <h2>Problem</h2>
        <p class="asked">{started.problem.messages.at(-1)?.content}</p>
      </section>
      <section class="single">
        <h2>Chain</h2>
        <RunView run={run} runs={[run]} list={shown} />
      </section>
    </>
  );
}

try {
  const shown = await unpacked<ChainPage>("chain");
  checkEvents(shown.events);
  const run = Run.of(shown.events, shown.mark, shown.expected, shown.right);
  document.title = `${run.label} · Speculative Reasoning`;
  page.replaceChildren();
  render(<Shown shown={shown} run={run} />, page);
} catch (error) {
  document.getElementById("wait")?.replaceChildren(`This chain cannot be shown: ${(error as Error).message}`);
  throw error;
}
