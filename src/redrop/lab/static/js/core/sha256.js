// SHA-256 (FIPS 180-4), so that a mask's hash is there at once and in every context:
// the browser's own digest is asynchronous and missing on pages without https.

/** First 32 bits of the fractional part of a root of the first primes: the constants of section 4.2.2. */
function primeRoots(count, power) {
  const primes = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  return primes.map((prime) => Math.floor((prime ** power % 1) * 2 ** 32));
}

const ROUND = primeRoots(64, 1 / 3);
const START = primeRoots(8, 1 / 2);
const turn = (x, n) => (x >>> n) | (x << (32 - n));

function padded(bytes) {
  const length = ((bytes.length + 8) >> 6) * 64 + 64;
  const block = new DataView(new ArrayBuffer(length));
  bytes.forEach((byte, i) => block.setUint8(i, byte));
  block.setUint8(bytes.length, 0x80);
  block.setUint32(length - 8, Math.floor(bytes.length / 2 ** 29));
  block.setUint32(length - 4, bytes.length * 8);
  return block;
}

function compress(state, w) {
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i++) {
    if (i >= 16) {
      const x = w[i - 15], y = w[i - 2];
      w[i] = w[i - 16] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + w[i - 7] + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10));
    }
    const first = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROUND[i] + w[i]) | 0;
    const second = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] += word));
}

/** Hexadecimal SHA-256 of an ASCII text or of bytes. */
export function sha256(message) {
  const block = padded(typeof message === "string" ? new TextEncoder().encode(message) : message);
  const state = Uint32Array.from(START), w = new Uint32Array(64);
  for (let at = 0; at < block.byteLength; at += 64) {
    for (let i = 0; i < 16; i++) w[i] = block.getUint32(at + 4 * i);
    compress(state, w);
  }
  return [...state].map((word) => word.toString(16).padStart(8, "0")).join("");
}

/** The hash of a mask as in tests/vectors: SHA-256 of its row-major text, 1 = kept. */
export const maskHash = (keep) => sha256(keep.map((bit) => 48 + bit));
