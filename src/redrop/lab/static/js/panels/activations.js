// A vector through a dropout layer: what vanishes, what grows, and what happens to the mean.
import { computed, signal } from "../../vendor/signals-core.js";
import { sharpCanvas } from "../core/canvas.js";
import { choice, field, rateField, seedField, snippet, stat, stepField, tableOf } from "../core/controls.js";
import { h, scope, watch } from "../core/dom.js";
import { exact, integer, number, python } from "../core/format.js";
import { keepMask, maskKey, scale, siteId, threshold } from "../core/mask.js";
import { maskHash } from "../core/sha256.js";
import { FIELDS, LARGEST_STEP } from "../core/state.js";
import { colours } from "../core/theme.js";
import { bars } from "./bars.js";

export const SITE = "Dropout"; // the name that redrop.attach gives to a lone dropout layer
const DRAWS = 1000;

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** What the layer does: the mask belongs to (seed, step); p only nests it, eval only ignores it. */
export function dropped(state) {
  const keep = computed(() => keepMask(maskKey(state.seed.value, state.step.value, siteId(SITE)), state.p.value, [state.x.value.length]));
  return computed(() => {
    const before = state.x.value, isTraining = state.mode.value === "train";
    const factor = isTraining ? scale(threshold(state.p.value)) : 1;
    const bits = keep.value;
    const after = before.map((x, i) => (isTraining ? (bits[i] ? x * factor : 0) : x));
    return {
      before, after, factor, isTraining, keep: bits,
      isDropped: (i) => isTraining && !bits[i],
      meanBefore: mean(before), meanAfter: mean(after),
      kept: bits.reduce((sum, bit) => sum + bit, 0),
    };
  });
}

/** Means after dropout over the first steps of this seed, and what theory says of their spread. */
export function spread(state) {
  return computed(() => {
    const x = state.x.value, T = threshold(state.p.value), factor = scale(T), site = siteId(SITE);
    const means = new Float64Array(DRAWS);
    for (let step = 0; step < DRAWS; step++) {
      const keep = keepMask(maskKey(state.seed.value, step, site), state.p.value, [x.length]);
      let sum = 0;
      for (let i = 0; i < x.length; i++) if (keep[i]) sum += x[i] * factor;
      means[step] = sum / x.length;
    }
    const centre = mean(means), rate = T / 2 ** 32;
    const squares = x.reduce((sum, value) => sum + value * value, 0);
    return {
      means, centre,
      sd: Math.sqrt(means.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (DRAWS - 1)),
      theory: rate === 1 ? 0 : Math.sqrt((rate / (1 - rate)) * squares) / x.length,
    };
  });
}

function histogram(state, model, draws) {
  const surface = sharpCanvas((context, width, height) => {
    const colour = colours(surface.canvas, ["ink", "ink-2", "rule", "kept-soft", "mean"]);
    const { means } = draws.value, { meanBefore, meanAfter } = model.value;
    const low = Math.min(...means, meanBefore, meanAfter), high = Math.max(...means, meanBefore, meanAfter);
    const span = high - low || 1, bins = new Array(Math.max(10, Math.min(48, Math.floor(width / 9)))).fill(0);
    const place = (value) => 6 + ((value - low) / span) * (width - 12);
    for (const value of means) bins[Math.min(bins.length - 1, Math.floor(((value - low) / span) * bins.length))]++;
    const most = Math.max(...bins), base = height - 22, slot = (width - 12) / bins.length;
    context.fillStyle = colour["kept-soft"];
    bins.forEach((n, i) => context.fillRect(6 + i * slot, base - (n / most) * (base - 8), Math.max(1, slot - 1), (n / most) * (base - 8)));
    const line = (value, paint, dash) => {
      context.strokeStyle = paint;
      context.lineWidth = 2;
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(place(value), 2);
      context.lineTo(place(value), base);
      context.stroke();
      context.setLineDash([]);
    };
    line(meanBefore, colour.ink, [7, 5]);
    line(meanAfter, colour.mean, []);
    context.fillStyle = colour["ink-2"];
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.fillText(number(low, 2), 6, height - 9);
    context.textAlign = "right";
    context.fillText(number(high, 2), width - 6, height - 9);
  }, () => 150);
  return surface.holder;
}

