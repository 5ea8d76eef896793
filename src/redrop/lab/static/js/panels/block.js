// A network and its dropout sites: what each is, its p, its mask, and a run to try it.
import { computed } from "../../vendor/signals-core.js";
import { sharpCanvas } from "../core/canvas.js";
import { asCommand, asPython } from "../core/config_text.js";
import { choice, rateField, seedField, snippet, stepField, tableOf } from "../core/controls.js";
import { h, rebuild, scope, watch } from "../core/dom.js";
import { exact } from "../core/format.js";
import { keepMask, maskKey, siteId } from "../core/mask.js";
import { maskHash } from "../core/sha256.js";
import { NETWORKS, networkOf, rateAt, siteOf } from "../core/sites.js";
import { colours } from "../core/theme.js";
import { diagram } from "./diagram.js";
import { trainer } from "./trainer.js";

const CELL_GAP = 1;

/** p of the chosen site, as a signal that reads and writes its place in the network's rates. */
function rateOf(state) {
  return {
    get value() { return rateAt(state, siteOf(state)); },
    set value(p) {
      const { kinds, rates } = networkOf(state), place = kinds.indexOf(siteOf(state));
      rates.value = rates.value.map((old, i) => (i === place ? p : old));
    },
  };
}

/** The corner of the mask that is shown: 12 tokens or samples by 48 channels, or what else a site has. */
function corner(state) {
  return computed(() => {
    const site = siteOf(state), { path, mask } = networkOf(state).about[site], [rows, columns] = mask.grid ?? mask.shape.slice(-2);
    const key = maskKey(state.seed.value, state.step.value, siteId(path));
    const keep = keepMask(key, rateAt(state, site), mask.shape, { shared: mask.shared ?? [] });
    return { ...mask, rows, columns, keep };
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
  }, (width) => mask.value.rows * Math.min(width / mask.value.columns, 20));
  return surface.holder;
}

function maskTable(mask) {
  return () => {
    const { rows, columns, keep } = mask.value, row = (r) => [r, ...Array.from(keep.slice(r * columns, (r + 1) * columns), (bit) => (bit ? "kept" : "dropped"))];
    return { head: ["Row", ...Array.from({ length: columns }, (_, c) => String(c))], rows: Array.from({ length: rows }, (_, r) => row(r)) };
  };
}

function sitesTable(state) {
  return () => {
    const { about, kinds } = networkOf(state);
    return { head: ["Site", "In a recipe", "In code", "p"], rows: kinds.map((kind) => [about[kind].title, kind, about[kind].path, exact(rateAt(state, kind))]) };
  };
}

function presets(state) {
  const isNow = (preset) => (preset.norm ?? state.norm.value) === state.norm.value && preset.rates.every((p, i) => p === networkOf(state).rates.value[i]);
  const buttons = rebuild(h("div", { class: "rd-row" }), () => {
    const { presets: all, rates } = networkOf(state);
    return all.map((preset) => h("button", {
      type: "button", class: "rd-button rd-preset", "aria-pressed": () => String(isNow(preset)),
      onclick: () => {
        if (preset.norm) state.norm.value = preset.norm;
        rates.value = preset.rates;
      },
    }, preset.name));
  });
  return h("div", { class: "rd-field" }, h("p", { class: "rd-label" }, "As it was done"), buttons,
    h("p", { class: "rd-hint" }, () => networkOf(state).presets.find(isNow)?.note ?? "Your own setting."));
}

/** What the network is, and for the two of vectors the study that compares them. */
function networkNote(state) {
  return h("p", { class: "rd-hint rd-network", "aria-live": "polite" }, () => networkOf(state).text,
    h("span", { hidden: () => state.net.value === "transformer" }, " Old against modern at the same seeds: ", h("code", null, "redrop study --task table")));
}

function normChoice(state) {
  const made = choice("Normalisation", state.norm, [["pre", "Pre-norm"], ["post", "Post-norm"]]);
  watch(() => (made.hidden = state.net.value !== "transformer"));
  return made;
}

export function mount(place, { state, token, lab }) {
  const view = scope(() => {
    const mask = corner(state), about = () => networkOf(state).about[siteOf(state)];
    const drawing = rebuild(h("div"), () => diagram(state, state.net.value, state.norm.value));
    const settings = () => ({ net: state.net.value, norm: state.norm.value, task: state.task.value, rates: networkOf(state).rates.value, steps: 300, seed: state.seed.value });
    return h("div", { class: "rd-panel" },
      h("div", { class: "rd-controls" },
        choice("Network", state.net, Object.entries(NETWORKS).map(([name, { title }]) => [name, title])), normChoice(state), presets(state)),
      networkNote(state),
      h("div", { class: "rd-block" },
        h("div", null, drawing, tableOf("Dropout sites of this network", sitesTable(state), "Sites as a table")),
        h("div", { class: "rd-block-side" },
          h("section", { class: "rd-site-card" },
            h("h3", { "aria-live": "polite" }, () => about().title),
            h("p", null, () => about().text),
            h("dl", { class: "rd-facts" },
              h("dt", null, "In code"), h("dd", null, h("code", null, () => about().path)),
              h("dt", null, "In a recipe"), h("dd", null, h("samp", null, () => siteOf(state))),
              h("dt", null, "Tensor"), h("dd", null, () => about().shape)),
            rateField("p, the probability of dropping", rateOf(state)),
            h("div", { class: "rd-controls rd-tight" }, stepField(state.step, { canPlay: false }), seedField(state.seed)),
            maskPicture(mask),
            h("p", { class: "rd-hint" }, () => `Its mask: ${mask.value.words} Full squares are kept; small ones dropped.${mask.value.after ?? ""} Other blocks have other names, so other masks.`),
            tableOf("Mask of this site", maskTable(mask), "Mask as a table"),
            h("p", { class: "rd-hash" }, "SHA-256: ", h("code", { class: "rd-hash-value" }, () => maskHash(mask.value.keep)))),
          snippet("In Python", () => asPython(settings())),
          snippet("On the command line", () => asCommand(settings())))),
      trainer(state, token, lab));
  });
  place.append(view.root);
  return { destroy: view.destroy };
}
