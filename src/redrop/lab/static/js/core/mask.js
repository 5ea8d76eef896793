// The mask of SPEC.md (version 1) in JavaScript: a twin of redrop.mask, integers only, no dependency.
// 64-bit integers (seed, site, key) are BigInt; everything inside a mask is 32-bit words.

export const SPEC_VERSION = 1;
const FNV_OFFSET = 0xcbf29ce484222325n; // FNV-1a, 64 bit
const FNV_PRIME = 0x100000001b3n;
const MULTIPLIER_0 = 0xd2511f53; // Salmon et al., SC 2011, table 2
const MULTIPLIER_1 = 0xcd9e8d57;
const KEY_INCREMENT_0 = 0x9e3779b9; // golden ratio
const KEY_INCREMENT_1 = 0xbb67ae85; // sqrt(3) - 1

/** High word of a 32 x 32 bit product; every partial sum stays below 2^32, so doubles are exact. */
function highWord(a, b) {
  const aLow = a & 0xffff, aHigh = a >>> 16, bLow = b & 0xffff, bHigh = b >>> 16;
  const first = aHigh * bLow + ((aLow * bLow) >>> 16);
  const second = aLow * bHigh + (first & 0xffff);
  return (aHigh * bHigh + (first >>> 16) + (second >>> 16)) >>> 0;
}

/** Write the four words of a counter under a key into `out` (Uint32Array). */
export function philox(c0, c1, c2, c3, k0, k1, out) {
  for (let round = 0; round < 10; round++) {
    const high0 = highWord(c0, MULTIPLIER_0), low0 = Math.imul(c0, MULTIPLIER_0);
    const high1 = highWord(c2, MULTIPLIER_1), low1 = Math.imul(c2, MULTIPLIER_1);
    c0 = high1 ^ c1 ^ k0;
    c2 = high0 ^ c3 ^ k1;
    c1 = low1;
    c3 = low0;
    k0 = (k0 + KEY_INCREMENT_0) | 0;
    k1 = (k1 + KEY_INCREMENT_1) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

export function siteId(name) {
  let digest = FNV_OFFSET;
  for (const byte of new TextEncoder().encode(name)) {
    digest = BigInt.asUintN(64, (digest ^ BigInt(byte)) * FNV_PRIME);
  }
  return digest;
}

const low = (value) => Number(value & 0xffffffffn);
const high = (value) => Number(value >> 32n);

/** The 64-bit key of one mask; seed and site are BigInt, step and pass below 2^32. */
export function maskKey(seed, step, site, pass = 0) {
  const words = new Uint32Array(4);
  philox(step, pass, low(site), high(site), low(seed), high(seed), words);
  return (BigInt(words[1]) << 32n) | BigInt(words[0]);
}

/** T = floor(p * 2^32); an element is dropped iff its 32 random bits u < T. */
export function threshold(p) {
  if (!(p >= 0 && p <= 1)) throw new RangeError(`p must lie in [0, 1]; got ${p}`);
  return Math.floor(p * 2 ** 32);
}

export function scale(T) {
  return T === 2 ** 32 ? 0 : 1 / (1 - T / 2 ** 32);
}

/** Fill `keep` (1 = kept) for `count` columns of one row, starting at column `first`. */
function keepRow(k0, k1, T, plane, row, first, count, keep, at, isShared, words, ties) {
  const topHalf = Math.floor(T / 65536), bottomHalf = T % 65536;
  let loaded = -1, tied = -1;
  for (let i = 0; i < count; i++) {
    const col = isShared ? 0 : first + i;
    const group = Math.floor(col / 8), word = (col & 7) >> 1, shift = 16 * (col & 1);
    if (group !== loaded) philox((loaded = group), row, plane, 0, k0, k1, words);
    const top = (words[word] >>> shift) & 0xffff;
    if (top === topHalf && group !== tied) philox((tied = group), row, plane, 1, k0, k1, ties);
    const isKept = top > topHalf || (top === topHalf && ((ties[word] >>> shift) & 0xffff) >= bottomHalf);
    keep[at + i] = isKept ? 1 : 0;
  }
}

/** Which elements are kept: a Uint8Array in row-major order, 1 = kept. Window and shared as in SPEC.md 3. */
export function keepMask(key, p, shape, { sizes = shape, offset = shape.map(() => 0), shared = [] } = {}) {
  const T = threshold(p), last = shape.length - 1, cols = shape[last] ?? 1;
  const rows = shape.slice(0, Math.max(last, 0)).reduce((a, b) => a * b, 1);
  const keep = new Uint8Array(rows * cols), words = new Uint32Array(4), ties = new Uint32Array(4);
  const at = (dim, index) => (shared.includes(dim) ? 0 : offset[dim] + index);
  for (let line = 0; line < rows; line++) {
    let plane = 0, row = 0, unit = rows;
    for (let dim = 0; dim < last; dim++) {
      unit /= shape[dim];
      const coordinate = at(dim, Math.floor(line / unit) % shape[dim]);
      if (dim === last - 1) row = coordinate;
      else plane = plane * sizes[dim] + coordinate;
    }
    keepRow(low(key), high(key), T, plane, row, offset[last] ?? 0, cols, keep, line * cols, shared.includes(last), words, ties);
  }
  return keep;
}
