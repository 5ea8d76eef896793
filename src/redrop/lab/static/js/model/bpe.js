// Byte-level BPE, as redrop.data.BPETokenizer encodes: cut into words, then merge pairs by rank.

// GPT-2's rule of what is a word (the byte-level pre-tokenizer of Hugging Face `tokenizers`).
const WORD = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** The printable character that stands for each byte: itself where it prints, else from U+0100 on. */
function byteCharacters() {
  const isPrinted = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isPrinted(byte) ? byte : next++));
}
const CHARACTERS = byteCharacters();
const BYTES = new Map(CHARACTERS.map((character, byte) => [character, byte]));

/** Join the neighbours of the lowest rank, the leftmost first, until no pair is known. */
function merged(symbols, ranks) {
  const list = [...symbols];
  while (list.length > 1) {
    let best = -1, least = Infinity;
    for (let i = 0; i + 1 < list.length; i++) {
      const rank = ranks.get(`${list[i]} ${list[i + 1]}`) ?? Infinity;
      if (rank < least) [best, least] = [i, rank];
    }
    if (best < 0) break;
    list.splice(best, 2, list[best] + list[best + 1]);
  }
  return list;
}

/** The bytes of a piece as text where they are some, otherwise in hexadecimal. */
function spelled(piece, visible) {
  const bytes = Uint8Array.from([...piece], (character) => BYTES.get(character));
  try {
    return [...new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)].map(visible).join("");
  } catch {
    return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  }
}

/** @param {{pieces: string[], merges: [string, string][]}} stored pieces by id, merges by rank */
export function bpe({ pieces, merges }, visible) {
  const ranks = new Map(merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
  const place = new Map(pieces.map((piece, id) => [piece, id])), label = (id) => spelled(pieces[id], visible);
  return {
    encode: (text) => {
      const words = text.match(WORD) ?? [], symbols = (word) => Array.from(new TextEncoder().encode(word), (byte) => CHARACTERS[byte]);
      const ids = words.flatMap((word) => merged(symbols(word), ranks).map((piece) => place.get(piece)));
      return { ids, labels: ids.map(label), unknown: [] };
    },
    label,
  };
}
