// The authors of text, told apart by colour, by the line below their text, by stripes in drawings, and by name.

export const AUTHORS = ["big", "small", "judge", "method"];

/** The class that an author's colour hangs on. */
export function hue(author: string): string {
  return AUTHORS.includes(author) ? author : "other";
}

const GAP = 0.15; // of the height

/** The bands [top, height] of an author's blocks: big has one, and small has two and judge three, with stripes of the ground between them. */
export function bandsOf(author: string, top: number, height: number): [number, number][] {
  const stripes = { big: 0, small: 1, judge: 2 }[author] ?? 3;
  const band = (height * (1 - stripes * GAP)) / (stripes + 1);
  return Array.from({ length: stripes + 1 }, (_, place) => [top + place * (band + height * GAP), band]);
}

/** The outline of a block of an author, as the path of a drawing. */
export function blockOf(author: string, left: number, width: number, top: number, height: number): string {
  return bandsOf(author, top, height)
    .map(([y, band]) => `M${left} ${y}h${width}v${band}h${-width}z`)
    .join("");
}
