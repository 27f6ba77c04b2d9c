// Controls: each tells what was chosen. All are the browser's own, so keyboards and screen readers know them.

import { draw, h } from "./dom.js";
import { icon } from "./legend.js";

let groups = 0;

/** One of a few, all in sight. `choices`: [key, title, hint]. */
export function choice(legend, choices, chosen, told) {
  groups += 1;
  const name = `choice${groups}`;
  const buttons = choices.map(([key, title, about]) =>
    h("label", { title: about }, h("input", { type: "radio", name, value: key, checked: key === chosen, onchange: () => told(key) }), h("span", { text: title })),
  );
  return h("fieldset", { class: "choice" }, h("legend", { text: legend }), ...buttons);
}

/** One of many. `choices`: [key, title]. */
export function options(label, choices, chosen, told) {
  const entries = choices.map(([key, title]) => h("option", { value: key, selected: key === chosen, text: title }));
  return h("select", { "aria-label": label, onchange: (event) => told(event.target.value) }, ...entries);
}

export function toggle(title, on, told) {
  return h("label", { class: "toggle" }, h("input", { type: "checkbox", checked: on, onchange: (event) => told(event.target.checked) }), h("span", { text: title }));
}

/** Tells the words when nothing was typed for a moment. */
export function search(label, words, told) {
  let timer = 0;
  const later = (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => told(event.target.value), 120);
  };
  return h("input", { type: "search", value: words, placeholder: label, "aria-label": label, oninput: later });
}

/** Any of the methods. */
export function chips(legend, labels, marks, chosen, told) {
  const boxes = labels.map((label) =>
    h("label", { class: "chip" }, h("input", { type: "checkbox", value: label, checked: chosen.has(label), onchange: change }), icon(marks.get(label)), h("span", { text: label })),
  );
  const all = (on) => h("button", { type: "button", class: "plain", text: on ? "all" : "none", onclick: () => set(() => on) });
  const element = h("details", { class: "chips" }, h("summary", { text: legend }), h("fieldset", {}, h("legend", { class: "unseen", text: legend }), all(true), all(false), ...boxes));

  function change() {
    told(new Set([...element.querySelectorAll("input:checked")].map((box) => box.value)));
  }

  function set(on) {
    for (const box of element.querySelectorAll("input")) box.checked = on(box.value);
    change();
  }

  return element;
}

/** Two hands in one line. */
export function logo() {
  const runs = [["big", 0, 9], ["small", 11, 13], ["big", 26, 4], ["small", 32, 8]];
  const bars = runs.map(([author, x, width]) => draw("rect", { class: author, x, y: 5, width, height: 6, rx: 3 }));
  return draw("svg", { class: "logo", viewBox: "0 0 40 16", "aria-hidden": "true" }, ...bars);
}
