// "Train this": start a short run on this machine, one at a time, and stop it.
import { signal } from "../../vendor/signals-core.js";
import { TASKS } from "../core/config_text.js";
import { field, freshId } from "../core/controls.js";
import { h, onEnd, watch } from "../core/dom.js";
import { networkOf } from "../core/sites.js";
import { getJson, postJson } from "../core/source.js";

/** What the network learns: a text for the transformer, samples for the others. */
function dataFields(state, source) {
  const samples = h("select", { onchange: (event) => (state.task.value = event.target.value) },
    Object.entries(TASKS).map(([name, { title }]) => h("option", { value: name }, title)));
  watch(() => (samples.value = state.task.value));
  const fields = [field("Text", source), field("Data", samples)];
  watch(() => fields.forEach((one, i) => (one.hidden = (state.net.value !== "transformer") === (i === 0))));
  return fields;
}

export function trainer(state, token, lab) {
  const isLive = !lab.isExport, status = signal(null), said = signal("");
  const steps = h("input", { type: "number", min: 20, max: 5000, step: 10, value: 300, class: "rd-number" });
  const source = h("select", null, h("option", { value: "reference:25000" }, "reference text, 25,000 characters"), h("option", { value: "markov:16000" }, "generated language of known entropy"));
  let timer = 0;
  async function look() {
    try {
      status.value = (await getJson("api/state")).trainer;
      timer = setTimeout(look, 1500);
    } catch {
      said.value = "The server does not answer.";
      timer = setTimeout(look, 5000);
    }
  }
  if (isLive) look();
  onEnd(() => clearTimeout(timer));

  async function ask(path, body) {
    try {
      status.value = await postJson(path, body, token);
      said.value = "";
    } catch (error) {
      said.value = error.message;
    }
  }
  async function start() {
    const { name, kinds, rates } = networkOf(state);
    const what = name === "transformer" ? { data: source.value, norm: state.norm.value } : { network: name, task: state.task.value };
    await ask("api/train", {
      ...what, steps: steps.valueAsNumber, seed: Number(state.seed.value % (2n ** 53n)),
      rates: Object.fromEntries(kinds.map((kind, i) => [kind, rates.value[i]])),
    });
    if (status.value?.is_running) state.study.value = status.value.study;
  }
  const running = () => status.value?.is_running ?? false;
  const message = () => said.value || status.value?.failure ||
    (running() ? "A run is under way; its curves grow in the view “Runs”." : status.value?.study ? "The run has ended; its curves are in the view “Runs”." : "Runs on this machine only, one at a time; it can be stopped and its record stays.");
  const heading = freshId("train");
  return h("section", { class: "rd-train", "aria-labelledby": heading },
    h("h3", { id: heading }, "Train this"),
    isLive
      ? h("div", { class: "rd-controls rd-tight" }, ...dataFields(state, source), field("Steps", steps),
        h("div", { class: "rd-field rd-bottom" }, h("div", { class: "rd-row" },
          h("button", { type: "button", class: "rd-button rd-primary", disabled: running, onclick: start }, "Start"),
          h("button", { type: "button", class: "rd-button", disabled: () => !running(), onclick: () => ask("api/stop", {}) }, "Stop"),
          h("button", { type: "button", class: "rd-button", disabled: () => !status.value?.study, onclick: () => {
            state.study.value = status.value.study;
            state.view.value = "runs";
          } }, "See its curves"))))
      : null,
    h("p", { class: "rd-hint", "aria-live": "polite" }, isLive ? message : "An exported page cannot train. Run the command above, or open the page with `redrop lab`."));
}
