// The authors of text, told apart by colour, by the line below their text, and by name.

export const AUTHORS = ["big", "small", "judge", "method"];

/** The class that an author's colour hangs on. */
export function hue(author: string): string {
  return AUTHORS.includes(author) ? author : "other";
}
