// The section about hardware with a profile: what the chains of each method are predicted to take there.

import type { HardwareForecast, PredictedMethod, Prediction } from "../data/types";
import { brief, count, h, plural } from "../view/dom";
import type { Marks } from "../view/legend";
import { namedColumn, number } from "./methods";
import { type Column, SortedTable } from "./sorted-table";

/** The predictions for the methods of a task, at one chain and at the most chains. */
export class HardwareView {
  private readonly table = new SortedTable<PredictedMethod>("predictions for each method");
  readonly element: HTMLElement;

  constructor(
    private readonly forecast: HardwareForecast,
    private readonly marks: Marks,
  ) {
    const { card } = forecast;
    const facts: [string, string][] = [
      ["profile", card.profile],
      ["hardware", card.hardware],
      ["versions", card.software],
      ["measured on", card.date],
      ["models", [card.big, card.small].filter(Boolean).join(" and ")],
      ["layout", `${card.layout}: ${card.placed}`],
    ];
    this.element = h(
      "div",
      {},
      h("p", {
        class: "hint",
        text: "Predicted, not measured: the recorded calls of these chains take the times of a profile. docs/planner.md holds predictions against measured runs.",
      }),
      h("dl", {}, ...facts.filter(([, text]) => text).map(([name, text]) => h("div", {}, h("dt", { text: name }), h("dd", { text })))),
      this.table.element,
    );
  }

  show(task: string): void {
    const methods = this.forecast.methods.filter((one) => one.task === task);
    const loads = [...new Set(methods.flatMap(({ predictions }) => predictions.map(({ chains }) => chains)))].sort((a, b) => a - b);
    const most = loads.at(-1) ?? 1;
    const shown = [...new Set([loads[0] ?? 1, most])];
    this.table.show(methods, [
      namedColumn(this.marks, "method", (row) => row.label),
      ...shown.flatMap((load) => columnsOf(load)),
      figure(
        `against big, ${plural(most, "chain")}`,
        "tokens a second over those of big alone on as many GPUs",
        most,
        (one) => one.against_big,
        {
          suffix: "×",
          down: true,
        },
      ),
      ...(this.forecast.card.gpu_hour === null
        ? []
        : [
            figure(
              "money, 1,000 chains",
              `the price of 1,000 chains of which ${count(most)} run at once, at ${brief(this.forecast.card.gpu_hour)} for an hour of a GPU`,
              most,
              (one) => (one.money === null ? null : 1000 * one.money),
            ),
          ]),
    ]);
  }
}

function columnsOf(load: number): Column<PredictedMethod>[] {
  const chains = plural(load, "chain");
  const how = load === 1 ? "one chain after another" : `${count(load)} chains at once`;
  return [
    figure(`seconds, ${chains}`, `predicted seconds of a chain, the median, with ${how}`, load, (one) => one.latency_s),
    figure(
      `chains per GPU-hour, ${chains}`,
      `predicted chains for an hour of one GPU of the layout, with ${how}`,
      load,
      (one) => one.chains_per_gpu_hour,
      { down: true },
    ),
  ];
}

function figure(
  title: string,
  about: string,
  load: number,
  of: (one: Prediction) => number | null,
  { suffix = "", down = false } = {},
): Column<PredictedMethod> {
  const cost = (row: PredictedMethod) => {
    const found = row.predictions.find(({ chains }) => chains === load);
    return found ? of(found) : null;
  };
  return {
    title,
    about,
    value: cost,
    cell: (row) => number(cost(row) === null ? "·" : `${brief(cost(row))}${suffix}`),
    down,
  };
}
