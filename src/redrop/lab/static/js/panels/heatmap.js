// A matrix of attention weights with four kinds of cell: kept, dropped, hidden by causality, and
// merely small. Colours are written at the size of the data and enlarged by the canvas, so a matrix
// of 256 x 256 costs no more than its 65,536 pixels; marks are drawn where a cell has room for them.
import { sharpCanvas } from "../core/canvas.js";
import { h } from "../core/dom.js";
import { number, signed } from "../core/format.js";
import { channels, colours } from "../core/theme.js";

const NAMES = ["ink", "ink-2", "rule", "paper", "heat-0", "heat-1", "minus", "plus", "causal", "drop", "accent"];
const FONT = "13px system-ui, sans-serif";
export const SMALL = 0.01;

const STEPS = 256;

/** Colours from one to another as 32-bit pixels; the root lifts small weights out of the paper. */
function ramp(from, to) {
  return Uint32Array.from({ length: STEPS }, (_, i) => {
    const t = (i / (STEPS - 1)) ** 0.7, [r, g, b] = from.map((channel, c) => Math.round(channel + (to[c] - channel) * t));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

/** Fill `pixels` (Uint32Array) with the colour of each cell; exported for the test of its speed. */
export function paint(pixels, { length, values, keep, isDifference }, colour) {
  const [low, high, minus, plus, causal, paper, drop] =
    ["heat-0", "heat-1", "minus", "plus", "causal", "paper", "drop"].map((name) => channels(colour[name]));
  const up = isDifference ? ramp(paper, plus) : ramp(low, high), down = ramp(paper, minus);
  const [hidden] = ramp(causal, causal);
  const [gone] = length > 64 ? ramp(drop, drop) : ramp(paper, paper); // a cross says it where it fits
  for (let q = 0, at = 0; q < length; q++) {
    for (let k = 0; k < length; k++, at++) {
      const value = values[at], shade = Math.min(STEPS - 1, Math.round(Math.abs(value) * (STEPS - 1)));
      if (k > q) pixels[at] = hidden;
      else if (isDifference) pixels[at] = value < 0 ? down[shade] : up[shade];
      else pixels[at] = keep && !keep[at] ? gone : up[shade];
    }
  }
}

function widest(context, labels) {
  context.font = FONT;
  return Math.max(...labels.map((label) => context.measureText(label).width));
}

function layout(context, width, { labels, length }) {
  const room = Math.min(widest(context, labels), 96), sums = 58;
  const left = length > 64 ? 34 : room + 12;
  const cell = Math.min((width - left - sums) / length, 84);
  const isUpright = length <= 64 && widest(context, labels) + 8 > cell;
  const top = length > 64 ? 22 : isUpright ? room + 12 : 26;
  return { left, top, cell, isUpright, side: cell * length, sums: left + cell * length + 10 };
}

function drawLabels(context, at, { labels, length }, chosen, colour) {
  const step = length > 64 ? 32 : Math.max(1, Math.ceil(14 / at.cell));
  context.textBaseline = "middle";
  for (let i = 0; i < length; i += step) {
    const text = length > 64 ? String(i) : labels[i], centre = (i + 0.5) * at.cell;
    context.fillStyle = chosen?.q === i ? colour.ink : colour["ink-2"];
    context.font = chosen?.q === i ? `600 ${FONT}` : FONT;
    context.textAlign = "right";
    context.fillText(text, at.left - 8, at.top + centre, at.left - 10);
    context.fillStyle = chosen?.k === i ? colour.ink : colour["ink-2"];
    context.font = chosen?.k === i ? `600 ${FONT}` : FONT;
    context.save();
    context.translate(at.left + centre, at.top - 8);
    if (at.isUpright) context.rotate(-Math.PI / 2);
    context.textAlign = at.isUpright ? "left" : "center";
    context.textBaseline = at.isUpright ? "middle" : "alphabetic";
    context.fillText(text, 0, 0, at.isUpright ? at.top - 12 : at.cell);
    context.restore();
  }
}

function drawSums(context, at, { sums, length, isDifference }, colour) {
  context.font = FONT;
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.fillStyle = colour["ink-2"];
  context.fillText(isDifference ? "Σ change" : "Σ row", at.sums, at.top - 8);
  context.textBaseline = "middle";
  for (let q = 0; q < length; q++) {
    const y = at.top + (q + 0.5) * at.cell, isWhole = Math.abs(sums[q] - (isDifference ? 0 : 1)) < 0.005;
    if (at.cell >= 13) {
      context.fillStyle = isWhole ? colour["ink-2"] : colour.ink;
      context.fillText(isDifference ? signed(sums[q], 2) : number(sums[q], 2), at.sums, y);
    } else {
      context.fillStyle = colour.accent;
      context.fillRect(at.sums, y - at.cell / 2, Math.max(0, Math.min(44, Math.abs(sums[q]) * 22)), Math.max(1, at.cell * 0.8));
    }
  }
}

function cross(context, x, y, size) {
  context.moveTo(x - size, y - size);
  context.lineTo(x + size, y + size);
  context.moveTo(x + size, y - size);
  context.lineTo(x - size, y + size);
}

function drawMarks(context, at, { length, values, keep, isDifference }, colour) {
  if (at.cell < 6) return;
  const hasNumbers = at.cell >= 40;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.font = at.cell >= 50 ? FONT : "12px system-ui, sans-serif";
  for (let q = 0; q < length; q++) {
    for (let k = 0; k <= q; k++) {
      const i = q * length + k, value = values[i], x = at.left + (k + 0.5) * at.cell, y = at.top + (q + 0.5) * at.cell;
      const isDropped = keep && !keep[i];
      if (isDropped) {
        context.strokeStyle = !isDifference ? colour.drop : Math.abs(value) > 0.35 ? colour.paper : colour.ink;
        context.lineWidth = at.cell > 14 ? 2 : 1;
        context.beginPath();
        cross(context, x, hasNumbers ? y - 7 : y, Math.min(6, at.cell * 0.28));
        context.stroke();
      } else if (!isDifference && value < SMALL && !hasNumbers) {
        context.fillStyle = colour["ink-2"];
        context.fillRect(x - 1, y - 1, 2, 2);
      }
      if (hasNumbers) {
        const isStrong = isDifference ? Math.abs(value) > 0.35 : !isDropped && value > 0.35;
        context.fillStyle = isStrong ? colour.paper : isDropped && !isDifference ? colour.drop : colour.ink;
        const text = isDropped && !isDifference ? "0" : isDifference ? signed(value, 2) : value < SMALL ? "<.01" : number(value, 2);
        context.fillText(text, x, isDropped ? y + 9 : y);
      }
    }
  }
}

function drawOutlines(context, at, { cuts, over, length }, chosen, colour) {
  const box = (q, k, inset) => context.strokeRect(at.left + k * at.cell + inset, at.top + q * at.cell + inset, at.cell - 2 * inset, at.cell - 2 * inset);
  if (at.cell >= 6) {
    context.strokeStyle = colour.rule;
    context.lineWidth = 1;
    context.beginPath();
    for (let i = 0; i <= length; i++) {
      const edge = Math.round(i * at.cell);
      context.moveTo(at.left, at.top + edge);
      context.lineTo(at.left + at.side, at.top + edge);
      context.moveTo(at.left + edge, at.top);
      context.lineTo(at.left + edge, at.top + at.side);
    }
    context.stroke();
  }
  context.strokeStyle = colour.ink;
  context.lineWidth = 2;
  for (const { q, k } of over) box(q, k, 2);
  context.setLineDash([4, 3]);
  context.strokeStyle = colour.drop;
  context.lineWidth = 3;
  for (const { q, k } of cuts) box(q, k, 1.5);
  context.setLineDash([]);
  if (!chosen) return;
  context.strokeStyle = colour.ink;
  context.lineWidth = 2.5;
  box(chosen.q, chosen.k, 1);
}

/**
 * @param matrix signal of { length, labels, values, keep, sums, isDifference, cuts, over }
 * @param chosen signal of { q, k } or null
 * @param act called with { q, k } on a click, Enter or Space
 */
export function heatmap(matrix, chosen, act) {
  let at = null;
  const small = document.createElement("canvas");
  const surface = sharpCanvas((context, width) => {
    if (!matrix.value) return;
    const now = matrix.value, colour = colours(surface.canvas, NAMES), { length } = now;
    at = layout(context, width, now);
    small.width = small.height = length;
    const inner = small.getContext("2d"), image = inner.createImageData(length, length);
    paint(new Uint32Array(image.data.buffer), now, colour);
    inner.putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, at.left, at.top, at.side, at.side);
    drawMarks(context, at, now, colour);
    drawOutlines(context, at, now, chosen.value, colour);
    drawLabels(context, at, now, chosen.value, colour);
    drawSums(context, at, now, colour);
  }, (width) => {
    if (!matrix.value) return 1;
    const place = layout(surface.canvas.getContext("2d"), width, matrix.value);
    return place.top + place.side + 4;
  });
  const cellAt = (event) => {
    const q = Math.floor((event.offsetY - at.top) / at.cell), k = Math.floor((event.offsetX - at.left) / at.cell);
    const { length } = matrix.peek();
    return q >= 0 && k >= 0 && q < length && k < length ? { q, k } : null;
  };
  surface.canvas.addEventListener("pointermove", (event) => (chosen.value = cellAt(event)));
  surface.canvas.addEventListener("pointerleave", () => (chosen.value = null));
  surface.canvas.addEventListener("click", (event) => {
    const cell = cellAt(event);
    chosen.value = cell;
    if (cell) act(cell);
  });
  return h("div", {
    class: "rd-figure rd-heatmap", tabindex: 0, role: "application",
    "aria-label": "Attention weights, a row for each word that looks and a column for each word that is looked at. Arrow keys move, Enter severs a connection.",
    onkeydown: (event) => matrix.peek() && keys(event, matrix.peek().length, chosen, act),
  }, surface.holder);
}

function keys(event, length, chosen, act) {
  const { q, k } = chosen.peek() ?? { q: length - 1, k: -1 };
  const within = (value) => Math.min(length - 1, Math.max(0, value));
  const moves = {
    ArrowLeft: [q, k - 1], ArrowRight: [q, k + 1], ArrowUp: [q - 1, k], ArrowDown: [q + 1, k], Home: [q, 0], End: [q, q],
  };
  if (event.key in moves) {
    const [row, column] = moves[event.key];
    chosen.value = { q: within(row), k: within(column) };
  } else if ((event.key === "Enter" || event.key === " ") && chosen.peek()) act(chosen.peek());
  else if (event.key === "Escape") chosen.value = null;
  else return;
  event.preventDefault();
}