/** The masks of the steps around this one, a row each; a click goes to that step. */
function history(state) {
  const ROWS = 9, HEIGHT = 16;
  const first = computed(() => Math.min(Math.max(0, state.step.value - 4), LARGEST_STEP - ROWS + 1));
  const surface = sharpCanvas((context, width) => {
    const colour = colours(surface.canvas, ["ink", "ink-2", "kept", "kept-soft", "drop", "rule", "paper"]);
    const size = state.x.value.length, site = siteId(SITE), slot = (width - 64) / size;
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (let i = 0; i < ROWS; i++) {
      const step = first.value + i, isNow = step === state.step.value, y = i * HEIGHT;
      const keep = keepMask(maskKey(state.seed.value, step, site), state.p.value, [size]);
      context.fillStyle = isNow ? colour.ink : colour["ink-2"];
      context.font = isNow ? "600 12px system-ui, sans-serif" : "12px system-ui, sans-serif";
      context.fillText(String(step), 54, y + HEIGHT / 2);
      keep.forEach((bit, k) => {
        context.fillStyle = bit ? (isNow ? colour.kept : colour["kept-soft"]) : colour.rule;
        const inset = bit ? 1.5 : HEIGHT / 2 - 2;
        context.fillRect(60 + k * slot + 0.5, y + inset, Math.max(1, slot - 1), HEIGHT - 2 * inset);
      });
    }
  }, () => ROWS * HEIGHT);
  surface.canvas.classList.add("rd-clickable");
  surface.canvas.addEventListener("click", (event) => (state.step.value = first.value + Math.min(ROWS - 1, Math.floor(event.offsetY / HEIGHT))));
  return surface.holder;
}

function code(state) {
  return [
    "import torch",
    "import redrop",
    "from redrop.nn import Dropout",
    "",
    `x = torch.tensor([${state.x.value.map(python).join(", ")}])`,
    `layer = Dropout(p=${exact(state.p.value)})`,
    `run = redrop.attach(layer, seed=${state.seed.value})`,
    `run.set_step(${state.step.value})`,
    ...(state.mode.value === "eval" ? ["layer.eval()"] : []),
    "print(layer(x))",
    "",
    "import hashlib  # the mask alone, without PyTorch",
    `keep = redrop.replay(seed=${state.seed.value}, step=${state.step.value}, site="${SITE}",`,
    `                     p=${exact(state.p.value)}, shape=(${state.x.value.length},))`,
    'print(hashlib.sha256("".join(map(str, keep.astype(int))).encode()).hexdigest())',
  ].join("\n");
}

function valuesField(state) {
  const input = h("input", { type: "text", class: "rd-wide", spellcheck: "false", autocomplete: "off" });
  watch(() => (input.value = state.x.value.map(exact).join(", ").replaceAll("−", "-")));
  input.addEventListener("change", () => {
    const text = input.value.replaceAll("−", "-").split(/[\s,;]+/).filter(Boolean).join(",");
    const values = text ? FIELDS.x.read(text) : undefined;
    input.setCustomValidity(values ? "" : "1 to 256 numbers with commas between them.");
    if (values) state.x.value = values;
    else input.reportValidity();
  });
  return field("Values x", input);
}

function countField(state) {
  const resize = (event) => {
    const size = event.target.valueAsNumber, x = state.x.value;
    if (Number.isInteger(size) && size >= 1 && size <= 256) {
      state.x.value = Array.from({ length: size }, (_, i) => (i < x.length ? x[i] : FIELDS.x.first[i % FIELDS.x.first.length]));
    }
    event.target.value = state.x.value.length;
  };
  return field("How many", h("input", { type: "number", min: 1, max: 256, class: "rd-number", value: () => state.x.value.length, onchange: resize }));
}

