// Tokens x tokens: the weights of a trained model, and what one step's mask makes of them.
import { computed, signal } from "../../vendor/signals-core.js";
import { choice, field, rateField, seedField, snippet, stat, stepField, tableOf } from "../core/controls.js";
import { h, scope, watch } from "../core/dom.js";
import { exact, number, signed } from "../core/format.js";
import { keepMask, maskKey, scale, siteId, threshold } from "../core/mask.js";
import { maskHash } from "../core/sha256.js";
import { dropWeights, forward, nextWord } from "../model/transformer.js";
import { headChooser } from "./heads.js";
import { heatmap, SMALL } from "./heatmap.js";
import { prediction } from "./prediction.js";
import { remoteLook } from "./remote.js";

const EXAMPLES = ["The cat sat on the mat", "A dog sat", "Your journey starts with one step", "The cat sat on the mat and it", "Your journey starts with one step and you"];
export const siteOf = (layer, model) => model.about.sites?.[layer] ?? `blocks.${layer}.attention.weights`;

/** The keep mask of one layer for the chosen sample: heads x query x key. */
export function layerMask(state, layer, { heads, length, model }) {
  const key = maskKey(state.seed.value, state.step.value, siteId(siteOf(layer, model)));
  const sample = state.sample.value;
  return keepMask(key, state.ap.value, [1, heads, length, length], {
    sizes: [sample + 1, heads, length, length], offset: [sample, 0, 0, 0],
  });
}

export const parseLink = (text) => {
  const [layer, head, q, k] = text.split("-").map(Number);
  return { layer, head, q, k };
};

function sever(weights, links, layer, length) {
  const cut = weights.slice();
  for (const link of links) if (link.layer === layer) cut[(link.head * length + link.q) * length + link.k] = 0;
  return cut;
}

/** Everything the panel shows, from the state and a loaded model. */
function compute(state, model, trouble) {
  const remote = remoteLook(state, model, trouble), isRemote = () => model.value?.about.remote === true;
  const words = computed(() => (isRemote() ? remote.words.value : model.value && model.value.encode(state.text.value)));
  const run = computed(() => {
    if (isRemote()) return remote.run.value;
    if (!model.value || words.value.ids.length === 0) return null;
    const { config } = model.value;
    return { ...forward(model.value, words.value.ids), layers: config.layers, heads: config.heads, labels: words.value.labels, model: model.value };
  });
  const place = computed(() => {
    const now = run.value;
    return now && { layer: Math.min(state.layer.value, now.layers - 1), head: Math.min(state.head.value, now.heads - 1) };
  });
  const mask = computed(() => run.value && layerMask(state, place.value.layer, run.value));
  const links = computed(() => {
    const now = run.value;
    return !now ? [] : state.cut.value.map(parseLink).filter((link) =>
      link.layer < now.layers && link.head < now.heads && link.q < now.length && link.k <= link.q);
  });
  return { words, run, place, mask, links, remote, isRemote, matrix: computed(() => run.value && matrixOf(state, run.value, place.value, mask.value, links.value)) };
}

function matrixOf(state, run, { layer, head }, mask, links) {
  const { length, labels } = run, size = length * length;
  const before = run.weights[layer].subarray(head * size, (head + 1) * size), keep = mask.subarray(head * size, (head + 1) * size);
  const after = dropWeights(before, keep, scale(threshold(state.ap.value)));
  const show = state.show.value;
  const values = show === "before" ? before : show === "after" ? after : after.map((value, i) => value - before[i]);
  const sums = new Float64Array(length), over = [];
  for (let q = 0; q < length; q++) {
    for (let k = 0; k <= q; k++) {
      sums[q] += values[q * length + k];
      if (show === "after" && after[q * length + k] > 1) over.push({ q, k });
    }
  }
  return {
    length, labels, values, sums, over, before, after, mask: keep,
    keep: show === "before" ? null : keep, isDifference: show === "difference",
    cuts: links.filter((link) => link.layer === layer && link.head === head),
  };
}

function odds(state, data, chosen) {
  return computed(() => {
    const run = data.run.value;
    if (data.isRemote()) return data.remote.odds.value;
    if (!run) return null;
    const locked = state.cell.value && Number(state.cell.value.split("-")[0]);
    const row = Math.min(run.length - 1, chosen.value?.q ?? (state.cell.value ? locked : run.length - 1));
    const { ids } = data.words.value, links = data.links.value;
    const factor = scale(threshold(state.ap.value));
    const drop = (layer, weights) => dropWeights(weights, layerMask(state, layer, run), factor);
    return {
      after: run.labels[row], label: run.model.label, intact: nextWord(run, row),
      dropped: state.show.value === "before" ? null : nextWord(forward(run.model, ids, drop), row),
      severed: links.length ? nextWord(forward(run.model, ids, (layer, weights) => sever(weights, links, layer, run.length)), row) : null,
    };
  });
}

