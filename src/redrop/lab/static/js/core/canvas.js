// A canvas that is as sharp as the screen and follows the width of its place.
import { signal } from "../../vendor/signals-core.js";
import { h, onEnd, watch } from "./dom.js";

/**
 * @param {(context: CanvasRenderingContext2D, width: number, height: number) => void} draw
 *   in CSS pixels; called anew when a signal it reads or the size changes, once a frame at most.
 * @param {(width: number) => number} heightFor
 */
export function sharpCanvas(draw, heightFor) {
  const canvas = h("canvas", { class: "rd-canvas", "aria-hidden": "true" });
  const width = signal(0);
  const observer = new ResizeObserver(([entry]) => (width.value = Math.floor(entry.contentRect.width)));
  const holder = h("div", { class: "rd-canvas-holder" }, canvas);
  observer.observe(holder);
  onEnd(() => observer.disconnect());
  watch(() => {
    const wide = width.value;
    if (!wide) return;
    const high = heightFor(wide), ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(high * ratio);
      canvas.style.height = `${high}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, wide, high);
    draw(context, wide, high);
  });
  return { holder, canvas, width };
}
