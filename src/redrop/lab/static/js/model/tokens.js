// Text to ids, as the model's own tokenizer does it, with a label to show for each.
import { bpe } from "./bpe.js";

const WORD = /[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*|[.!?,;:]/gu; // redrop.lab.language.split_words

const visible = (character) => ({ " ": "␣", "\n": "↵", "\t": "⇥" })[character] ?? character;

/** @returns {{encode: (text: string) => {ids: number[], labels: string[], unknown: string[]}, label: (id: number) => string}} */
export function tokenizerFrom(stored) {
  if (stored.kind === "word") {
    const place = new Map(stored.words.map((word, id) => [word, id]));
    return {
      encode: (text) => {
        const labels = text.match(WORD) ?? [];
        const ids = labels.map((word) => place.get(word.toLowerCase()) ?? 0);
        return { ids, labels, unknown: labels.filter((word, i) => ids[i] === 0) };
      },
      label: (id) => stored.words[id],
    };
  }
  if (stored.kind === "char") {
    const alphabet = [...stored.alphabet], place = new Map(alphabet.map((character, id) => [character, id]));
    return {
      encode: (text) => {
        const typed = [...text].filter((character) => place.has(character) || place.has("\ufffd"));
        const ids = typed.map((character) => place.get(character) ?? place.get("\ufffd"));
        return { ids, labels: typed.map(visible), unknown: [...text].filter((character) => !place.has(character)) };
      },
      label: (id) => visible(alphabet[id]),
    };
  }
  if (stored.kind === "byte") {
    const name = (byte) => (byte > 32 && byte < 127 ? String.fromCharCode(byte) : byte === 32 ? "␣" : byte.toString(16).padStart(2, "0"));
    return {
      encode: (text) => {
        const ids = [...new TextEncoder().encode(text)];
        return { ids, labels: ids.map(name), unknown: [] };
      },
      label: name,
    };
  }
  return bpe(stored, visible);
}
