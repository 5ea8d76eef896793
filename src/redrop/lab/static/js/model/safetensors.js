// Read tensors of a safetensors file: an 8-byte length, a JSON header, then the numbers.

/** @returns {Object<string, {shape: number[], data: Float32Array}>} */
export function readSafetensors(buffer) {
  const view = new DataView(buffer);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensors = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (entry.dtype !== "F32") throw new TypeError(`${name} is ${entry.dtype}; the page reads F32`);
    const [begin, end] = entry.data_offsets;
    tensors[name] = { shape: entry.shape, data: new Float32Array(buffer.slice(8 + length + begin, 8 + length + end)) };
  }
  return tensors;
}
