// Every head of every layer as a small picture; choosing one opens it.
import { freshId } from "../core/controls.js";
import { h, watch } from "../core/dom.js";
import { channels, colours, themeVersion } from "../core/theme.js";

const MOST = 96; // pictures; a larger model is chosen by number

function picture(run, layer, head) {
  const { length } = run, canvas = h("canvas", { width: length, height: length, class: "rd-thumb", "aria-hidden": "true" });
  const draw = () => {
    if (!canvas.isConnected) return;
    const colour = colours(canvas, ["heat-0", "heat-1", "causal"]);
    const [low, high, causal] = ["heat-0", "heat-1", "causal"].map((name) => channels(colour[name]));
    const context = canvas.getContext("2d"), image = context.createImageData(length, length);
    const from = head * length * length;
    for (let q = 0, i = 0; q < length; q++) {
      for (let k = 0; k < length; k++, i++) {
        const t = Math.min(1, run.weights[layer][from + i]) ** 0.7;
        const rgb = k > q ? causal : low.map((channel, c) => channel + (high[c] - channel) * t);
        image.data.set([...rgb, 255], 4 * i);
      }
    }
    context.putImageData(image, 0, 0);
  };
  requestAnimationFrame(draw); // the colours are known once the canvas is on the page
  return canvas;
}

/** Radio buttons of pictures; `run` is a signal of { weights, length, layers, heads }. */
export function headChooser(state, run) {
  const group = freshId("head"), place = h("div", { class: "rd-heads" });
  watch(() => {
    themeVersion.value;
    const now = run.value;
    if (!now || now.layers * now.heads > MOST) return place.replaceChildren();
    const isChosen = (layer, head) => () => state.layer.value === layer && state.head.value === head;
    const radio = (layer, head) => {
      const pick = () => {
        state.layer.value = layer;
        state.head.value = head;
      };
      return h("label", { class: "rd-head" },
        h("input", { type: "radio", name: group, checked: isChosen(layer, head), onchange: pick, "aria-label": `Layer ${layer}, head ${head}` }),
        picture(now, layer, head), h("span", { "aria-hidden": "true" }, String(head)));
    };
    const focused = place.contains(document.activeElement);
    place.replaceChildren(...Array.from({ length: now.layers }, (_, layer) =>
      h("div", { class: "rd-head-row" }, h("span", { class: "rd-head-name" }, `Layer ${layer}`),
        ...Array.from({ length: now.heads }, (_, head) => radio(layer, head)))));
    if (focused) place.querySelector("input:checked")?.focus();
  });
  return h("fieldset", { class: "rd-field" }, h("legend", null, "Head, a small picture of each"), place);
}
