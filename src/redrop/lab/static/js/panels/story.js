// The guided page: a chapter's text drives the figure beside it, which stays fully usable.
import { batch, computed, untracked } from "../../vendor/signals-core.js";
import { copyButton } from "../core/controls.js";
import { fill, h, onEnd, scope, watch } from "../core/dom.js";
import { FIELDS } from "../core/state.js";
import { CHAPTERS } from "./chapters.js";

/** Keep formulas on one line. */
const tied = (text) => text.replace(/ ([=−/·]) /g, "\u00a0$1\u00a0");

const command = (text) => [h("code", null, text), " ", copyButton(() => text)];

/** A point of a list: a statement, and where there is one the command that tests it. */
function point(entry) {
  const [text, test] = [entry].flat();
  return h("li", null, tied(text), ...(test ? [" ", h("span", { class: "rd-test" }, ...command(test))] : []));
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function apply(state, values) {
  batch(() => {
    for (const [name, value] of Object.entries(values)) state[name].value = value;
  });
}

/** Open a chapter: its figure starts as the text says. */
function open(state, index) {
  batch(() => {
    state.chapter.value = index;
    apply(state, CHAPTERS[index].set);
  });
}

/** A shared address may change a chapter's figure; what it does not name is as the text says. */
function complete(state, index) {
  for (const [name, value] of Object.entries(CHAPTERS[index].set)) {
    if (same(state[name].peek(), FIELDS[name].first)) state[name].value = value;
  }
}

function words(state, chapter) {
  const parts = (chapter.text ?? []).map((text) => h("p", null, tied(text)));
  if (chapter.try) {
    const isSet = (values) => () => String(Object.entries(values).every(([name, value]) => same(state[name].value, value)));
    parts.push(h("div", { class: "rd-row rd-try", role: "group", "aria-label": "Change the figure" },
      chapter.try.map(([label, values]) =>
        h("button", { type: "button", class: "rd-button rd-preset", "aria-pressed": isSet(values), onclick: () => apply(state, values) }, label))));
  }
  if (chapter.list) parts.push(h("ul", { class: "rd-list" }, chapter.list.map(point)));
  if (chapter.experiment) {
    parts.push(h("p", { class: "rd-experiment" }, h("span", null, "Test it: "), ...command(chapter.experiment)));
  }
  return parts;
}

export function mount(place, { state, lab, token, panels }) {
  const view = scope(() => {
    const index = computed(() => Math.min(state.chapter.value, CHAPTERS.length - 1));
    untracked(() => complete(state, index.value));
    const title = h("h3", { class: "rd-chapter-title", tabindex: -1 });
    const go = (by) => {
      open(state, index.value + by);
      title.focus({ preventScroll: true });
      title.scrollIntoView({ block: "nearest" });
    };
    const figure = h("div", { class: "rd-slim" });
    const name = computed(() => CHAPTERS[index.value].panel);
    let mounted = null;
    watch(() => {
      const mount = panels[name.value];
      untracked(() => {
        mounted?.destroy();
        figure.replaceChildren();
        mounted = mount(figure, { state, lab, token });
      });
    });
    onEnd(() => mounted?.destroy());
    watch(() => (title.textContent = tied(CHAPTERS[index.value].title)));
    const contents = fill(h("ol", { class: "rd-contents" }), () => {
      const now = index.value;
      return CHAPTERS.map((chapter, i) => h("li", null,
        h("button", { type: "button", "aria-current": i === now ? "step" : null, onclick: () => go(i - index.value) }, chapter.title)));
    });
    const text = fill(h("div", { class: "rd-words" }), () => {
      const chapter = CHAPTERS[index.value];
      return untracked(() => words(state, chapter));
    });
    return h("div", { class: "rd-story" },
      h("div", { class: "rd-story-text" },
        h("p", { class: "rd-count" }, () => `${index.value + 1} of ${CHAPTERS.length}`),
        title, text,
        h("div", { class: "rd-row rd-turn" },
          h("button", { type: "button", class: "rd-button", disabled: () => index.value === 0, onclick: () => go(-1) }, "Back"),
          h("button", { type: "button", class: "rd-button rd-primary", disabled: () => index.value === CHAPTERS.length - 1, onclick: () => go(1) }, "Next")),
        h("details", { class: "rd-details" }, h("summary", null, "All chapters"), h("nav", { "aria-label": "Chapters" }, contents))),
      h("section", { class: "rd-story-figure", "aria-label": "Figure" }, figure));
  });
  place.append(view.root);
  return { destroy: view.destroy };
}
