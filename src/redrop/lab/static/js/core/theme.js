// Colours come from the style sheet, so light, dark and forced colours need no second list here.
import { signal } from "../../vendor/signals-core.js";

/** Rises whenever colours may have changed; a drawing that reads it is drawn anew. */
export const themeVersion = signal(0);

const DARK = "(prefers-color-scheme: dark)";

for (const query of [DARK, "(forced-colors: active)"]) {
  matchMedia(query).addEventListener("change", () => themeVersion.value++);
}

const KEY = "redrop-lab-theme";

export function storedTheme() {
  try {
    return localStorage.getItem(KEY) ?? "auto";
  } catch {
    return "auto"; // storage may be forbidden, as in some sandboxes
  }
}

export function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // The choice then lasts as long as the page.
  }
  themeVersion.value++;
}

/** Read the custom properties `--rd-<name>` at an element, as "#rrggbb". */
export function colours(element, names) {
  themeVersion.value;
  const style = getComputedStyle(element), scheme = style.colorScheme;
  const isDark = scheme === "dark" || (scheme !== "light" && matchMedia(DARK).matches);
  // A browser keeps `light-dark(…)` in a custom property as text, which a canvas cannot paint with.
  const read = (name) => style.getPropertyValue(`--rd-${name}`).match(/#[0-9a-f]{6}/gi)?.at(isDark ? -1 : 0);
  return Object.fromEntries(names.map((name) => [name, read(name)]));
}

export const prefersStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Three numbers 0 to 255 of a "#rrggbb" colour. */
export const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