/** One sentence on one cell. */
function reading(state, data, chosen) {
  return () => {
    const now = data.matrix.value, cell = chosen.value;
    if (!now) return "";
    if (!cell || cell.q >= now.length || cell.k >= now.length) return "Point at a cell to read it; click it to sever that connection.";
    const { q, k } = cell, i = q * now.length + k, pair = `“${now.labels[q]}” → “${now.labels[k]}”`;
    if (k > q) return `${pair}: hidden by causality. A word never looks at the words after it.`;
    const isCut = now.cuts.some((link) => link.q === q && link.k === k) ? " Severed for the prediction." : "";
    const weight = number(now.before[i]), small = now.before[i] < SMALL ? ", a small weight" : "";
    if (state.show.value === "before") return `${pair}: ${weight}${small}.${isCut}`;
    if (!now.mask[i]) return `${pair}: ${weight} → 0.000, dropped at this step.${isCut}`;
    return `${pair}: ${weight} → ${number(now.after[i])}, kept and multiplied by ${number(scale(threshold(state.ap.value)))}${small}.${isCut}`;
  };
}

function code(state, data) {
  const run = data.run.value;
  if (!run) return "";
  const { layer, head } = data.place.value, { length, heads } = run, sample = state.sample.value;
  return [
    "import hashlib",
    "import redrop",
    "",
    `keep = redrop.replay(seed=${state.seed.value}, step=${state.step.value}, site="${siteOf(layer, run.model)}",`,
    `                     p=${exact(state.ap.value)}, shape=(${sample + 1}, ${heads}, ${length}, ${length}))[${sample}, ${head}]`,
    "print(keep.astype(int))",
    'print(hashlib.sha256("".join(map(str, keep.astype(int).ravel())).encode()).hexdigest())',
  ].join("\n");
}

function textField(state, data) {
  const input = h("input", { type: "text", class: "rd-wide", maxlength: 400, spellcheck: "false", autocomplete: "off" });
  watch(() => {
    if (input.value !== state.text.value) input.value = state.text.value;
  });
  input.addEventListener("input", () => {
    state.text.value = input.value;
    state.cut.value = [];
    state.cell.value = "";
  });
  const examples = h("select", {
    "aria-label": "Example sentences", class: "rd-narrow",
    onchange: (event) => {
      if (event.target.value) state.text.value = event.target.value;
      state.cut.value = [];
      state.cell.value = "";
      event.target.value = "";
    },
  }, h("option", { value: "" }, "Examples"), EXAMPLES.map((text) => h("option", null, text)));
  const note = h("p", { class: "rd-hint" }, () => {
    const words = data.words.value;
    if (!words) return "";
    const unknown = [...new Set(words.unknown)];
    const strange = unknown.length ? `Not in the model's vocabulary, so read as an unknown word: ${unknown.slice(0, 6).join(", ")}. ` : "";
    return strange + (words.isCropped ? `The model reads ${data.run.value.length} tokens; the rest is left out.` : "");
  });
  const made = field("Sentence", input, examples);
  made.append(note);
  return made;
}

function modelField(state, models) {
  const select = h("select", { onchange: (event) => {
    const run = models.value.find(({ name }) => name === event.target.value)?.about.run;
    state.model.value = event.target.value;
    if (run) {
      state.seed.value = BigInt(run.seed);
      state.ap.value = run.p;
    }
    state.layer.value = state.head.value = 0;
    state.cut.value = [];
  } });
  watch(() => {
    select.replaceChildren(...models.value.map(({ name, title }) => h("option", { value: name, selected: name === state.model.value }, title)));
    select.value = state.model.value;
  });
  return field("Model", select);
}

const percent = (value) => `${number(100 * value, 0)} %`;

function about(model) {
  return () => {
    const now = model.value?.about;
    if (now?.run) {
      return `Weights after step ${now.run.step} of a run with seed ${now.run.seed} and p = ${now.run.p} on attention weights: with that seed and p, these are the masks of its steps.`;
    }
    if (now?.remote) return "Computed by Python. The mask has the name of the model's own dropout site; severing and masks are applied after the softmax, as above.";
    if (!now?.training) return "";
    const p = now.training.p;
    return `${p ? `Trained with attention dropout p = ${p}, seed ${now.training.seed}: with that p and seed, these are the masks of its own ${now.training.steps} training steps, applied to the weights it ended with.` : "Trained without dropout; the mask shows what dropout would do to its weights."} ` +
      `Loss on fresh sentences ${number(now.validation_loss)} nats per word; with ${percent(now.severed_share)} of all connections severed at random ${number(now.severed_loss)}.`;
  };
}

function severButtons(state, data) {
  const count = () => data.links.value.length;
  return h("p", { class: "rd-row" },
    h("span", { class: "rd-hint-inline" }, () => count() === 0 ? "No connection severed. Click a cell, or press Enter on it." :
      `Severed: ${count()}. Such a weight is set to 0 after the softmax; the others stay as they are.`),
    h("button", { type: "button", class: "rd-button rd-small", disabled: () => count() === 0, onclick: () => (state.cut.value = []) }, "Restore all"));
}

