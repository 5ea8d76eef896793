// Studies as they grow: losses over steps, means over seeds, and the paired difference.
import { computed, signal } from "../../vendor/signals-core.js";
import { choice, field, tableOf } from "../core/controls.js";
import { fill, h, scope, watch } from "../core/dom.js";
import { exact, integer, number, signed } from "../core/format.js";
import { followStudies } from "../core/studies.js";
import { ARM_COLOURS, curves, DASHES } from "./curves.js";

const METRIC_NAMES = {
  validation_loss: ["Validation", "Validation loss in eval mode, nats per token. This is what counts."],
  train_loss: ["Train, train mode", "Training loss as the optimizer sees it, dropout on: the mean over the steps since the last evaluation. Not comparable to validation, which is measured with dropout off."],
  train_eval_loss: ["Train, eval mode", "Training loss with dropout off, on fixed windows of the training text: comparable to validation."],
  gap: ["Gap", "Generalization gap: validation minus training loss, both in eval mode. A smaller gap alone is no success; a run that learns nothing has none."],
};

function armLine(index) {
  const line = h("canvas", { width: 56, height: 8, class: "rd-arm-line", "aria-hidden": "true" });
  requestAnimationFrame(() => {
    const context = line.getContext("2d");
    context.strokeStyle = getComputedStyle(line).getPropertyValue(`--rd-arm-${index % ARM_COLOURS}`);
    context.lineWidth = 5;
    context.setLineDash(DASHES[index % DASHES.length].map((n) => 2 * n));
    context.beginPath();
    context.moveTo(0, 4);
    context.lineTo(56, 4);
    context.stroke();
  });
  return line;
}

function armChooser(state, study) {
  const toggle = (name, isShown) => {
    const others = state.hidden.value.filter((arm) => arm !== name);
    state.hidden.value = isShown ? others : [...others, name];
  };
  return fill(h("div", { class: "rd-arms" }), () => {
    const arms = study.value?.plan.arms ?? [];
    return arms.map(({ name, label }, i) =>
      h("label", { class: "rd-arm" },
        h("input", { type: "checkbox", checked: !state.hidden.peek().includes(name), onchange: (event) => toggle(name, event.target.checked) }),
        armLine(i), h("span", null, label), name === study.value.plan.baseline ? h("span", { class: "rd-tag" }, "baseline") : null));
  });
}

/** The chart of one metric: every run, and the means of the complete ones. */
function chartOf(state, study) {
  return computed(() => {
    const now = study.value, metric = state.metric.value;
    if (!now) return null;
    const isShown = (line) => !state.hidden.value.includes(line.arm);
    return {
      key: `${now.name} ${metric}`, marks: metric === "gap" ? [0] : [],
      arms: now.plan.arms.map(({ name }) => name),
      means: now.means[metric].filter(isShown),
      seeds: now.runs.filter(isShown).map((run) => ({ arm: run.arm, seed: run.seed, steps: run.evals.step, values: run.evals[metric] })),
    };
  });
}

function differenceOf(state, study) {
  return computed(() => {
    const now = study.value, metric = state.metric.value;
    const means = now ? now.differences[metric].filter((line) => !state.hidden.value.includes(line.arm)) : [];
    if (means.length === 0) return null;
    const { margin } = now.plan, hasMargin = margin > 0 && metric === "validation_loss";
    return {
      key: `${now.name} ${metric} difference`, marks: hasMargin ? [0, margin, -margin] : [0],
      arms: now.plan.arms.map(({ name }) => name), means, seeds: [],
    };
  });
}

const valueAt = (steps, values, step) => values[steps.indexOf(step)] ?? null;

function reading(chart, at, sign) {
  return () => {
    const now = chart.value, step = at.value;
    if (!now) return "";
    if (step === null) return "Point at a step to read it; click it to see its masks.";
    const parts = now.means.map((line) => {
      const value = valueAt(line.steps, line.mean, step), spread = line.spread && valueAt(line.steps, line.spread, step);
      return value === null ? null : `${line.arm} ${sign(value)}${spread ? ` ± ${number(spread)}` : ""}`;
    }).filter(Boolean);
    const single = now.means.length ? [] : now.seeds.map((line) => {
      const value = valueAt(line.steps, line.values, step);
      return value === null ? null : `${line.arm}, seed ${line.seed}: ${number(value)}`;
    }).filter(Boolean);
    return `Step ${integer(step)}: ${[...parts, ...single].join("; ") || "no value"}.`;
  };
}

