// Controls: each tells what was chosen. All are the browser's own, so keyboards and screen readers know them.

import { draw, h } from "../view/dom";
import { icon, type Marks } from "../view/legend";

let groups = 0;

/** One of a few, all in sight. `choices`: [key, title, hint]. */
export function choice(legend: string, choices: [string, string, string?][], chosen: string, told: (key: string) => void): HTMLElement {
  groups += 1;
  const name = `choice${groups}`;
  const buttons = choices.map(([key, title, about]) =>
    h(
      "label",
      { title: about },
      h("input", { type: "radio", name, value: key, checked: key === chosen, onchange: () => told(key) }),
      h("span", { text: title }),
    ),
  );
  return h("fieldset", { class: "choice" }, h("legend", { text: legend }), ...buttons);
}

/** One of many. `choices`: [key, title]. */
export function options(label: string, choices: [string, string][], chosen: string, told: (key: string) => void): HTMLElement {
  const entries = choices.map(([key, title]) => h("option", { value: key, selected: key === chosen, text: title }));
  return h("select", { "aria-label": label, onchange: (event: Event) => told((event.target as HTMLSelectElement).value) }, ...entries);
}

export function toggle(title: string, on: boolean, told: (on: boolean) => void): HTMLElement {
  const change = (event: Event) => told((event.target as HTMLInputElement).checked);
  return h("label", { class: "toggle" }, h("input", { type: "checkbox", checked: on, onchange: change }), h("span", { text: title }));
}

/** Tells the words when nothing was typed for a moment. */
export function search(label: string, words: string, told: (words: string) => void): HTMLElement {
  let timer: ReturnType<typeof setTimeout>;
  const later = (event: Event) => {
    clearTimeout(timer);
    timer = setTimeout(() => told((event.target as HTMLInputElement).value), 120);
  };
  return h("input", { type: "search", value: words, placeholder: label, "aria-label": label, oninput: later });
}

/** Any of the methods. */
export function chips(
  legend: string,
  labels: string[],
  marks: Marks,
  chosen: Set<string>,
  told: (labels: Set<string>) => void,
): HTMLElement {
  const boxes = labels.map((label) =>
    h(
      "label",
      { class: "chip" },
      h("input", { type: "checkbox", value: label, checked: chosen.has(label), onchange: () => change() }),
      icon(marks.get(label)),
      h("span", { text: label }),
    ),
  );
  const all = (on: boolean) => h("button", { type: "button", class: "plain", text: on ? "all" : "none", onclick: () => set(on) });
  const fields = h("fieldset", {}, h("legend", { class: "unseen", text: legend }), all(true), all(false), ...boxes);
  const element = h("details", { class: "chips" }, h("summary", { text: legend }), fields);

  function change(): void {
    told(new Set([...element.querySelectorAll<HTMLInputElement>("input:checked")].map((box) => box.value)));
  }

  function set(on: boolean): void {
    for (const box of element.querySelectorAll("input")) box.checked = on;
    change();
  }

  return element;
}

/** Two authors in one line. */
export function logo(): SVGSVGElement {
  const runs: [string, number, number][] = [
    ["big", 0, 9],
    ["small", 11, 13],
    ["big", 26, 4],
    ["small", 32, 8],
  ];
  const bars = runs.map(([author, x, width]) => draw("rect", { class: author, x, y: 5, width, height: 6, rx: 3 }));
  return draw("svg", { class: "logo", viewBox: "0 0 40 16", "aria-hidden": "true" }, ...bars);
}
