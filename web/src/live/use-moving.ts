import { useEffect, useState } from "preact/hooks";
import type { Run } from "./run";

/** Whether one of the runs is written or replayed now. */
export function useMoving(runs: Run[]): boolean {
  const [moving, set] = useState(false);
  useEffect(() => {
    const look = () => set(runs.some((run) => run.moving));
    look();
    const ends = runs.map((run) => run.listen(look));
    return () => {
      for (const end of ends) end();
    };
  }, [runs]);
  return moving;
}