function legend(state) {
  const key = (kind, text, hidden = false) => h("span", { class: `rd-key rd-key-${kind}`, hidden }, text);
  const isDifference = () => state.show.value === "difference";
  return h("p", { class: "rd-legend" }, key("heat", "weight 0 to 1", isDifference), key("minus", "less", () => !isDifference()),
    key("plus", "more", () => !isDifference()), key("drop", "dropped"), key("causal", "hidden by causality"),
    key("small", `below ${SMALL}`), key("over", "above 1"), key("cut", "severed"));
}

function table(state, data) {
  return () => {
    const now = data.matrix.value;
    if (!now) return { head: [], rows: [] };
    const cell = (q, k) => {
      if (k > q) return "hidden";
      if (now.keep && !now.keep[q * now.length + k] && !now.isDifference) return "dropped";
      return now.isDifference ? signed(now.values[q * now.length + k]) : number(now.values[q * now.length + k]);
    };
    return {
      head: ["Looks from", ...now.labels, "Row sum"],
      rows: now.labels.map((label, q) => [label, ...now.labels.map((_, k) => cell(q, k)), number(now.sums[q])]),
    };
  };
}

function toggle(state, data) {
  return ({ q, k }) => {
    if (k > q) return;
    const { layer, head } = data.place.value, link = `${layer}-${head}-${q}-${k}`;
    state.cell.value = `${q}-${k}`;
    state.cut.value = state.cut.value.includes(link) ? state.cut.value.filter((other) => other !== link) : [...state.cut.value, link].slice(-64);
  };
}

function statistics(state, data) {
  const live = (read) => () => (data.matrix.value ? read(data.matrix.value) : "–");
  const kept = ({ mask, length }) => {
    let sum = 0;
    for (let q = 0; q < length; q++) for (let k = 0; k <= q; k++) sum += mask[q * length + k];
    return `${sum} of ${(length * (length + 1)) / 2}`;
  };
  return h("dl", { class: "rd-stats" },
    stat("Connections kept", live(kept), "in this head, at this step"),
    stat("Survivors are multiplied by", () => number(scale(threshold(state.ap.value)))),
    stat("Rows sum to", live(({ after, length }) => {
      const sums = Array.from({ length }, (_, q) => after.slice(q * length, q * length + q + 1).reduce((a, b) => a + b, 0));
      return `${number(Math.min(...sums), 2)} to ${number(Math.max(...sums), 2)}`;
    }), "after dropout; 1 before it, and 1 on average over masks"));
}

export function mount(place, { state, lab }) {
  const view = scope(() => {
    lab.refresh();
    const model = lab.model(state.model), data = compute(state, model, lab.trouble), chosen = signal(null);
    const empty = h("p", { class: "rd-empty", hidden: () => data.run.value !== null }, () =>
      lab.trouble.value || (model.value ? "Type a sentence to see what looks at what." : "Loading the model …"));
    const whole = h("div", { class: "rd-attention", hidden: () => data.run.value === null },
      h("div", { class: "rd-attention-figure" },
        heatmap(data.matrix, chosen, toggle(state, data)), legend(state),
        h("p", { class: "rd-reading", "aria-live": "polite" }, reading(state, data, chosen))),
      h("div", { class: "rd-attention-side" }, headChooser(state, data.run), prediction(odds(state, data, chosen)), severButtons(state, data)));
    return h("div", { class: "rd-panel" },
      h("div", { class: "rd-controls" }, textField(state, data), modelField(state, lab.models)),
      h("p", { class: "rd-hint rd-about" }, about(model)),
      h("div", { class: "rd-controls" },
        choice("Dropout", state.show, [["before", "Without"], ["after", "With"], ["difference", "Difference"]]),
        stepField(state.step, { label: "Training step" }), rateField("p, the probability of dropping", state.ap),
        seedField(state.seed), sampleField(state)),
      empty, whole, statistics(state, data),
      snippet("The same bits in Python", () => code(state, data)),
      h("p", { class: "rd-hash" }, "SHA-256 of this head's mask: ", h("code", { class: "rd-hash-value" }, () => (data.matrix.value ? maskHash(data.matrix.value.mask) : ""))),
      tableOf("Attention weights", table(state, data)));
  });
  place.append(view.root);
  return { destroy: view.destroy };
}

function sampleField(state) {
  return field("Sample", h("input", {
    type: "number", min: 0, max: 65535, class: "rd-number", value: () => state.sample.value,
    onchange: (event) => {
      const value = event.target.valueAsNumber;
      if (Number.isInteger(value) && value >= 0 && value <= 65535) state.sample.value = value;
      event.target.value = state.sample.value;
    },
  }));
}
