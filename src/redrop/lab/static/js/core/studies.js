// The studies of the page: embedded in an export, or asked of the server again and again with a
// cursor (how many evaluations of each run are here already), so only what is new travels.
import { signal } from "../../vendor/signals-core.js";
import { onEnd, watch } from "./dom.js";
import { embedded, getJson } from "./source.js";

const POLL_MS = 1000;

/** Join what is new to what was here; runs are told apart by their id. */
export function merge(old, news) {
  if (news.is_same) return old;
  const known = new Map((old?.runs ?? []).map((run) => [run.id, run]));
  const runs = news.runs.map((run) => {
    const before = known.get(run.id)?.evals;
    const evals = Object.fromEntries(Object.entries(run.evals).map(([name, values]) =>
      [name, run.first && before ? [...(before[name] ?? new Array(run.first).fill(null)).slice(0, run.first), ...values] : values]));
    return { ...run, evals };
  });
  return { ...news, runs };
}

const cursor = (study) => (study ? study.runs.map((run) => `${run.id}:${run.evals.step.length}`).join(",") : "");

/** Signals: the list of studies, the chosen one, the trainer, and what went wrong. */
export function followStudies(chosen) {
  const stored = embedded("studies");
  const list = signal([]), study = signal(null), trainer = signal(null), trouble = signal(""), isLoaded = signal(false), data = signal({});
  if (stored) {
    list.value = stored.map(({ name, plan }) => ({ name, title: plan.name }));
    isLoaded.value = true;
    watch(() => (study.value = stored.find(({ name }) => name === chosen.value) ?? stored[0] ?? null));
    return { list, study, trainer, trouble, isLoaded, data, isLive: false, refresh() {} };
  }
  let timer = 0, isGone = false;
  async function look() {
    const state = await getJson("api/state");
    list.value = state.studies;
    trainer.value = state.trainer;
    data.value = state.data;
    const name = state.studies.some((entry) => entry.name === chosen.peek()) ? chosen.peek() : state.studies[0]?.name;
    if (!name) {
      study.value = null;
      return;
    }
    const old = study.peek()?.name === name ? study.peek() : null;
    const query = new URLSearchParams({ name, have: cursor(old), version: old?.version ?? "" });
    const news = await getJson(`api/study?${query}`);
    if (!isGone) study.value = merge(old, news);
  }
  async function poll() {
    clearTimeout(timer);
    try {
      await look();
      trouble.value = "";
    } catch (error) {
      trouble.value = error instanceof TypeError ? "The server does not answer. Is `redrop lab` still running?" : error.message;
    }
    isLoaded.value = true;
    if (!isGone) timer = setTimeout(poll, document.hidden ? 5 * POLL_MS : POLL_MS);
  }
  watch(() => {
    chosen.value;
    poll();
  });
  onEnd(() => {
    isGone = true;
    clearTimeout(timer);
  });
  return { list, study, trainer, trouble, isLoaded, data, isLive: true, refresh: poll };
}
