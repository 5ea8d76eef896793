// One panel in a notebook cell. The host keeps the state as the text that a page has behind its #,
// so a widget, a page and a shared link show the same.
import { effect, untracked } from "../vendor/signals-core.js";
import { h } from "./core/dom.js";
import { loadLab } from "./core/source.js";
import { createState, fromHash, toHash } from "./core/state.js";
import { mount as mountActivations } from "./panels/activations.js";
import { mount as mountAttention } from "./panels/attention.js";
import { mount as mountBlock } from "./panels/block.js";

const PANELS = { activations: mountActivations, attention: mountAttention, block: mountBlock };

/**
 * @param {HTMLElement} element of the cell
 * @param {{view: string, models: object[], hash: string, changed: (hash: string) => void}} host
 * @returns {{setHash: (hash: string) => void, destroy: () => void}}
 */
export function show(element, { view, models, hash, changed }) {
  const state = createState(), initial = { view };
  fromHash(state, hash, initial);
  const root = h("div", { class: "rd-root rd-widget" });
  element.append(root);
  const mounted = untracked(() => PANELS[view](root, { state, lab: loadLab(models), token: "" }));
  const stop = effect(() => {
    const now = toHash(state, initial);
    untracked(() => changed(now));
  });
  return {
    setHash: (text) => fromHash(state, text, initial),
    destroy: () => {
      stop();
      mounted.destroy();
      root.remove();
    },
  };
}
