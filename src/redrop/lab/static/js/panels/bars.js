// Bars of a vector before and after dropout: an outline for x, a filled bar for what is left of it.
import { signal } from "../../vendor/signals-core.js";
import { sharpCanvas } from "../core/canvas.js";
import { h, onEnd, watch } from "../core/dom.js";
import { number } from "../core/format.js";
import { colours, prefersStill } from "../core/theme.js";

const NAMES = ["ink", "ink-2", "rule", "kept", "drop", "paper", "mean"];
const LEFT = 44, RIGHT = 12, TOP = 26, BOTTOM = 26;
const MOVE_MS = 160;

/** Values on their way to where they should be; jumps where motion is not wanted. */
function eased(target) {
  const shown = signal(target.peek());
  let frame = 0, start = 0, from = shown.peek();
  const move = (now) => {
    const t = Math.min(1, (now - start) / MOVE_MS), to = target.peek();
    shown.value = to.map((value, i) => (from[i] ?? 0) + (value - (from[i] ?? 0)) * (1 - (1 - t) ** 3));
    if (t < 1) frame = requestAnimationFrame(move);
  };
  watch(() => {
    const to = target.value;
    cancelAnimationFrame(frame);
    if (prefersStill() || to.length !== shown.peek().length || to.length > 64) return (shown.value = to);
    from = shown.peek();
    start = performance.now();
    frame = requestAnimationFrame(move);
  });
  onEnd(() => cancelAnimationFrame(frame));
  return shown;
}

function niceStep(span) {
  const power = 10 ** Math.floor(Math.log10(span / 4));
  return [1, 2, 5, 10].map((unit) => unit * power).find((unit) => span / unit <= 5) ?? 10 * power;
}

/** Where things are: pixels of a value and of a bar. */
function layout(width, height, before, after, factor) {
  const reach = Math.min(Math.max(factor, 2), 1e6) * 1.05;
  const highest = Math.max(...before, ...after, 0, ...before.map((x) => x * Math.min(reach, 2.1)));
  const lowest = Math.min(...before, ...after, 0, ...before.map((x) => x * Math.min(reach, 2.1)));
  const span = highest - lowest || 1, inner = height - TOP - BOTTOM;
  const slot = (width - LEFT - RIGHT) / before.length;
  return {
    slot, span, lowest, highest,
    bar: Math.max(1, slot * (slot > 6 ? 0.68 : 0.9)),
    x: (i) => LEFT + slot * (i + 0.5),
    y: (value) => TOP + (inner * (highest - value)) / span,
    index: (x) => Math.floor((x - LEFT) / slot),
    value: (y) => highest - ((y - TOP) / inner) * span,
  };
}

function drawAxis(context, at, width, colour) {
  const step = niceStep(at.span), digits = Math.max(0, Math.ceil(-Math.log10(step)));
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let value = Math.ceil(at.lowest / step) * step; value <= at.highest + step * 1e-6; value += step) {
    const y = Math.round(at.y(value)) + 0.5;
    context.strokeStyle = colour.rule;
    context.globalAlpha = Math.abs(value) < step / 2 ? 1 : 0.6;
    context.beginPath();
    context.moveTo(LEFT, y);
    context.lineTo(width - RIGHT, y);
    context.stroke();
    context.globalAlpha = 1;
    context.fillStyle = colour["ink-2"];
    context.fillText(number(value, digits), LEFT - 8, y);
  }
}

function drawCross(context, x, y, size) {
  context.beginPath();
  context.moveTo(x - size, y - size);
  context.lineTo(x + size, y + size);
  context.moveTo(x + size, y - size);
  context.lineTo(x - size, y + size);
  context.stroke();
}

function drawBar(context, at, i, { before, shown, isDropped, colour }) {
  const left = at.x(i) - at.bar / 2, zero = at.y(0);
  const rect = (value) => [left, Math.min(zero, at.y(value)), at.bar, Math.abs(at.y(value) - zero)];
  context.fillStyle = colour.kept;
  context.fillRect(...rect(shown));
  context.lineWidth = 1;
  context.strokeStyle = isDropped ? colour.drop : colour.ink;
  context.setLineDash(isDropped ? [3, 3] : []);
  if (at.slot > 5) context.strokeRect(...rect(before).map((value, k) => (k < 2 ? Math.round(value) + 0.5 : Math.round(value))));
  context.setLineDash([]);
  if (!isDropped) return;
  context.lineWidth = 1.75;
  drawCross(context, at.x(i), before < 0 ? zero + 9 : zero - 9, Math.min(4.5, at.bar * 0.4));
  context.lineWidth = 1;
}

