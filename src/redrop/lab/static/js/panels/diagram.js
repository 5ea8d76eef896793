// The transformer from tokens to logits with every dropout site as a button.
import { svg } from "../core/dom.js";
import { exact } from "../core/format.js";
import { ABOUT } from "../core/sites.js";
import { SITES } from "../core/state.js";

const WIDTH = 420, LINE = 268, BOX = 236, STREAM = 66, EDGE = 34;
const HEIGHT = { box: 34, site: 34, add: 26 };
const GAP = 18;

/** What a forward pass meets, from the top; "branch" rows hang beside the residual stream. */
function rows(norm) {
  const sub = (name, inner) => norm === "pre"
    ? [["box", "LayerNorm", "fork"], ...inner, ["add", name]]
    : [["first", ...inner[0]], ...inner.slice(1), ["add", name], ["box", "LayerNorm", "stream"]].map((row) => (row[0] === "first" ? [row[1], row[2], "fork"] : row));
  return [
    ["box", "Token + position embedding", "stream"],
    ["site", "embedding", "stream"],
    ["open"],
    ...sub("attention", [["box", "Attention: softmax(q·kᵀ/√d)"], ["site", "attention_weights"], ["box", "Weights · v, output projection"], ["site", "attention_residual"]]),
    ...sub("feed-forward", [["box", "Expand, GELU"], ["site", "feed_forward_hidden"], ["box", "Contract"], ["site", "feed_forward_residual"]]),
    ["close"],
    ...(norm === "pre" ? [["box", "LayerNorm", "stream"]] : []),
    ["box", "Output layer: logits", "stream"],
  ];
}

/** Where a box lies: on the stream it spans it, in a branch it stands on the branch's line. */
const spread = (onStream) => {
  const right = LINE + BOX / 2, left = onStream ? EDGE : LINE - BOX / 2;
  return { x: left, width: right - left, middle: (left + right) / 2 };
};

function siteButton(state, site, y, onStream) {
  const { x, width, middle } = spread(onStream);
  const index = SITES.indexOf(site);
  const pick = () => (state.site.value = site);
  const isChosen = () => state.site.value === site, isOff = () => state.rates.value[index] === 0;
  return svg("g", {
    class: () => `rd-site${isChosen() ? " rd-site-chosen" : ""}${isOff() ? " rd-site-off" : ""}`, role: "button", tabindex: 0,
    "aria-pressed": () => String(isChosen()), "aria-label": () => `Dropout site ${ABOUT[site].title}, p = ${state.rates.value[index]}`,
    onclick: pick,
    onkeydown: (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      pick();
      event.preventDefault();
    },
  },
  svg("rect", { x, y, width, height: HEIGHT.site, rx: 17 }),
  svg("text", { x: middle, y: y + 22, "text-anchor": "middle" }, () => `${ABOUT[site].title}, p = ${exact(state.rates.value[index])}`));
}

const line = (x1, y1, x2, y2) => svg("line", { x1, y1, x2, y2, class: "rd-wire" });

function addSign(y) {
  const middle = y + HEIGHT.add / 2;
  return [
    svg("circle", { cx: STREAM, cy: middle, r: 12, class: "rd-add" }),
    line(STREAM - 6, middle, STREAM + 6, middle), line(STREAM, middle - 6, STREAM, middle + 6),
    svg("polyline", { points: `${LINE},${y - GAP} ${LINE},${middle} ${STREAM + 12},${middle}`, class: "rd-wire" }),
  ];
}

export function diagram(state, norm) {
  const parts = [], list = rows(norm);
  let y = 6, frame = 0, isInBranch = false;
  const put = (...shapes) => parts.push(...shapes);
  for (const [kind, name, place] of list) {
    if (kind === "open" || kind === "close") {
      if (kind === "open") frame = y;
      else put(svg("rect", { x: 14, y: frame - 4, width: WIDTH - 28, height: y - frame + 2, rx: 10, class: "rd-frame" }), svg("text", { x: WIDTH - 26, y: frame + 14, "text-anchor": "end", class: "rd-note" }, "block, × N"));
      y += kind === "open" ? 22 : 20;
      continue;
    }
    const onStream = place === "stream", height = HEIGHT[kind];
    if (kind === "add") {
      put(...addSign(y));
      isInBranch = false;
    } else {
      if (place === "fork") {
        put(svg("polyline", { points: `${STREAM},${y - 8} ${LINE},${y - 8} ${LINE},${y}`, class: "rd-wire" }));
        isInBranch = true;
      } else if (isInBranch) put(line(LINE, y - GAP, LINE, y));
      const { x, width, middle } = spread(onStream);
      put(kind === "site" ? siteButton(state, name, y, onStream) : [svg("rect", { x, y, width, height, rx: 5, class: "rd-box" }), svg("text", { x: middle, y: y + 22, "text-anchor": "middle", class: "rd-box-text" }, name)]);
    }
    y += height + GAP;
  }
  const stream = svg("line", { x1: STREAM, y1: 6, x2: STREAM, y2: y - GAP, class: "rd-stream" });
  const label = svg("text", { x: 0, y: 0, class: "rd-note", transform: `translate(${STREAM - 14} ${0.36 * y}) rotate(-90)`, "text-anchor": "middle" }, "residual stream");
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${y}`, class: "rd-diagram", role: "group", "aria-label": `A ${norm}-norm transformer with its dropout sites` }, stream, label, parts.flat());
}