function reading(model, chosen) {
  return () => {
    const { before, after, factor, isTraining, isDropped } = model.value, i = chosen.value;
    if (i === null || i >= before.length) {
      return isTraining
        ? "Outline: before. Filled: after. A cross marks a dropped value. Drag a bar to change it."
        : "In eval mode the layer passes everything through unchanged. The mask waits.";
    }
    const left = `x[${i}] = ${number(before[i])}`;
    if (!isTraining) return `${left} → ${number(after[i])}, unchanged in eval mode`;
    return isDropped(i) ? `${left} → 0, dropped` : `${left} → ${number(before[i])} × ${number(factor)} = ${number(after[i])}, kept`;
  };
}

export function mount(place, { state }) {
  const view = scope(() => {
    const model = dropped(state), draws = spread(state), chosen = signal(null);
    const edit = (i, value) => {
      if (i !== null && Math.abs(value) <= 1e6) state.x.value = state.x.value.map((old, k) => (k === i ? value : old));
    };
    const legend = h("p", { class: "rd-legend" },
      h("span", { class: "rd-key rd-key-dash" }, "mean before"), h("span", { class: "rd-key rd-key-mean" }, "mean after"),
      h("span", { class: "rd-key rd-key-kept" }, "kept"), h("span", { class: "rd-key rd-key-drop" }, "dropped"));
    return h("div", { class: "rd-panel" },
      h("div", { class: "rd-controls" },
        rateField("p, the probability of dropping", state.p),
        choice("Mode", state.mode, [["train", "Train"], ["eval", "Eval"]]),
        stepField(state.step, { next: "Resample", label: "Step (a new mask each)" }),
        seedField(state.seed)),
      bars(model, chosen, edit),
      legend,
      h("p", { class: "rd-reading", "aria-live": "polite" }, reading(model, chosen)),
      h("dl", { class: "rd-stats" },
        stat("Kept", () => (model.value.isTraining ? `${model.value.kept} of ${model.value.before.length}` : "all")),
        stat("Survivors are multiplied by", () => (model.value.factor ? number(model.value.factor) : "none survive"), "1 / (1 − p) in train mode, 1 in eval mode"),
        stat("Mean before", () => number(model.value.meanBefore)),
        stat("Mean after", () => number(model.value.meanAfter))),
      h("div", { class: "rd-controls" }, valuesField(state), countField(state)),
      h("div", { class: "rd-columns" },
        h("section", null,
          h("h3", null, "The mean over many masks"),
          histogram(state, model, draws),
          h("p", { class: "rd-hint" }, () =>
            `Steps 0 to ${integer(DRAWS - 1)} of this seed in train mode: mean ${number(draws.value.centre)}, standard deviation ${number(draws.value.sd)}. ` +
            (state.p.value < 1
              ? `Theory: mean ${number(model.value.meanBefore)}, standard deviation √(p/(1 − p) · Σx²) / n = ${number(draws.value.theory)}. One step misses the mean; the average over steps does not.`
              : "At p = 1 nothing is left to scale, so the mean is not preserved."))),
        h("section", null,
          h("h3", null, "Masks of neighbouring steps"),
          history(state),
          h("p", { class: "rd-hint" }, "Each step has its own mask, and always the same one. Move p: a mask only loses or regains members, it is never drawn anew. Click a row to go there."))),
      snippet("The same bits in Python", () => code(state)),
      h("p", { class: "rd-hash" }, "Mask, 1 = kept: ", h("code", null, () => Array.from(model.value.keep).join("")), h("br"), "SHA-256: ",
        h("code", { class: "rd-hash-value" }, () => maskHash(model.value.keep))),
      tableOf("Activations before and after dropout", () => ({
        head: ["Index", "Before", "Mask", "After"],
        rows: model.value.before.map((x, i) => [i, number(x), model.value.keep[i] ? "kept" : "dropped", number(model.value.after[i])]),
      })));
  });
  place.append(view.root);
  return { destroy: view.destroy };
}
