// The page: a header, five views, and the state that the address shares.
import { untracked } from "../vendor/signals-core.js";
import { copyButton } from "./core/controls.js";
import { h, watch } from "./core/dom.js";
import { embedded, loadLab, takeToken } from "./core/source.js";
import { bindAddress, createState } from "./core/state.js";
import { setTheme, storedTheme } from "./core/theme.js";
import { mount as mountActivations } from "./panels/activations.js";
import { mount as mountAttention } from "./panels/attention.js";
import { mount as mountBlock } from "./panels/block.js";
import { mount as mountRuns } from "./panels/runs.js";
import { mount as mountStory } from "./panels/story.js";

const VIEWS = {
  story: {
    title: "Story",
    lead: "Dropout from the beginning, with figures that you can change while you read.",
    mount: mountStory,
  },
  activations: {
    title: "Activations",
    lead: "A dropout layer sets each number to zero with probability p and multiplies every survivor by 1 / (1 − p). It does so in training only.",
    mount: mountActivations,
  },
  attention: {
    title: "Attention",
    lead: "Attention weights say how much each word takes from each earlier one. Dropout cuts single connections, after the softmax: a dropped weight becomes 0, the others grow by 1 / (1 − p), so rows no longer sum to 1.",
    mount: mountAttention,
  },
  runs: {
    title: "Runs",
    lead: "Studies of matched runs: at one seed all arms share weights, batches and the random numbers behind their masks, and differ in their recipes alone: dropout, and what else is put against overfitting.",
    mount: mountRuns,
  },
  block: {
    title: "Block",
    lead: "Where dropout sits in a network, old or modern. Choose a site to see what is there, its name in code, and its mask.",
    mount: mountBlock,
  },
};
const PANELS = Object.fromEntries(Object.entries(VIEWS).map(([name, { mount }]) => [name, mount]));

function themeButton() {
  const order = ["auto", "light", "dark"];
  let now = storedTheme();
  const words = () => `Theme: ${now}`;
  const button = h("button", { type: "button", class: "rd-button rd-small" }, words());
  button.addEventListener("click", () => {
    now = order[(order.indexOf(now) + 1) % order.length];
    setTheme(now);
    button.textContent = words();
  });
  setTheme(now);
  return button;
}

function header(state) {
  const tabs = Object.entries(VIEWS).map(([name, { title }]) =>
    h("a", {
      href: `#v=1&view=${name}`,
      "aria-current": () => (state.view.value === name ? "page" : null),
      onclick: (event) => {
        event.preventDefault();
        state.view.value = name;
      },
    }, title));
  const skip = (event) => {
    event.preventDefault();
    document.querySelector("main").focus();
  };
  return h("header", { class: "rd-header" },
    h("a", { class: "rd-skip", href: "#rd-main", onclick: skip }, "Skip to the figure"),
    h("h1", { class: "rd-name" }, "redrop lab"),
    h("nav", { class: "rd-tabs", "aria-label": "Views" }, tabs),
    h("div", { class: "rd-tools" }, copyButton(() => location.href, "Copy link"), themeButton()));
}

function main(state, lab, token) {
  const place = h("main", { id: "rd-main", tabindex: -1 });
  let mounted = null;
  watch(() => {
    const { title, lead, mount } = VIEWS[state.view.value];
    untracked(() => {
      mounted?.destroy();
      document.title = `${title} · redrop lab`;
      place.replaceChildren(h("h2", null, title), h("p", { class: "rd-lead" }, lead));
      mounted = mount(place, { state, lab, token, panels: PANELS });
    });
  });
  return place;
}

const token = takeToken(), initial = embedded("state") ?? {};
const state = createState(initial);
bindAddress(state, initial);
const lab = loadLab();
// #embed=figure shows a figure alone, for a slide or a frame in an exported page.
const frame = () => `rd-page${state.embed.value === "figure" ? " rd-embed" : ""}`;
document.querySelector(".rd-boot").remove(); // the name, shown while the modules were on their way
document.body.append(h("div", { class: frame }, header(state), main(state, lab, token)));
