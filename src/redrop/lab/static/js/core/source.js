// Where data come from: what is embedded in an exported page, or the server that sent this one.
import { computed, effect, signal } from "../../vendor/signals-core.js";
import { readSafetensors } from "../model/safetensors.js";
import { tokenizerFrom } from "../model/tokens.js";

/** JSON that the export wrote into the page, or null on a served one. */
export function embedded(name) {
  const element = document.getElementById(`rd-data-${name}`);
  return element ? JSON.parse(element.textContent) : null;
}

const fromBase64 = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;

async function answer(response) {
  if (response.ok) return response;
  let reason = await response.text();
  try {
    reason = JSON.parse(reason).error;
  } catch {
    // A refusal in plain text says it already.
  }
  throw new Error(reason || `The server answered ${response.status}.`);
}

export const getJson = async (path) => (await answer(await fetch(path))).json();

/** A model that the page can run: its config, weights and tokenizer. */
function assemble(about, stored, weights) {
  const tokenizer = tokenizerFrom(stored), { config } = about;
  return {
    about, config, tensors: readSafetensors(weights),
    label: tokenizer.label,
    encode: (text) => {
      const all = tokenizer.encode(text), cut = (list) => list.slice(0, config.context);
      return { ids: cut(all.ids), labels: cut(all.labels), unknown: all.unknown, isCropped: all.ids.length > config.context };
    },
  };
}

/** The models of the page: a list, and each one loaded when it is first chosen. */
export function loadLab(stored = embedded("models")) {
  const models = signal(stored ?? []), loaded = signal({}), trouble = signal("");
  const asked = new Set();
  const refresh = () => stored || getJson("api/models").then((list) => (models.value = list), (error) => (trouble.value = error.message));
  refresh();

  async function load(entry) {
    if (entry.about.remote) {
      loaded.value = { ...loaded.peek(), [entry.name]: { about: entry.about, config: entry.about.config } };
      return;
    }
    const weights = entry.weights ? fromBase64(entry.weights) : await (await answer(await fetch(entry.file))).arrayBuffer();
    const tokenizer = entry.tokenizer ? await getJson(entry.tokenizer) : entry.about.tokenizer;
    loaded.value = { ...loaded.peek(), [entry.name]: assemble(entry.about, tokenizer, weights) };
    trouble.value = "";
  }
  return {
    isExport: stored !== null, models, trouble,
    /** Look for models that have come since: a run may have ended meanwhile. */
    refresh,
    /** Signal of the model that `name` (a signal) names, null until it is there. */
    model(name) {
      effect(() => {
        const entry = models.value.find((model) => model.name === name.value);
        if (!entry || asked.has(entry.name)) return;
        asked.add(entry.name);
        load(entry).catch((error) => {
          asked.delete(entry.name);
          trouble.value = `The model cannot be loaded: ${error.message}`;
        });
      });
      return computed(() => loaded.value[name.value] ?? null);
    },
  };
}

/** Ask the server to change something; it wants the token that `redrop lab` printed. */
export async function postJson(path, body, token) {
  const headers = { "content-type": "application/json", "x-redrop-token": token };
  return (await answer(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }))).json();
}

/** The token of the address, kept for this tab and taken out of the address, so a copied link has none. */
export function takeToken() {
  const query = new URLSearchParams(location.search), given = query.get("token");
  try {
    if (given) {
      sessionStorage.setItem("redrop-lab-token", given);
      history.replaceState(null, "", location.pathname + location.hash);
    }
    return given ?? sessionStorage.getItem("redrop-lab-token") ?? "";
  } catch {
    return given ?? "";
  }
}
