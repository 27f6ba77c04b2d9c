// One chain beside others; its text is unpacked when it comes into view.

import { spansOf, unpacked } from "../data/blocks";
import type { PackedChain, Row } from "../data/types";
import { bar } from "../view/bar";
import { ChainView } from "../view/chain-view";
import { h, plural } from "../view/dom";
import { icon, type Marks } from "../view/legend";
import { usageTable, wholeRoles } from "../view/usage";

export class ChainColumn {
  readonly element: HTMLElement;
  private readonly chain: HTMLElement;
  private view: ChainView | null = null;

  constructor(
    readonly row: Row,
    marks: Marks,
    private opened: boolean,
  ) {
    const found = row.found === null ? "no answer found" : row.found;
    this.chain = h("div", { class: "chain" }, h("p", { class: "wait", text: "…" }));
    this.element = h(
      "article",
      {
        class: `column ${row.correct ? "right" : "wrong"}`,
        tabindex: "-1",
        "aria-label": `${row.label}, ${row.correct ? "right" : "wrong"}`,
      },
      h(
        "header",
        {},
        icon(marks.get(row.label)),
        h("span", { class: "label", text: row.label }),
        row.epoch ? h("small", { text: `try ${row.epoch + 1}` }) : null,
      ),
      h(
        "p",
        { class: "outcome" },
        h("b", { text: row.correct ? "✓ right" : "✗ wrong" }),
        " ",
        h("span", { class: "found", text: found }),
        row.correct ? null : h("small", { text: ` ${row.why}` }),
      ),
      h("p", { class: "facts", text: facts(row) }),
      this.chain,
    );
  }

  /** Unpacks the chain when it comes into view. */
  watch(): void {
    waiting.set(this.element, this);
    seen.observe(this.element);
  }

  openDrafts(on: boolean): void {
    this.opened = on;
    this.view?.open(on);
  }

  async unpack(): Promise<void> {
    if (!this.row.block) {
      this.chain.replaceChildren(
        h("p", { class: "missing", text: `No chain to show: ${this.row.missing}.` }),
        h("div", { class: "text", text: this.row.answer }),
        usageTable(this.row.usage),
      );
      return;
    }
    try {
      const packed = await unpacked<PackedChain>(this.row.block);
      const spans = spansOf(packed);
      this.view = new ChainView(`chain of ${this.row.label}`, this.opened);
      this.view.show(spans);
      this.chain.replaceChildren(
        bar(spans, packed.usage),
        this.view.element,
        h("details", { class: "cost" }, h("summary", { text: "usage" }), usageTable(packed.usage)),
      );
    } catch (error) {
      this.chain.replaceChildren(h("p", { class: "missing", text: `This chain cannot be unpacked: ${(error as Error).message}` }));
    }
  }
}

const waiting = new WeakMap<Element, ChainColumn>();
const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      void waiting.get(target)?.unpack();
    }
  },
  { rootMargin: "300px" },
);

const FINISHES: Record<string, string> = {
  stop: "finished",
  length: "token budget used up",
  loop: "steps repeat",
  context: "context full",
  time: "time limit reached",
};

function facts(row: Row): string {
  const tokens = wholeRoles(row.usage).reduce((sum, [, cost]) => sum + cost.produced_tokens, 0);
  return `${plural(tokens, "token")} produced · ${row.seconds.toFixed(2)} s · ${FINISHES[row.finish_reason] ?? row.finish_reason}${row.degraded ? ` · ${row.degraded} was lost` : ""}`;
}
