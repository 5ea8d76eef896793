// A network from its input to its output, with every dropout site as a button.
import { svg } from "../core/dom.js";
import { exact } from "../core/format.js";
import { NETWORKS, rateAt, siteOf } from "../core/sites.js";

const WIDTH = 420, LINE = 268, BOX = 236, STREAM = 66, EDGE = 34;
const HEIGHT = { box: 34, site: 34, add: 26 };
const GAP = 18;

/** What a forward pass meets, from the top; rows without a place hang beside the residual stream. */
const ROWS = {
  transformer(norm) {
    const sub = (inner) => {
      const [[kind, name], ...others] = inner;
      return norm === "pre" ? [["box", "LayerNorm", "fork"], ...inner, ["add"]] : [[kind, name, "fork"], ...others, ["add"], ["box", "LayerNorm", "stream"]];
    };
    return [
      ["box", "Token embedding", "stream"],
      ["site", "token_dropout", "stream"],
      ["box", "+ position embedding", "stream"],
      ["site", "embedding", "stream"],
      ["open", "block, × N"],
      ["site", "layer_drop", "stream"],
      ...sub([
        ["box", "Attention: softmax(q·kᵀ/√d)"], ["site", "attention_weights"], ["box", "Weights · v"], ["site", "drop_head"],
        ["box", "Output projection"], ["site", "attention_residual"], ["site", "drop_path"],
      ]),
      ...sub([["box", "Expand, GELU"], ["site", "feed_forward_hidden"], ["box", "Contract"], ["site", "feed_forward_residual"], ["site", "drop_path"]]),
      ["close"],
      ...(norm === "pre" ? [["box", "LayerNorm", "stream"]] : []),
      ["box", "Output layer: logits", "stream"],
    ];
  },
  modern: () => [
    ["box", "Dense: one row of numbers in", "stream"],
    ["open", "block, × N"],
    ["site", "layer_drop", "stream"],
    ["box", "LayerNorm", "fork"], ["box", "Expand, GELU"], ["site", "feed_forward_hidden"], ["box", "Contract"],
    ["site", "feed_forward_residual"], ["site", "drop_path"], ["add"],
    ["close"],
    ["box", "LayerNorm", "stream"],
    ["box", "Output layer: Dense", "stream"],
  ],
  old: () => [
    ["open", "hidden layer, × N"],
    ["box", "Dense", "chain"], ["site", "pre_activation", "chain"], ["box", "GELU", "chain"], ["site", "feed_forward_hidden", "chain"],
    ["close"],
    ["box", "Output layer: Dense", "chain"],
  ],
};
const SAID = {
  transformer: (norm) => `A ${norm}-norm transformer with its dropout sites`,
  modern: () => "A modern network for vectors with its dropout sites: norm, feed-forward, residual addition",
  old: () => "An old network for vectors with its dropout sites: a plain chain, no residual stream",
};

/** Where a box lies: in a branch it stands on the branch's line, otherwise it spans the stream. */
const spread = (isWide) => {
  const right = LINE + BOX / 2, left = isWide ? EDGE : LINE - BOX / 2;
  return { x: left, width: right - left, middle: (left + right) / 2 };
};

function siteButton(state, site, y, { x, width, middle }) {
  const { title } = NETWORKS[state.net.peek()].about[site];
  const pick = () => (state.site.value = site);
  const isChosen = () => siteOf(state) === site, p = () => rateAt(state, site);
  return svg("g", {
    class: () => `rd-site${isChosen() ? " rd-site-chosen" : ""}${p() === 0 ? " rd-site-off" : ""}`, role: "button", tabindex: 0,
    "aria-pressed": () => String(isChosen()), "aria-label": () => `Dropout site ${title}, p = ${p()}`,
    onclick: pick,
    onkeydown: (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      pick();
      event.preventDefault();
    },
  },
  svg("rect", { x, y, width, height: HEIGHT.site, rx: 17 }),
  svg("text", { x: middle, y: y + 22, "text-anchor": "middle" }, () => `${title}, p = ${exact(p())}`));
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

const frameOf = (top, bottom, note) => [
  svg("rect", { x: 14, y: top - 4, width: WIDTH - 28, height: bottom - top + 2, rx: 10, class: "rd-frame" }),
  svg("text", { x: WIDTH - 26, y: top + 14, "text-anchor": "end", class: "rd-note" }, note),
];

function streamTo(y) {
  return [
    svg("line", { x1: STREAM, y1: 6, x2: STREAM, y2: y - GAP, class: "rd-stream" }),
    svg("text", { x: 0, y: 0, class: "rd-note", transform: `translate(${STREAM - 14} ${0.36 * y}) rotate(-90)`, "text-anchor": "middle" }, "residual stream"),
  ];
}

export function diagram(state, net, norm) {
  const parts = [], put = (...shapes) => parts.push(...shapes.flat());
  let y = 6, frame = null, last = null;
  for (const [kind, name, place] of ROWS[net](norm)) {
    if (kind === "open" || kind === "close") {
      if (kind === "open") frame = { top: y, note: name };
      else put(frameOf(frame.top, y, frame.note));
      y += kind === "open" ? 22 : 20;
      continue;
    }
    const at = spread(place === "stream" || place === "chain"), height = HEIGHT[kind];
    if (kind === "add") put(addSign(y));
    else {
      if (place === "fork") put(svg("polyline", { points: `${STREAM},${y - 8} ${LINE},${y - 8} ${LINE},${y}`, class: "rd-wire" }));
      else if (place === undefined) put(line(LINE, y - GAP, LINE, y));
      else if (place === "chain" && last !== null) put(line(at.middle, last, at.middle, y));
      put(kind === "site" ? siteButton(state, name, y, at) : [svg("rect", { x: at.x, y, width: at.width, height, rx: 5, class: "rd-box" }), svg("text", { x: at.middle, y: y + 22, "text-anchor": "middle", class: "rd-box-text" }, name)]);
    }
    last = y + height;
    y = last + GAP;
  }
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${y}`, class: "rd-diagram", role: "group", "aria-label": SAID[net](norm) }, net === "old" ? [] : streamTo(y), parts);
}
