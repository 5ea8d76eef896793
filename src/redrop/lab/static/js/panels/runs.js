// Studies as they grow: losses over steps, means over seeds, and the paired difference.
import { computed, signal } from "../../vendor/signals-core.js";
import { choice, field, tableOf } from "../core/controls.js";
import { fill, h, rebuild, scope, watch } from "../core/dom.js";
import { exact, integer, number, signed } from "../core/format.js";
import { networkOf } from "../core/sites.js";
import { KINDS } from "../core/state.js";
import { followStudies } from "../core/studies.js";
import { colours } from "../core/theme.js";
import { ARM_COLOURS, curves, DASHES } from "./curves.js";

const LOSSES = {
  validation_loss: ["Validation", (unit) => `Validation loss in eval mode, ${unit}. This is what counts.`],
  train_loss: ["Train, train mode", (unit) => `Training loss as the optimizer sees it, dropout on, ${unit}: the mean over the steps since the last evaluation. Not comparable to validation, which is measured with dropout off.`],
  train_eval_loss: ["Train, eval mode", (unit) => `Training loss with dropout off, ${unit}, always on the same part of the training data: comparable to validation.`],
  gap: ["Gap", (unit) => `Generalization gap: validation minus training loss, both in eval mode, ${unit}. A smaller gap alone is no success; a run that learns nothing has none.`],
};
const LOWER = "Below zero is better than the baseline.", HIGHER = "Above zero is better than the baseline.";
const METRICS = {
  accuracy: ["Accuracy", "Share of right first guesses on the validation data, in eval mode. Higher is better.", HIGHER],
  macro_f1: ["Macro F1", "F1 of each class on the validation data, averaged over classes. Higher is better.", HIGHER],
  calibration_error: ["Calibration error", "How far confidence and accuracy lie apart on the validation data. Lower is better.", LOWER],
  rmse: ["RMSE", "Root mean squared error on the validation data, in the unit of the target. Lower is better.", LOWER],
  mae: ["MAE", "Mean absolute error on the validation data, in the unit of the target. Lower is better.", LOWER],
  r2: ["R²", "Share of the target's variance on the validation data that the predictions explain. Higher is better.", HIGHER],
};
const nameOf = (metric) => METRICS[metric]?.[0] ?? metric;

/** What is drawn: the quantity that the address names, or where the records have it not, the validation loss. */
const shownMetric = (state, study) => (study && Object.hasOwn(study.means, state.metric.value) ? state.metric.value : "validation_loss");

function metricNote(state, study) {
  return () => {
    const metric = shownMetric(state, study.value);
    return LOSSES[metric]?.[1](study.value?.plan.unit) ?? METRICS[metric]?.[1] ?? `${metric} on the validation data.`;
  };
}

/** Two groups of one choice: the losses, and the metrics that the records of this study have. */
function quantityChoices(state, study) {
  const chosen = {
    get value() { return shownMetric(state, study.value); },
    set value(metric) { state.metric.value = metric; },
  };
  const names = computed(() => (study.value?.metrics ?? []).join(" "));
  const metrics = rebuild(h("div"), () => {
    const known = names.value.split(" ").filter(Boolean);
    return known.length ? choice("Metric", chosen, known.map((metric) => [metric, nameOf(metric)])) : null;
  });
  return [choice("Curve", chosen, Object.entries(LOSSES).map(([name, [short]]) => [name, short])), metrics];
}

function armLine(index) {
  const line = h("canvas", { width: 56, height: 8, class: "rd-arm-line", "aria-hidden": "true" });
  requestAnimationFrame(() => {
    const context = line.getContext("2d");
    const name = `arm-${index % ARM_COLOURS}`;
    context.strokeStyle = colours(line, [name])[name];
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
    const now = study.value, metric = shownMetric(state, now);
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
    const now = study.value, metric = shownMetric(state, now);
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

const rateOf = (run, kind) => run.rates[kind] ?? (kind === "attention_weights" ? run.rates.all : 0) ?? 0;
const kindsOf = (run) => KINDS[run.network] ?? ["attention_weights"];
const mostDropped = (run) => kindsOf(run).reduce((most, kind) => (rateOf(run, kind) > rateOf(run, most) ? kind : most));

/** A shown run that drops, one that drops attention weights before others. */
function runToShow(now, hidden) {
  const shown = now.runs.filter((run) => !hidden.includes(run.arm));
  return shown.find((run) => rateOf(run, "attention_weights") > 0) ?? shown.find((run) => rateOf(run, mostDropped(run)) > 0) ?? shown[0] ?? now.runs[0];
}

/** Show the block that a run trained, with its rates, at the kind of site that drops most. */
function showBlock(state, run) {
  state.net.value = run.network;
  if (run.norm === "pre" || run.norm === "post") state.norm.value = run.norm;
  networkOf(state).rates.value = kindsOf(run).map((kind) => rateOf(run, kind));
  state.site.value = mostDropped(run);
  state.view.value = "block";
}

/** Go to the masks that a step used: on attention weights where the run drops those. */
function showMasks(state, study, lab) {
  return (step) => {
    const now = study.value, run = runToShow(now, state.hidden.value);
    if (!run) return;
    const last = Math.max(0, (now.plan.steps ?? step + 1) - 1), p = rateOf(run, "attention_weights");
    state.seed.value = BigInt(run.seed);
    state.step.value = Math.min(step, last);
    const hasAttention = kindsOf(run).includes("attention_weights");
    if (!hasAttention || (p === 0 && rateOf(run, mostDropped(run)) > 0)) return showBlock(state, run);
    state.ap.value = p;
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

function differenceNote(state, study) {
  return () => {
    const plan = study.value?.plan;
    if (!plan) return "";
    const metric = shownMetric(state, study.value), confidence = `${exact(100 * plan.confidence)} %`;
    const better = METRICS[metric]?.[2] ?? (metric === "gap" ? "Below zero the gap is smaller than the baseline's." : metric in LOSSES ? LOWER : "");
    return `Mean over seeds of (arm − ${plan.baseline}) at the same seed: both runs share initial weights, batches and the random numbers behind their masks. ` +
      `Band: paired t interval at ${confidence}${plan.comparisons > 1 ? `, widened for ${plan.comparisons} comparisons` : ""}; each step is judged alone. ${better}` +
      (plan.margin > 0 && metric === "validation_loss" ? ` Dashed: the margin of ${exact(plan.margin)} ${plan.short_unit} that was fixed beforehand.` : "");
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
        h("div", { class: "rd-controls" }, studyField(state, data), ...quantityChoices(state, study)),
        armChooser(state, study),
        h("p", { class: "rd-hint" }, metricNote(state, study)),
        curves("Curves of the chosen quantity over steps", chart, at, pick),
        h("p", { class: "rd-reading", "aria-live": "polite" }, reading(chart, at, number)),
        h("p", { class: "rd-hint" }, summary(study)),
        h("section", { hidden: () => difference.value === null },
          h("h3", { class: "rd-figure-title" }, "Paired difference to the baseline"),
          curves("Paired difference to the baseline over steps", difference, at, pick),
          h("p", { class: "rd-reading", "aria-live": "polite" }, reading(difference, at, signed)),
          h("p", { class: "rd-hint" }, differenceNote(state, study))),
        tableOf("Values of each run", table(chart))));
  });
  place.append(view.root);
  return { destroy: view.destroy };
}
