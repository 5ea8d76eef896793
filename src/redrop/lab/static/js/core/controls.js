// The controls that several panels share. Each is labelled, works with the keyboard alone, and
// writes one signal.
import { signal } from "../../vendor/signals-core.js";
import { h, onEnd, watch } from "./dom.js";
import { LARGEST_STEP, readSeed } from "./state.js";

// Cells of one notebook may each load these modules anew; their ids must differ all the same.
const own = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
let count = 0;
export const freshId = (word) => `rd-${word}-${own}-${++count}`;

export function field(label, control, ...after) {
  const id = freshId("field");
  control.id = id;
  return h("div", { class: "rd-field" }, h("label", { for: id }, label), h("div", { class: "rd-row" }, control, ...after));
}

/** A slider with a number beside it that can be typed. */
export function rateField(label, rate, { note = "" } = {}) {
  const put = (event) => {
    const value = event.target.valueAsNumber;
    if (value >= 0 && value <= 1) rate.value = value;
  };
  const typed = h("input", {
    type: "number", min: 0, max: 1, step: "any", class: "rd-number", "aria-label": `${label}, as a number`,
    onchange: (event) => {
      put(event);
      event.target.value = rate.value;
    },
  });
  watch(() => {
    if (document.activeElement !== typed || typed.valueAsNumber !== rate.value) typed.value = rate.value;
  });
  const slider = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: () => rate.value, oninput: put });
  const made = field(label, slider, typed);
  if (note) made.append(h("p", { class: "rd-hint" }, note));
  return made;
}

/** Two to five words of which one holds, as radio buttons that look like one bar. */
export function choice(label, chosen, options) {
  const group = freshId("choice");
  const radios = options.map(([value, text]) =>
    h("label", { class: "rd-segment" },
      h("input", {
        type: "radio", name: group, value, checked: () => String(chosen.value) === String(value),
        onchange: () => (chosen.value = value),
      }),
      h("span", null, text)));
  return h("fieldset", { class: "rd-field rd-choice" }, h("legend", null, label), h("div", { class: "rd-segments" }, radios));
}

export function seedField(seed) {
  const input = h("input", { type: "text", inputmode: "numeric", class: "rd-seed", spellcheck: "false", autocomplete: "off" });
  watch(() => (input.value = String(seed.value)));
  input.addEventListener("change", () => {
    const value = readSeed(input.value);
    input.setCustomValidity(value === undefined ? "A whole number from 0 to 2^64 − 1." : "");
    if (value === undefined) input.reportValidity();
    else seed.value = value;
  });
  return field("Seed", input);
}

/** Step back, type a step, step on; and play. */
export function stepField(step, { next = "Next", label = "Step", canPlay = true } = {}) {
  const move = (by) => (step.value = Math.min(LARGEST_STEP, Math.max(0, step.value + by)));
  const input = h("input", {
    type: "number", min: 0, max: LARGEST_STEP, step: 1, class: "rd-number", value: () => step.value,
    onchange: (event) => {
      const typed = event.target.valueAsNumber;
      if (Number.isInteger(typed) && typed >= 0 && typed <= LARGEST_STEP) step.value = typed;
      event.target.value = step.value;
    },
  });
  const back = h("button", { type: "button", class: "rd-button", "aria-label": "Previous step", disabled: () => step.value === 0, onclick: () => move(-1) }, "←");
  const on = h("button", { type: "button", class: "rd-button rd-primary", onclick: () => move(1) }, next);
  const made = field(label, input);
  made.lastChild.prepend(back);
  made.lastChild.append(on);
  if (canPlay) made.lastChild.append(playButton(() => move(1)));
  return made;
}

const PLAY_MS = 700;

export function playButton(tick) {
  const isPlaying = signal(false);
  let timer = 0;
  watch(() => {
    clearInterval(timer);
    if (isPlaying.value) timer = setInterval(tick, PLAY_MS);
  });
  onEnd(() => clearInterval(timer));
  return h("button", { type: "button", class: "rd-button", onclick: () => (isPlaying.value = !isPlaying.value) },
    () => (isPlaying.value ? "Pause" : "Play"));
}

export function copyButton(read, words = "Copy") {
  const said = signal(words);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(read());
      said.value = "Copied";
    } catch {
      said.value = "Select and copy by hand";
    }
    setTimeout(() => (said.value = words), 1600);
  };
  return h("button", { type: "button", class: "rd-button rd-small", onclick: copy }, () => said.value);
}

export function snippet(label, read) {
  const code = h("code", null, () => read());
  return h("div", { class: "rd-snippet" },
    h("div", { class: "rd-snippet-head" }, h("span", null, label), copyButton(read)),
    h("pre", { tabindex: 0, role: "region", "aria-label": label }, code));
}

/** The same data as a table, built when it is opened and kept in step while it is open. */
export function tableOf(label, read, words = "Show as a table") {
  const isOpen = signal(false);
  const place = h("div", { class: "rd-table-scroll", tabindex: 0, role: "region", "aria-label": label });
  watch(() => {
    if (!isOpen.value) return place.replaceChildren();
    const { head, rows } = read();
    const cells = (row) => row.map((cell, i) => (i ? h("td", null, String(cell)) : h("th", { scope: "row" }, String(cell))));
    place.replaceChildren(h("table", { class: "rd-table" },
      h("caption", null, label),
      h("thead", null, h("tr", null, head.map((cell) => h("th", { scope: "col" }, cell)))),
      h("tbody", null, rows.map((row) => h("tr", null, cells(row))))));
  });
  return h("details", { class: "rd-details", ontoggle: (event) => (isOpen.value = event.target.open) },
    h("summary", null, words), place);
}

export function stat(label, read, note) {
  return h("div", { class: "rd-stat" }, h("dt", null, label), h("dd", null, () => read()), note ? h("dd", { class: "rd-stat-note" }, note) : null);
}
