// Keeps the end of a box in sight while text is added, until the reader scrolls up.

const NEAR = 60;

export type Box = Pick<HTMLElement, "scrollTop" | "scrollHeight" | "clientHeight">;

export class Follow {
  private atEnd = true;
  private ours = 0;

  constructor(private readonly box: Box) {}

  /** Goes to the end, unless the reader went away from it. */
  go(): void {
    if (!this.atEnd) return;
    this.box.scrollTop = this.box.scrollHeight;
    this.ours = this.box.scrollTop;
  }

  /** Notes where the box stands after a scroll. Text that came since our own scroll does not count as a move of the reader. */
  scrolled(): void {
    const { scrollHeight, scrollTop, clientHeight } = this.box;
    this.atEnd = scrollHeight - scrollTop - clientHeight < NEAR || (this.atEnd && scrollTop >= this.ours - 1);
  }
}
