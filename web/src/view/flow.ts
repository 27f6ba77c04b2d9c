// Text in blocks: a browser lays out one block at a time, so long text stays quick to add to.

import type { Span } from "../trace/timeline";
import { hue } from "./author";
import { h } from "./dom";

const FULL = 2_000;
const BROKEN = 8_000;

/** Runs of text, one after another, in blocks that end at the end of a line, or where a line is very long. */
export class Flow {
  private block: HTMLElement | null = null;
  private size = 0;
  private author = "";

  constructor(private readonly put: (block: HTMLElement) => void) {}

  /** Adds text of one span and returns its elements, one for each block that it is in. */
  add(span: Span, text = span.text): HTMLElement[] {
    const made: HTMLElement[] = [];
    for (const part of parts(text, this.size)) {
      if (!this.block || this.size >= BROKEN || (this.size >= FULL && this.lineEnds())) {
        this.block?.classList.add("full");
        this.begin();
      }
      const run = runOf(span, part, this.author !== span.author, made.length > 0);
      this.author = span.author;
      this.block!.append(run);
      this.size += part.length;
      made.push(run);
    }
    return made;
  }

  /** Puts an element behind the last letter of a run, before the ends of lines that follow it. */
  static mark(run: HTMLElement, element: HTMLElement): void {
    const words = run.querySelector(".words");
    const text = words?.textContent ?? "";
    const size = text.trimEnd().length;
    words?.replaceChildren(text.slice(0, size));
    run.append(element, h("span", { class: "words", text: text.slice(size) }));
  }

  /** Ends the block: what follows stands below. */
  end(): void {
    this.block = null;
    this.author = "";
  }

  private begin(): void {
    this.block = h("div", { class: "block" });
    this.size = 0;
    this.put(this.block);
  }

  private lineEnds(): boolean {
    return this.block!.textContent?.endsWith("\n") ?? true;
  }
}

/** Cuts a long text where blocks end; short text stays whole. */
function parts(text: string, before: number): string[] {
  if (before + text.length <= FULL) return [text];
  const found: string[] = [];
  let from = 0;
  let size = before;
  while (text.length - from > 0) {
    const room = Math.max(0, FULL - size);
    const line = text.indexOf("\n", from + room);
    let to = line < 0 ? text.length : line + 1;
    if (to - from > BROKEN) to = whole(text, from + BROKEN);
    found.push(text.slice(from, to));
    from = to;
    size = 0;
  }
  return found.length ? found : [text];
}

/** A place near `place` that does not cut a character in two. */
function whole(text: string, place: number): number {
  const code = text.charCodeAt(place);
  return code >= 0xdc00 && code <= 0xdfff ? place - 1 : place;
}

function runOf(span: Span, text: string, named: boolean, more: boolean): HTMLElement {
  const accepted = span.verdict === "accepted" && text.trim() !== "";
  return h(
    "span",
    { class: `run ${hue(span.author)}${accepted && !more ? " accepted" : ""}`, "data-author": span.author, "data-more": more },
    named ? h("span", { class: "who", text: span.author }) : null,
    h("span", { class: "words", text }),
  );
}
