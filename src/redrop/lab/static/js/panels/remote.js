// A model that Python computes (a Hugging Face folder): the page asks, and shows what came last.
import { computed, signal } from "../../vendor/signals-core.js";
import { onEnd, watch } from "../core/dom.js";
import { getJson } from "../core/source.js";

const WAIT_MS = 120; // while somebody types or drags, only the last question is asked

/** 16-bit fixed point, w * 65535, lowest byte first: one array a layer. */
function unpack(text, layers) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const fixed = new Uint16Array(bytes.buffer), size = fixed.length / layers;
  return Array.from({ length: layers }, (_, layer) =>
    Float32Array.from(fixed.subarray(layer * size, (layer + 1) * size), (value) => value / 65535));
}

function question(state) {
  const row = state.cell.value ? state.cell.value.split("-")[0] : "-1", query = new URLSearchParams({ text: state.text.value, row });
  if (state.cut.value.length) query.set("cut", state.cut.value.join(","));
  if (state.show.value !== "before") query.set("drop", [state.seed.value, state.step.value, state.sample.value, state.ap.value].join("-"));
  return query.toString();
}

/**
 * @param model signal of the chosen model; only one with `about.remote` is asked about
 * @returns signals of the last answer's run, words and odds, in the form of the local models'
 */
export function remoteLook(state, model, trouble) {
  const answer = signal(null);
  let timer = 0, asked = 0;
  watch(() => {
    if (!model.value?.about.remote) {
      answer.value = null;
      return;
    }
    const query = question(state), now = model.value;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const mine = ++asked;
      try {
        const got = await getJson(`api/look?${query}`);
        if (mine === asked) answer.value = { ...got, model: now };
        trouble.value = "";
      } catch (error) {
        trouble.value = error.message;
      }
    }, WAIT_MS);
  });
  onEnd(() => clearTimeout(timer));
  const hasWords = () => answer.value !== null && answer.value.labels.length > 0;
  return {
    words: computed(() => ({ ids: [], labels: answer.value?.labels ?? [], unknown: [], isCropped: answer.value?.is_cropped ?? false })),
    run: computed(() => {
      if (!hasWords()) return null;
      const { labels, weights, model: asker } = answer.value, { layers, heads } = asker.config;
      return { weights: unpack(weights, layers), length: labels.length, labels, layers, heads, model: asker };
    }),
    odds: computed(() => {
      if (!hasWords()) return null;
      const { odds, words, labels, row } = answer.value;
      return { after: labels[row], label: (i) => words[i], intact: odds.intact, dropped: odds.dropped ?? null, severed: odds.severed ?? null };
    }),
  };
}