function drawMean(context, at, width, value, colour, dash) {
  const y = at.y(value);
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.setLineDash(dash);
  context.beginPath();
  context.moveTo(LEFT, y);
  context.lineTo(width - RIGHT, y);
  context.stroke();
  context.setLineDash([]);
  context.lineWidth = 1;
}

function drawLabels(context, at, model, chosen, colour, height) {
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = colour["ink-2"];
  const every = Math.max(1, Math.ceil(22 / at.slot));
  model.before.forEach((_, i) => {
    if (i % every === 0) context.fillText(String(i), at.x(i), height - 10);
  });
  if (at.slot < 34) return;
  model.after.forEach((value, i) => {
    const y = value < 0 ? at.y(value) + 11 : at.y(Math.max(value, model.isDropped(i) ? model.before[i] : 0)) - 10;
    context.fillStyle = model.isDropped(i) ? colour.drop : colour.ink;
    context.font = i === chosen ? "600 12px system-ui, sans-serif" : "12px system-ui, sans-serif";
    const text = model.isDropped(i) ? "0" : number(value, 2);
    context.strokeStyle = colour.paper; // a halo, so that the lines of the means do not cross the digits
    context.lineWidth = 4;
    context.strokeText(text, at.x(i), y);
    context.fillText(text, at.x(i), y);
    context.lineWidth = 1;
  });
}

/**
 * @param model signal of { before, after, factor, isDropped(i), meanBefore, meanAfter }
 * @param chosen signal of the bar under the pointer or cursor, or null
 * @param edit (i, value) => void, when a bar is dragged or changed by an arrow key
 */
export function bars(model, chosen, edit) {
  const target = { get value() { return model.value.after; }, peek: () => model.peek().after };
  const shown = eased(target);
  let at = null;
  const surface = sharpCanvas((context, width, height) => {
    const now = model.value, colour = colours(surface.canvas, NAMES);
    at = layout(width, height, now.before, now.after, now.factor);
    drawAxis(context, at, width, colour);
    if (chosen.value !== null) {
      context.globalAlpha = 0.5;
      context.fillStyle = colour.rule;
      context.fillRect(at.x(chosen.value) - at.slot / 2, TOP - 18, at.slot, height - TOP - BOTTOM + 36);
      context.globalAlpha = 1;
    }
    now.before.forEach((before, i) =>
      drawBar(context, at, i, { before, shown: shown.value[i] ?? 0, isDropped: now.isDropped(i), colour }));
    drawMean(context, at, width, now.meanBefore, colour.ink, [7, 5]);
    drawMean(context, at, width, now.meanAfter, colour.mean, []);
    drawLabels(context, at, now, chosen.value, colour, height);
  }, (width) => (width < 520 ? 230 : 300));
  return withHands(surface, () => at, model, chosen, edit);
}

function withHands(surface, where, model, chosen, edit) {
  let dragged = null;
  const barAt = (event) => {
    const i = where().index(event.offsetX);
    return i >= 0 && i < model.peek().before.length ? i : null;
  };
  const drag = (event) => edit(dragged, Math.round(where().value(event.offsetY) * 100) / 100);
  const keys = (event) => {
    const size = model.peek().before.length, i = chosen.peek() ?? -1;
    const moves = { ArrowLeft: Math.max(0, i - 1), ArrowRight: Math.min(size - 1, i + 1), Home: 0, End: size - 1 };
    if (event.key in moves) chosen.value = moves[event.key];
    else if ((event.key === "ArrowUp" || event.key === "ArrowDown") && i >= 0) {
      const by = (event.shiftKey ? 1 : 0.1) * (event.key === "ArrowUp" ? 1 : -1);
      edit(i, Math.round((model.peek().before[i] + by) * 100) / 100);
    } else if (event.key === "Escape") chosen.value = null;
    else return;
    event.preventDefault();
  };
  surface.canvas.addEventListener("pointermove", (event) => (dragged === null ? (chosen.value = barAt(event)) : drag(event)));
  surface.canvas.addEventListener("pointerleave", () => dragged === null && (chosen.value = null));
  surface.canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") return void (chosen.value = barAt(event)); // dragging would stop scrolling
    dragged = barAt(event);
    surface.canvas.setPointerCapture(event.pointerId);
  });
  surface.canvas.addEventListener("pointerup", () => (dragged = null));
  surface.canvas.addEventListener("pointercancel", () => (dragged = null));
  return h("div", {
    class: "rd-figure", tabindex: 0, role: "application", "aria-label":
      "Bars of the activations. Left and right choose a bar, up and down change its value.", onkeydown: keys,
  }, surface.holder);
}
