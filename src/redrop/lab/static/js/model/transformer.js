// The forward pass of redrop.models.Transformer, in eval mode but for what is done to attention.
import { add, gelu, layerNorm, linear, rmsNorm, softmax } from "./arithmetic.js";

/** softmax(q·kᵀ / √D) over the past: heads matrices of length × length in one array. */
function causalWeights(qkv, length, heads, width) {
  const size = width / heads, weights = new Float32Array(heads * length * length);
  for (let head = 0; head < heads; head++) {
    for (let q = 0; q < length; q++) {
      const row = (head * length + q) * length;
      for (let k = 0; k <= q; k++) {
        let sum = 0;
        const a = q * 3 * width + head * size, b = k * 3 * width + width + head * size;
        for (let i = 0; i < size; i++) sum += qkv[a + i] * qkv[b + i];
        weights[row + k] = sum / Math.sqrt(size);
      }
      softmax(weights, row, q + 1);
    }
  }
  return weights;
}

function mix(weights, qkv, length, heads, width) {
  const size = width / heads, out = new Float32Array(length * width);
  for (let head = 0; head < heads; head++) {
    for (let q = 0; q < length; q++) {
      for (let k = 0; k <= q; k++) {
        const weight = weights[(head * length + q) * length + k];
        if (weight === 0) continue;
        const from = k * 3 * width + 2 * width + head * size, to = q * width + head * size;
        for (let i = 0; i < size; i++) out[to + i] += weight * qkv[from + i];
      }
    }
  }
  return out;
}

/**
 * @param {{config: object, tensors: object}} model
 * @param {number[]} ids
 * @param {(layer: number, weights: Float32Array) => Float32Array} [change]
 *   what to make of a layer's weights after the softmax, (heads, query, key)
 * @returns {{weights: Float32Array[], logits: Float32Array, length: number}}
 *   weights before `change`, a layer each; logits (position, word)
 */
export function forward({ config, tensors }, ids, change = (_, weights) => weights) {
  const { width, heads } = config, length = ids.length, weights = [];
  const isPre = config.norm === "pre";
  const t = (name) => tensors[name];
  let x = new Float32Array(length * width);
  ids.forEach((id, row) => {
    for (let i = 0; i < width; i++) {
      x[row * width + i] = t("token_embedding.weight").data[id * width + i] + t("position_embedding.weight").data[row * width + i];
    }
  });
  const joined = (values, branch) => (config.residual === false ? branch : add(values, branch));
  const norms = {
    none: (values) => values,
    rmsnorm: (values, name) => rmsNorm(values, length, t(`${name}.weight`)),
    layernorm: (values, name) => layerNorm(values, length, t(`${name}.weight`), t(`${name}.bias`)),
  };
  const norm = norms[config.norm_layer ?? "layernorm"];
  const full = (values, name) => linear(values, length, t(`${name}.weight`), t(`${name}.bias`));
  for (let layer = 0; layer < config.layers; layer++) {
    const at = `blocks.${layer}.`;
    const attend = (values) => {
      const qkv = full(values, at + "attention.qkv");
      weights.push(causalWeights(qkv, length, heads, width));
      return full(mix(change(layer, weights[layer]), qkv, length, heads, width), at + "attention.output");
    };
    const feed = (values) => full(gelu(full(values, at + "feed_forward.expand")), at + "feed_forward.contract");
    if (isPre) {
      x = joined(x, attend(norm(x, at + "attention_norm")));
      x = joined(x, feed(norm(x, at + "feed_forward_norm")));
    } else {
      x = norm(joined(x, attend(x)), at + "attention_norm");
      x = norm(joined(x, feed(x)), at + "feed_forward_norm");
    }
  }
  if (isPre) x = norm(x, "final_norm");
  return { weights, logits: linear(x, length, tensors["output.weight"], null), length };
}

/** Probabilities of the next word after position `row`. */
export function nextWord({ logits, length }, row) {
  const size = logits.length / length, odds = logits.slice(row * size, (row + 1) * size);
  softmax(odds, 0, size);
  return odds;
}

/** Weights with a layer's dropout: selected to zero, or multiplied by the factor. */
export function dropWeights(weights, keep, factor) {
  return weights.map((weight, i) => (keep[i] ? weight * factor : 0));
}