/** Go to the masks that a step used: seed and p of a shown arm that drops attention weights. */
function showMasks(state, study, lab) {
  return (step) => {
    const now = study.value, shown = now.runs.filter((run) => !state.hidden.value.includes(run.arm));
    const rateOf = (run) => now.plan.arms.find(({ name }) => name === run.arm).rates.attention_weights ?? 0;
    const run = shown.find((one) => rateOf(one) > 0) ?? shown[0] ?? now.runs[0];
    if (!run) return;
    const last = Math.max(0, (now.plan.steps ?? step + 1) - 1);
    state.seed.value = BigInt(run.seed);
    state.step.value = Math.min(step, last);
    state.ap.value = rateOf(run);
    state.show.value = "after";
    const model = lab.models.value.find((entry) => entry.name.startsWith("run:") && entry.name.endsWith(`-${run.id}`));
    if (model) state.model.value = model.name;
    state.view.value = "attention";
  };
}

function summary(study) {
  return () => {
    const now = study.value;
    if (!now) return "";
    const done = now.runs.filter((run) => run.status !== "unfinished").length, open = now.runs.length - done;
    const planned = now.plan.arms.length * now.plan.seeds.length;
    return `${done} of ${planned} ${planned === 1 ? "run" : "runs"} complete${open ? `, ${open} under way or interrupted` : ""}. ` +
      (now.plan.seeds.length > 1 ? "Strong line: mean over seeds. Band: ± one standard deviation over seeds. Thin lines: single seeds." : "One seed: nothing can be said about its spread.");
  };
}

function differenceNote(study) {
  return () => {
    const plan = study.value?.plan;
    if (!plan) return "";
    const confidence = `${exact(100 * plan.confidence)} %`;
    return `Mean over seeds of (arm − ${plan.baseline}) at the same seed: both runs share initial weights, batches and the random numbers behind their masks. ` +
      `Band: paired t interval at ${confidence}${plan.comparisons > 1 ? `, widened for ${plan.comparisons} comparisons` : ""}; each step is judged alone. Below zero is better than the baseline.` +
      (plan.margin > 0 ? ` Dashed: the margin of ${exact(plan.margin)} nats that was fixed beforehand.` : "");
  };
}

function studyField(state, data) {
  const select = h("select", { onchange: (event) => (state.study.value = event.target.value) });
  let shown = "";
  watch(() => {
    const text = JSON.stringify(data.list.value);
    if (text !== shown) select.replaceChildren(...data.list.value.map(({ name, title }) => h("option", { value: name }, title)));
    shown = text;
    select.value = data.study.value?.name ?? "";
  });
  return field("Study", select);
}

function empty(data) {
  return () => {
    if (data.trouble.value && !data.study.value) return data.trouble.value;
    if (!data.isLoaded.value) return "Looking for studies …";
    return data.isLive
      ? "No study in this folder yet. Run `redrop study my.txt`, or start a short run in the view “Block”: its curves appear here while it trains."
      : "This page was exported without a study. `redrop lab STUDY --export page.html` puts one in.";
  };
}

function table(chart) {
  return () => {
    const now = chart.value;
    if (!now) return { head: [], rows: [] };
    const steps = [...new Set(now.seeds.flatMap((line) => line.steps))].sort((a, b) => a - b);
    return {
      head: ["Step", ...now.seeds.map((line) => `${line.arm}, seed ${line.seed}`)],
      rows: steps.map((step) => [step, ...now.seeds.map((line) => number(valueAt(line.steps, line.values, step), 4))]),
    };
  };
}

export function mount(place, { state, lab }) {
  const view = scope(() => {
    const data = followStudies(state.study), at = signal(null), { study } = data;
    const chart = chartOf(state, study), difference = differenceOf(state, study), pick = showMasks(state, study, lab);
    const hasStudy = () => study.value !== null;
    return h("div", { class: "rd-panel" },
      h("p", { class: "rd-empty", hidden: hasStudy }, empty(data)),
      h("div", { hidden: () => !hasStudy() },
        h("p", { class: "rd-trouble", role: "alert", hidden: () => !data.trouble.value }, () => data.trouble.value),
        h("div", { class: "rd-controls" }, studyField(state, data),
          choice("Curve", state.metric, Object.entries(METRIC_NAMES).map(([name, [short]]) => [name, short]))),
        armChooser(state, study),
        h("p", { class: "rd-hint" }, () => METRIC_NAMES[state.metric.value][1]),
        curves("Curves of the chosen loss over steps", chart, at, pick),
        h("p", { class: "rd-reading", "aria-live": "polite" }, reading(chart, at, number)),
        h("p", { class: "rd-hint" }, summary(study)),
        h("section", { hidden: () => difference.value === null },
          h("h3", { class: "rd-figure-title" }, "Paired difference to the baseline"),
          curves("Paired difference to the baseline over steps", difference, at, pick),
          h("p", { class: "rd-reading", "aria-live": "polite" }, reading(difference, at, signed)),
          h("p", { class: "rd-hint" }, differenceNote(study))),
        tableOf("Values of each run", table(chart))));
  });
  place.append(view.root);
  return { destroy: view.destroy };
}
