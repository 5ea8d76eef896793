// The transformer and its dropout sites: what each is, its p, its mask, and a run to try it.
import { computed } from "../../vendor/signals-core.js";
import { sharpCanvas } from "../core/canvas.js";
import { choice, rateField, seedField, snippet, stepField } from "../core/controls.js";
import { h, scope, watch } from "../core/dom.js";
import { keepMask, maskKey, siteId } from "../core/mask.js";
import { maskHash } from "../core/sha256.js";
import { ABOUT, asCommand, asPython, PRESETS } from "../core/sites.js";
import { SITES } from "../core/state.js";
import { colours } from "../core/theme.js";
import { diagram } from "./diagram.js";
import { trainer } from "./trainer.js";

const ROWS = 12, COLUMNS = 48, CELL_GAP = 1;

/** p of the chosen site, as a signal that reads and writes its place in `rates`. */
function rateOf(state) {
  const place = () => SITES.indexOf(state.site.value);
  return {
    get value() { return state.rates.value[place()]; },
    set value(p) { state.rates.value = state.rates.value.map((old, i) => (i === place() ? p : old)); },
  };
}

/** The corner of the mask: 12 tokens by 48 channels, or 12 queries by 12 keys of the first head. */
function corner(state) {
  return computed(() => {
    const site = state.site.value, isWeights = site === "attention_weights";
    const columns = isWeights ? ROWS : COLUMNS, shape = isWeights ? [1, 1, ROWS, columns] : [1, ROWS, columns];
    const key = maskKey(state.seed.value, state.step.value, siteId(ABOUT[site].path));
    return { columns, isWeights, keep: keepMask(key, state.rates.value[SITES.indexOf(site)], shape) };
  });
}

function maskPicture(mask) {
  const surface = sharpCanvas((context, width) => {
    const { columns, keep } = mask.value, colour = colours(surface.canvas, ["kept", "rule", "drop"]);
    const cell = Math.min(width / columns, 20);
    keep.forEach((bit, i) => {
      const x = (i % columns) * cell, y = Math.floor(i / columns) * cell, inset = bit ? 0 : cell * 0.36;
      context.fillStyle = bit ? colour.kept : colour.drop;
      context.fillRect(x + inset, y + inset, cell - CELL_GAP - 2 * inset, cell - CELL_GAP - 2 * inset);
    });
  }, (width) => ROWS * Math.min(width / mask.value.columns, 20));
  return surface.holder;
}

function presets(state) {
  const isNow = (preset) => preset.norm === state.norm.value && preset.rates.every((p, i) => p === state.rates.value[i]);
  const buttons = PRESETS.map((preset) => h("button", {
    type: "button", class: "rd-button rd-preset", "aria-pressed": () => String(isNow(preset)),
    onclick: () => {
      state.norm.value = preset.norm;
      state.rates.value = preset.rates;
    },
  }, preset.name));
  return h("div", { class: "rd-field" }, h("p", { class: "rd-label" }, "As it was done"), h("div", { class: "rd-row" }, buttons),
    h("p", { class: "rd-hint" }, () => PRESETS.find(isNow)?.note ?? "Your own setting."));
}

export function mount(place, { state, token, lab }) {
  const view = scope(() => {
    const mask = corner(state), about = () => ABOUT[state.site.value];
    const drawing = h("div");
    watch(() => drawing.replaceChildren(scope(() => diagram(state, state.norm.value)).root));
    return h("div", { class: "rd-panel" },
      h("div", { class: "rd-controls" },
        choice("Normalisation", state.norm, [["pre", "Pre-norm"], ["post", "Post-norm"]]), presets(state)),
      h("div", { class: "rd-block" },
        h("div", null, drawing),
        h("div", { class: "rd-block-side" },
          h("section", { class: "rd-site-card" },
            h("h3", { "aria-live": "polite" }, () => about().title),
            h("p", null, () => about().text),
            h("dl", { class: "rd-facts" },
              h("dt", null, "In code"), h("dd", null, h("code", null, () => about().path)),
              h("dt", null, "Tensor"), h("dd", null, () => about().shape)),
            rateField("p, the probability of dropping", rateOf(state)),
            h("div", { class: "rd-controls rd-tight" }, stepField(state.step, { canPlay: false }), seedField(state.seed)),
            maskPicture(mask),
            h("p", { class: "rd-hint" }, () => (mask.value.isWeights
              ? "Its mask: sample 0, head 0, the first 12 queries (rows) and keys. Full squares are kept; small ones dropped. Causality hides the upper right half anyway."
              : "Its mask: sample 0, the first 12 tokens (rows) and 48 channels. Full squares are kept; small ones dropped.") + " Other blocks have other names, so other masks."),
            h("p", { class: "rd-hash" }, "SHA-256: ", h("code", { class: "rd-hash-value" }, () => maskHash(mask.value.keep)))),
          snippet("In Python", () => asPython(state.norm.value, state.rates.value)),
          snippet("On the command line", () => asCommand("reference:25000", state.norm.value, state.rates.value, 300, state.seed.value)))),
      trainer(state, token, lab));
  });
  place.append(view.root);
  return { destroy: view.destroy };
}
