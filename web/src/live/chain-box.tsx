import { useEffect, useRef, useState } from "preact/hooks";
import { Bar } from "../view/bar";
import { ChainView } from "../view/chain-view";
import { plural } from "../view/dom";
import { Follow } from "../view/follow";
import { Lanes } from "../view/lanes";
import { typeset } from "../view/typeset";
import type { Run } from "./run";

const SLOW_MS = 200;
const SHARE = 20; // the pictures below the text may take one part in so many of the time

/** The chain of a run: its text, the facts of the span under the pointer, the bar of who wrote what, and the time line. */
export function ChainBox({ run, label }: { run: Run; label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const below = useRef<HTMLDivElement>(null);
  const view = useRef<ChainView>(null);
  const [facts, setFacts] = useState("");
  const [broken, setBroken] = useState<Error | null>(null);
  const [labelled, setLabelled] = useState(false);
  const [math, setMath] = useState(true);

  useEffect(() => {
    const chain = new ChainView(`chain of ${label}`);
    const bar = new Bar(
      (at) => {
        chain.tell(at);
        chain.reveal([at]);
      },
      (at) => chain.tell(at),
    );
    const lanes = new Lanes(setFacts, (work) => chain.reveal(run.chain.timeline.placesOf(work.texts)));
    chain.told = setFacts;
    view.current = chain;
    place.current?.replaceChildren(chain.element);
    below.current?.replaceChildren(bar.element, lanes.element);
    let frame = 0;
    let slow = 0;
    let wait = SLOW_MS;
    const follow = new Follow(chain.element);
    let moved = run.ask !== null; // a recorded chain stays at its beginning
    const paint = () => {
      frame = 0;
      try {
        drawAll();
      } catch (error) {
        setBroken(error as Error); // thrown in a render, where the view's own boundary catches it
      }
    };
    const drawAll = () => {
      const { timeline, ledger, works } = run.chain;
      chain.follow(timeline);
      moved ||= run.moving;
      if (moved) follow.go();
      const now = performance.now();
      if (run.moving && now - slow < wait) return;
      bar.show(timeline.spans, ledger.usage());
      lanes.show(works, run.moving ? run.elapsed : run.chain.seconds, run.callsUnderWay);
      slow = performance.now();
      wait = Math.max(SLOW_MS, SHARE * (slow - now));
      if (!run.moving) void typeset(chain.element).then(() => moved && follow.go());
    };
    chain.element.addEventListener("scroll", () => follow.scrolled(), { passive: true });
    const later = () => {
      frame ||= requestAnimationFrame(paint);
    };
    later();
    const end = run.listen(later);
    return () => {
      cancelAnimationFrame(frame);
      end();
    };
  }, [run, label]);

  if (broken) throw broken;
  return (
    <div class={`chain${labelled ? " labelled" : ""}${math ? "" : " source"}`}>
      <div ref={place} />
      <div ref={below} />
      {/* below all that the pointer can be on, since text that appears moves what is below it */}
      <p class="facts">
        {facts || "Point at text, at the bar or at the time line: its tokens, probability, entropy and seconds are told here."}
      </p>
      <div class="filters">
        <Toggle title="author labels" on={labelled} change={setLabelled} />
        <Toggle title="open drafts" on={false} change={(on) => view.current?.open(on)} />
        <Toggle title="formulas" on={math} change={setMath} />
      </div>
      <p class="unseen" role="status">
        {run.moving ? "" : `${label}: ${plural(run.chain.timeline.spans.length, "text")}`}
      </p>
    </div>
  );
}

function Toggle({ title, on, change }: { title: string; on: boolean; change: (on: boolean) => void }) {
  return (
    <label class="toggle">
      <input type="checkbox" defaultChecked={on} onChange={(event) => change(event.currentTarget.checked)} />
      <span>{title}</span>
    </label>
  );
}
