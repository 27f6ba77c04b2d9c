import type { Mark } from "../data/types";

/** The symbol of a method in its colour; the label always stands beside it. */
export function Icon({ mark }: { mark: Mark | null }) {
  if (!mark) return null;
  const ink = `light-dark(${mark.colour.light}, ${mark.colour.dark})`;
  return (
    <svg class="icon" viewBox="-8 -8 16 16" aria-hidden="true">
      <path class="mark" d={mark.symbol.path} style={{ fill: mark.hollow ? "var(--paper)" : ink, stroke: ink }} />
    </svg>
  );
}

/** Two authors in one line. */
export function Logo() {
  const runs: [string, number, number][] = [
    ["big", 0, 9],
    ["small", 11, 13],
    ["big", 26, 4],
    ["small", 32, 8],
  ];
  return (
    <svg class="logo" viewBox="0 0 40 16" aria-hidden="true">
      {runs.map(([author, x, width]) => (
        <rect key={x} class={author} x={x} y={5} width={width} height={6} rx={3} />
      ))}
    </svg>
  );
}
