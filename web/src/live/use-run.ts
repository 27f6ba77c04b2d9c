import { useEffect, useState } from "preact/hooks";
import type { Run } from "./run";

const EVERY_MS = 250;

/** Draws the component again while a run moves, a few times a second, and once when it ends. */
export function useRun(run: Run): void {
  const [, redraw] = useState(0);
  useEffect(() => {
    let timer = 0;
    const later = () => {
      timer ||= window.setTimeout(
        () => {
          timer = 0;
          redraw((number) => number + 1);
          if (run.moving) later();
        },
        run.moving ? EVERY_MS : 0,
      );
    };
    later();
    const end = run.listen(later);
    return () => {
      clearTimeout(timer);
      end();
    };
  }, [run]);
}
