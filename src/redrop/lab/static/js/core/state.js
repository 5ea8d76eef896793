// Everything that can be shared: one signal a field, written to the URL behind the # when it is
// not at its default. A value that cannot be read falls back to the default, never to an error.
import { batch, effect, signal } from "../../vendor/signals-core.js";

const VERSION = "1";

const word = (...words) => ({ first: words[0], read: (text) => (words.includes(text) ? text : undefined) });
const whole = (first, most) => ({
  first,
  read: (text) => (/^\d{1,10}$/.test(text) && Number(text) <= most ? Number(text) : undefined),
});
const rate = (first) => ({
  first,
  read: (text) => (text !== "" && Number(text) >= 0 && Number(text) <= 1 ? Number(text) : undefined),
});
const text = (first, most) => ({ first, read: (value) => value.slice(0, most) });
const name = (first) => ({ first, read: (value) => (/^[\w.:-]{0,80}$/.test(value) ? value : undefined) });
const list = (read, most) => ({
  first: [],
  read: (value) => {
    const items = value === "" ? [] : value.split(",").map(read);
    return items.length <= most && !items.includes(undefined) ? items : undefined;
  },
  write: (items) => items.join(","),
});
/** One rate for each kind of site of a network, all of them or none; old links lack the later ones. */
const ratesOf = (first, older = first.length) => {
  const many = list(rate(0).read, first.length);
  const read = (value) => {
    const items = many.read(value);
    if (items?.length === older) items.push(...first.slice(older));
    return items?.length === first.length ? items : undefined;
  };
  return { ...many, first, read };
};
const number = (value) => (value.trim() !== "" && Math.abs(Number(value)) <= 1e6 ? Number(value) : undefined);
const cell = (value) => (/^\d{1,4}-\d{1,4}$/.test(value) ? value : undefined);
const link = (value) => (/^\d{1,3}-\d{1,3}-\d{1,4}-\d{1,4}$/.test(value) ? value : undefined);
const arm = (value) => (/^[^,]{1,80}$/.test(value) ? value : undefined);

export const LARGEST_STEP = 2 ** 32 - 1;
export const SEED_END = 1n << 64n;

export function readSeed(value) {
  const typed = value.trim();
  if (!/^(\d{1,20}|0[xX][\da-fA-F]{1,16})$/.test(typed)) return undefined;
  return BigInt(typed) < SEED_END ? BigInt(typed) : undefined;
}

export const EXAMPLE = [0.8, 0.3, 1.2, 0.5, 0.9, 0.2, 1.0, 0.6, 0.4, 1.1];

const ELEMENTWISE = ["embedding", "attention_weights", "attention_residual", "feed_forward_hidden", "feed_forward_residual"];

/** The kinds of dropout site of each network, in the order of the code: single numbers come first. */
export const KINDS = {
  transformer: [...ELEMENTWISE, "token_dropout", "drop_head", "drop_path", "layer_drop"],
  modern: ["feed_forward_hidden", "feed_forward_residual", "drop_path", "layer_drop"],
  old: ["pre_activation", "feed_forward_hidden"],
};

/** Rates of a transformer that drops single numbers only. */
export const elementwise = (...rates) => KINDS.transformer.map((_, i) => rates[i] ?? 0);

export const FIELDS = {
  view: word("story", "activations", "attention", "runs", "block"),
  chapter: whole(0, 30),
  seed: { first: 0n, read: readSeed },
  step: whole(0, LARGEST_STEP),
  p: rate(0.5),
  mode: word("train", "eval"),
  x: { ...list(number, 256), first: EXAMPLE },
  text: text("The cat sat on the mat", 400),
  model: name("little-english"),
  ap: rate(0.2),
  layer: whole(0, 200),
  head: whole(0, 200),
  sample: whole(0, 65535),
  show: word("before", "after", "difference"),
  cell: { first: "", read: cell },
  cut: list(link, 64),
  study: text("", 300),
  metric: { first: "validation_loss", read: (value) => (/^[a-z]\w{0,40}$/.test(value) ? value : undefined) },
  hidden: list(arm, 100),
  net: word(...Object.keys(KINDS)),
  norm: word("pre", "post"),
  rates: ratesOf(elementwise(0.1, 0.1, 0.1, 0.1, 0.1), ELEMENTWISE.length), // of the transformer
  modern: ratesOf([0.1, 0.1, 0, 0]),
  old: ratesOf([0.5, 0.3]),
  site: word(...new Set(Object.values(KINDS).flat())),
  task: word("digits", "table"),
  embed: word("", "figure"),
};

const write = (field, value) => (field.write ? field.write(value) : String(value));

export function createState(initial = {}) {
  const state = {};
  for (const [key, field] of Object.entries(FIELDS)) state[key] = signal(initial[key] ?? field.first);
  return state;
}

export function toHash(state, initial = {}) {
  const parts = new URLSearchParams();
  for (const [key, field] of Object.entries(FIELDS)) {
    const value = write(field, state[key].value);
    if (value !== write(field, initial[key] ?? field.first)) parts.set(key, value);
  }
  const query = parts.toString();
  return query ? `#v=${VERSION}&${query}` : "";
}

/** Set every field from the text behind the #; what is absent or unreadable gets its default. */
export function fromHash(state, hash, initial = {}) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  batch(() => {
    for (const [key, field] of Object.entries(FIELDS)) {
      const given = parts.get(key);
      const value = given === null ? undefined : field.read(given);
      const next = value ?? initial[key] ?? field.first;
      if (write(field, next) !== write(field, state[key].peek())) state[key].value = next;
    }
  });
}

/** Keep the address in step with the state; a change of view or chapter is a page to go back to. */
export function bindAddress(state, initial) {
  fromHash(state, location.hash, initial);
  let place = state.view.peek() + state.chapter.peek(), timer = 0, isReading = false;
  const flush = () => {
    const hash = toHash(state, initial), next = state.view.peek() + state.chapter.peek();
    const isMove = next !== place;
    place = next;
    if (hash === location.hash) return;
    const address = hash || location.pathname + location.search;
    try {
      if (isMove) history.pushState(null, "", address);
      else history.replaceState(null, "", address);
    } catch {
      // Some hosts (a page opened in a sandbox) have no history; the page works without it.
    }
  };
  effect(() => {
    toHash(state, initial);
    clearTimeout(timer);
    if (isReading) return;
    if (state.view.value + state.chapter.value !== place) return flush();
    timer = setTimeout(flush, 150); // browsers refuse more than some hundred changes a minute
  });
  addEventListener("popstate", () => {
    isReading = true;
    fromHash(state, location.hash, initial);
    isReading = false;
    place = state.view.peek() + state.chapter.peek();
  });
  addEventListener("pagehide", flush);
}
