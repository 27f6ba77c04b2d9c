import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { MethodList } from "../data/types";
import { readTrace } from "../trace/file";
import { AskForm } from "./ask-form";
import { Comparison } from "./compare";
import { copyText } from "./copy";
import { type Entry, entries, forget, keep } from "./history";
import { HistoryList } from "./history-list";
import { Logo } from "./icon";
import { refusals } from "./refusals";
import { Run, stop } from "./run";
import { RunView } from "./run-view";
import type { Service } from "./service";
import { asksOf, fromAddress, labelOf, type Mistakes, type Settings, toAddress, usual } from "./settings";
import { useMoving } from "./use-moving";

/** The page of the service: the form, the runs, and their history. */
export function App({ service, list }: { service: Service; list: MethodList }) {
  const [settings, change] = useState<Settings>(() => fromAddress(location.hash) ?? usual(list));
  const [mistakes, setMistakes] = useState<Mistakes>(new Map());
  const [runs, setRuns] = useState<Run[]>([]);
  /** Recorded chains that were opened while others were written: they stand below those. */
  const [beside, setBeside] = useState<Run[]>([]);
  const [running, setRunning] = useState(false);
  const moving = useMoving(useMemo(() => [...runs, ...beside], [runs, beside]));
  const [past, setPast] = useState<Entry[]>([]);
  const [trouble, setTrouble] = useState(() => unreadable(location.hash));
  const [linked, setLinked] = useState("");
  const results = useRef<HTMLElement>(null);
  const latest = useRef({ runs, beside, running, settings });
  latest.current = { runs, beside, running, settings };

  const edit = (next: Settings) => {
    change(next);
    setMistakes(unchanged(mistakes, settings, next));
  };

  const start = async () => {
    if (latest.current.running) return;
    const { asks, mistakes: found } = asksOf(settings, list);
    setMistakes(found);
    setTrouble("");
    if (found.size) {
      requestAnimationFrame(() => document.querySelector<HTMLElement>("[aria-invalid], .wrapper.bad button")?.focus());
      return;
    }
    history.replaceState(null, "", toAddress(settings));
    const expected = list.examples.find(({ problem }) => problem === settings.problem)?.answer ?? null;
    const made = asks.map((ask) => new Run(labelOf(ask), markOf(list, ask.method), ask, expected));
    setRuns(made);
    setBeside([]);
    setRunning(true);
    results.current?.scrollIntoView({ block: "nearest", behavior: "smooth" });
    await Promise.all(made.map((run, place) => run.stream(service, asks[place]!)));
    setRunning(false);
    setMistakes(unchanged(refusals(made), settings, latest.current.settings));
    const entry = { id: Date.now(), time: Date.now(), settings, chains: made.filter((run) => run.chain.started).map(chainOf) };
    if (entry.chains.length) await keep(entry);
    setPast(await entries());
  };

  const cancel = useCallback(() => {
    stop([...latest.current.runs, ...latest.current.beside]);
  }, []);

  /** Shows recorded chains: in place of those that stand there, or below those that are written now. */
  const show = (recorded: Run[]) => {
    setTrouble("");
    if (latest.current.running) setBeside(recorded);
    else {
      cancel();
      setBeside([]);
      setRuns(recorded);
    }
    results.current?.scrollIntoView({ block: "nearest" });
  };

  const open = async (file: File | undefined) => {
    if (!file) return;
    try {
      const events = readTrace(await file.text());
      const started = events[0]?.event === "started" ? events[0] : null;
      const expected = list.examples.find(({ problem }) => problem === started?.problem.messages.at(-1)?.content)?.answer ?? null;
      show([Run.of(events, markOf(list, started?.method ?? ""), expected)]);
    } catch (error) {
      setTrouble(`${file.name} cannot be opened: ${(error as Error).message}`);
    }
  };
  const opened = useRef(open);
  opened.current = open;

  useEffect(() => {
    void entries().then(setPast);
    const key = (event: KeyboardEvent) => {
      if (event.key === "Escape") cancel();
    };
    const hash = () => {
      const found = fromAddress(location.hash);
      if (found) change(found);
      setTrouble(unreadable(location.hash));
    };
    const over = (event: DragEvent) => event.preventDefault();
    const drop = (event: DragEvent) => {
      event.preventDefault();
      const files = event.dataTransfer?.files;
      if (files && files.length > 1) setTrouble(`One trace can be opened at once, got ${files.length} files.`);
      else void opened.current(files?.[0]);
    };
    addEventListener("keydown", key);
    addEventListener("hashchange", hash);
    addEventListener("dragover", over);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("keydown", key);
      removeEventListener("hashchange", hash);
      removeEventListener("dragover", over);
      removeEventListener("drop", drop);
    };
  }, [cancel]);

  const reopen = (entry: Entry) => {
    if (!latest.current.running) edit(entry.settings);
    show(
      entry.chains.map(({ events, expected }) => {
        const started = events[0]?.event === "started" ? events[0] : null;
        return Run.of(events, markOf(list, started?.method ?? ""), expected);
      }),
    );
  };

  return (
    <main class="app">
      <header class="top">
        <div class="brand">
          <Logo />
          <span>Speculative Reasoning</span>
        </div>
        <h1>Two models, one chain of thought</h1>
        <p class="lead">
          <b class="key big">big</b> is slow and strong, <b class="key small">small</b> is quick and weak. A method decides who writes next,
          and who checks the text. Ask, and watch.
        </p>
        <p class="hint">
          {Object.entries(list.engines)
            .map(([role, name]) => `${role}: ${name}${list.without_logprobs.includes(role) ? " (gives no log-probabilities)" : ""}`)
            .join(" · ")}
        </p>
      </header>
      <div class="bench">
        <div class="left">
          <AskForm
            settings={settings}
            list={list}
            mistakes={mistakes}
            running={running}
            moving={moving}
            change={edit}
            start={() => void start()}
            cancel={cancel}
          />
          <div class="tools">
            <label class="plain file">
              Open a trace …
              <input
                type="file"
                accept=".jsonl,.json,application/json,application/jsonl"
                onChange={(event) => {
                  void open(event.currentTarget.files?.[0]);
                  event.currentTarget.value = "";
                }}
              />
            </label>
            <button
              type="button"
              class="plain"
              onClick={() => {
                history.replaceState(null, "", toAddress(settings));
                void copyText(location.href).then((copied) =>
                  setLinked(copied ? "The link is copied." : "The link is in the address bar."),
                );
              }}
            >
              Copy the link to these settings
            </button>
            <span class="hint" role="status">
              {linked}
            </span>
          </div>
          <HistoryList
            entries={past}
            open={reopen}
            clear={() => {
              void forget();
              setPast([]);
            }}
          />
        </div>
        <section class="results" ref={results} aria-label="chains">
          {trouble && (
            <p class="mistake" role="alert">
              {trouble}
            </p>
          )}
          {runs.length > 1 && <Comparison runs={runs} list={list} />}
          {runs.length === 0 && <Welcome />}
          <div class={`runs of-${runs.length}`}>
            {runs.map((run) => (
              <RunView key={run} run={run} runs={runs} list={list} />
            ))}
          </div>
          {beside.length > 0 && <Beside runs={beside} list={list} close={() => setBeside([])} />}
        </section>
      </div>
    </main>
  );
}

