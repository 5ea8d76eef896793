// Curves over steps, drawn by uPlot: thin lines for single seeds, a strong one with a band for
// their mean. The keyboard moves the same cursor as the pointer.
import { h, onEnd, watch } from "../core/dom.js";
import { exact } from "../core/format.js";
import { colours } from "../core/theme.js";

const SETTLED = 0.12; // the first steps fall so far that they would flatten all that follows
const ROOM = 0.06;
export const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 2]];
export const ARM_COLOURS = 6;
const WHOLE_STEPS = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((first) => first * 10 ** power)).flat();

/** Columns on one common axis of steps; a value that a line has not is null. */
function align(lines) {
  const steps = [...new Set(lines.flatMap((line) => line.steps))].sort((a, b) => a - b);
  const place = new Map(steps.map((step, i) => [step, i]));
  return [steps, ...lines.map((line) => {
    const column = new Array(steps.length).fill(null);
    line.steps.forEach((step, i) => (column[place.get(step)] = line.values[i]));
    return column;
  })];
}

function span(lines, marks) {
  const last = Math.max(...lines.flatMap((line) => line.steps.slice(-1)));
  const collect = (from) => lines.flatMap((line) => line.values.filter((value, i) => value !== null && line.steps[i] >= from));
  let values = collect(SETTLED * last);
  if (values.length === 0) values = collect(0);
  values.push(...marks);
  const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1) * ROOM;
  return [low - room, high + room];
}

/** What is drawn of one chart: lines for uPlot, and pairs of them that enclose a band. */
function plan({ arms, means, seeds }) {
  const lines = [], bands = [];
  for (const seed of seeds) lines.push({ ...seed, kind: "seed" });
  for (const mean of means) {
    if (mean.spread) {
      const edge = (sign) => ({ arm: mean.arm, steps: mean.steps, values: mean.mean.map((value, i) => value + sign * mean.spread[i]), kind: "edge" });
      lines.push(edge(1), edge(-1));
      bands.push({ upper: lines.length - 1, lower: lines.length, arm: mean.arm });
    }
    lines.push({ arm: mean.arm, steps: mean.steps, values: mean.mean, kind: "mean" });
  }
  return { lines: lines.filter((line) => line.steps.length), bands, arms };
}

function zeroAndMargin(marks, colour) {
  return (u) => {
    const { ctx } = u, { left, width } = u.bbox;
    ctx.save();
    for (const mark of marks) {
      const y = Math.round(u.valToPos(mark, "y", true));
      ctx.strokeStyle = mark === 0 ? colour.ink : colour["ink-2"];
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash(mark === 0 ? [] : [4 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(left, y);
      ctx.lineTo(left + width, y);
      ctx.stroke();
    }
    ctx.restore();
  };
}

const heightFor = (width) => (width < 520 ? 240 : 330);

function options(place, drawn, { title, marks, width, pick, move }) {
  const colour = colours(place, ["ink", "ink-2", "rule", "paper", ...Array.from({ length: ARM_COLOURS }, (_, i) => `arm-${i}`)]);
  const paintOf = (arm) => colour[`arm-${drawn.arms.indexOf(arm) % ARM_COLOURS}`];
  const fade = (paint, alpha) => `color-mix(in srgb, ${paint} ${alpha}%, transparent)`;
  const axis = { stroke: colour["ink-2"], grid: { stroke: colour.rule, width: 1 }, ticks: { stroke: colour.rule, width: 1 }, font: "12px system-ui, sans-serif" };
  const series = drawn.lines.map((line) => ({
    label: line.arm,
    stroke: line.kind === "mean" ? paintOf(line.arm) : line.kind === "seed" ? fade(paintOf(line.arm), 45) : "transparent",
    width: line.kind === "mean" ? 2.5 : 1,
    dash: line.kind === "mean" ? DASHES[drawn.arms.indexOf(line.arm) % DASHES.length] : undefined,
    points: { show: line.kind === "seed" && line.steps.length < 2 },
    spanGaps: true,
  }));
  return {
    width, height: heightFor(width),
    scales: { x: { time: false }, y: { range: () => span(drawn.lines, marks) } },
    axes: [{ ...axis, incrs: WHOLE_STEPS, size: 30, label: "step", labelSize: 20, labelGap: 0, labelFont: "12px system-ui, sans-serif" }, { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => exact(Number(tick.toPrecision(6)))) }],
    series: [{ label: "step" }, ...series],
    bands: drawn.bands.map(({ upper, lower, arm }) => ({ series: [upper, lower], fill: fade(paintOf(arm), 16) })),
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { show: false }, y: false },
    hooks: {
      draw: [zeroAndMargin(marks, colour)],
      setCursor: [(u) => move(u.cursor.idx === null || u.cursor.idx === undefined ? null : u.data[0][u.cursor.idx])],
      ready: [(u) => u.over.addEventListener("click", () => u.cursor.idx !== null && u.cursor.idx !== undefined && pick(u.data[0][u.cursor.idx]))],
    },
    title: undefined, class: title,
  };
}

/**
 * @param chart signal of { arms, means, seeds, marks, key } or null; `key` changes with what is drawn
 * @param at signal of the step under the cursor, or null
 * @param pick called with a step that was clicked or entered
 */
export function curves(label, chart, at, pick) {
  const place = h("div", { class: "rd-curves" });
  let plot = null, key = "", steps = [];
  const observer = new ResizeObserver(() => {
    const width = place.clientWidth;
    if (plot && width) plot.setSize({ width, height: heightFor(width) });
    else if (width && chart.peek()) draw(chart.peek());
  });
  observer.observe(place);
  watch(() => {
    const now = chart.value;
    colours(place, []); // a change of theme draws anew
    if (now && place.clientWidth) draw(now);
  });
  function draw(now) {
    const drawn = plan(now), table = align(drawn.lines);
    steps = table[0];
    const fresh = JSON.stringify([now.key, drawn.lines.map((line) => [line.arm, line.kind]), getComputedStyle(place).color]);
    if (plot && fresh === key) return plot.setData(table);
    key = fresh;
    plot?.destroy();
    place.replaceChildren();
    if (drawn.lines.length === 0) return (plot = null);
    plot = new globalThis.uPlot(options(place, drawn, { marks: now.marks, width: place.clientWidth, pick, move: (step) => (at.value = step) }), table, place);
  }
  onEnd(() => {
    observer.disconnect();
    plot?.destroy();
  });
  return h("div", {
    class: "rd-figure", tabindex: 0, role: "application",
    "aria-label": `${label}. Left and right move between steps, Enter shows the masks of a step.`,
    onkeydown: (event) => {
      const i = steps.indexOf(at.peek()), last = steps.length - 1;
      const moves = { ArrowLeft: Math.max(0, i - 1), ArrowRight: Math.min(last, i + 1), Home: 0, End: last };
      if (event.key in moves && last >= 0) {
        at.value = steps[moves[event.key]];
        plot?.setCursor({ left: plot.valToPos(at.value, "x"), top: 10 }, false);
      } else if (event.key === "Enter" && at.peek() !== null) pick(at.peek());
      else return;
      event.preventDefault();
    },
  }, place);
}
