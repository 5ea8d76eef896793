// What the model says comes next: intact, under this step's mask, and with severed connections.
import { h, watch } from "../core/dom.js";
import { number } from "../core/format.js";

const SHOWN = 5;

function bestOf(...columns) {
  const chosen = new Set();
  for (const odds of columns) {
    if (!odds) continue;
    [...odds.keys()].sort((a, b) => odds[b] - odds[a]).slice(0, SHOWN - 1).forEach((id) => chosen.add(id));
  }
  const first = columns[0];
  return [...chosen].sort((a, b) => first[b] - first[a]).slice(0, SHOWN + 3);
}

function share(value, kind) {
  const bar = h("span", { class: `rd-odds rd-odds-${kind}`, "aria-hidden": "true" });
  bar.style.width = `${Math.max(0.5, value * 100)}%`;
  return h("td", null, h("span", { class: "rd-odds-track" }, bar), h("span", { class: "rd-odds-value" }, value < 0.001 ? "< 0.1 %" : `${number(100 * value, value < 0.1 ? 1 : 0)} %`));
}

/** @param view signal of { after, intact, dropped, severed, label } or null; odds are arrays by id */
export function prediction(view) {
  const place = h("div", { class: "rd-prediction" });
  watch(() => {
    const now = view.value;
    if (!now) return place.replaceChildren();
    const columns = [["Intact", "intact", now.intact], ["This step's mask", "dropped", now.dropped], ["Severed", "severed", now.severed]].filter(([, , odds]) => odds);
    const ids = bestOf(now.intact, now.severed, now.dropped);
    place.replaceChildren(h("table", { class: "rd-odds-table" },
      h("caption", null, "Next word after ", h("b", null, `“${now.after}”`)),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Word"), ...columns.map(([name]) => h("th", { scope: "col" }, name)))),
      h("tbody", null, ...ids.map((id) => h("tr", null, h("th", { scope: "row" }, now.label(id)), ...columns.map(([, kind, odds]) => share(odds[id], kind)))))));
  });
  return place;
}