function Beside({ runs, list, close }: { runs: Run[]; list: MethodList; close: () => void }) {
  return (
    <section class="beside" aria-label="opened while others were written">
      <header class="beside-head">
        <h2>Opened beside</h2>
        <button type="button" class="plain" onClick={close}>
          Close
        </button>
      </header>
      {runs.length > 1 && <Comparison runs={runs} list={list} />}
      <div class={`runs of-${runs.length}`}>
        {runs.map((run) => (
          <RunView key={run} run={run} runs={runs} list={list} />
        ))}
      </div>
    </section>
  );
}

function Welcome() {
  return (
    <div class="welcome">
      <p>
        Press <kbd>Enter</kbd> in the problem box: the chain appears here while it is written, each text in the colour of its author. Drop a
        trace file anywhere to open it.
      </p>
      <ul>
        <li>
          <span class="run big">
            <span class="words">text of big</span>
          </span>{" "}
          and{" "}
          <span class="run small">
            <span class="words">text of small</span>
          </span>
        </li>
        <li>
          <span class="run small accepted">
            <span class="words">a draft that was accepted</span>
          </span>
        </li>
        <li>
          <span class="cross" aria-hidden="true">
            ✗{" "}
          </span>
          <span class="excerpt small">a draft that was discarded</span>: work that was for nothing
        </li>
      </ul>
    </div>
  );
}

function markOf(list: MethodList, method: string) {
  return list.methods.find(({ name }) => name === method.split("*").at(-1))?.mark ?? null;
}

function chainOf(run: Run): Entry["chains"][number] {
  return { label: run.label, events: run.chain.events, answer: run.answer, right: run.right, expected: run.expected };
}

/** A line for an address whose settings cannot be read. */
function unreadable(hash: string): string {
  return hash.startsWith("#ask=") && !fromAddress(hash) ? "The settings in the address cannot be read, so the usual ones are shown." : "";
}

/** The mistakes at the fields that hold what they held before. */
function unchanged(mistakes: Mistakes, before: Settings, now: Settings): Mistakes {
  const [old, typed] = [flat(before), flat(now)];
  const methodOf = (place: string) => place.replace(/\.params\..*/, ".method");
  const same = (place: string) => old[place] === typed[place];
  return new Map([...mistakes].filter(([place]) => same(place) && same(methodOf(place))));
}

/** What is typed in each field, by the place that mistakes name. */
function flat(settings: Settings): Record<string, string> {
  const found: Record<string, string> = {
    problem: settings.problem,
    seed: settings.seed,
    temperature: settings.temperature,
    tokens: settings.tokens,
    seconds: settings.seconds,
  };
  settings.contenders.forEach(({ name, typed, wrappers }, place) => {
    found[`${place}.method`] = name;
    for (const [field, text] of Object.entries(typed)) found[`${place}.params.${field}`] = `${name} ${text}`;
    wrappers.forEach((wrapper, number) => {
      found[`${place}.with.${number}`] = `${wrapper.name} ${JSON.stringify(wrapper.typed)}`;
      for (const [field, text] of Object.entries(wrapper.typed)) found[`${place}.with.${number}.${field}`] = `${wrapper.name} ${text}`;
    });
  });
  return found;
}
