// The five kinds of dropout site of redrop.models.Transformer, in the order of a forward pass.
import { exact } from "./format.js";
import { SITES } from "./state.js";

export const ABOUT = {
  embedding: {
    title: "Embedding", path: "embedding_dropout", shape: "sample × token × channel",
    text: "The sum of token and position embedding, before the first block. Dropped here: single channels of single tokens.",
  },
  attention_weights: {
    title: "Attention weights", path: "blocks.0.attention.weights", shape: "sample × head × query × key",
    text: "The weights after the softmax. Dropped here: single connections between two tokens. Rows no longer sum to 1; on average over masks they do. The 2017 paper does not mention this site; it became custom with its implementations.",
  },
  attention_residual: {
    title: "Attention output", path: "blocks.0.attention.residual", shape: "sample × token × channel",
    text: "What attention writes back, after its output projection and before it is added to the residual stream.",
  },
  feed_forward_hidden: {
    title: "Feed-forward, hidden", path: "blocks.0.feed_forward.hidden", shape: "sample × token × 4 · channel",
    text: "Inside the feed-forward part, after the activation function: the neurons of the classic picture of dropout.",
  },
  feed_forward_residual: {
    title: "Feed-forward output", path: "blocks.0.feed_forward.residual", shape: "sample × token × channel",
    text: "What the feed-forward part writes back, before it is added to the residual stream.",
  },
};

/** Settings as they were used; sources are in docs and in the papers named. */
export const PRESETS = [
  { name: "Transformer, 2017", norm: "post", rates: [0.1, 0, 0.1, 0, 0.1], note: "Vaswani et al.: each sub-layer's output and the sum of the embeddings, p = 0.1; post-norm." },
  { name: "GPT-1, BERT, 2018", norm: "post", rates: [0.1, 0.1, 0.1, 0, 0.1], note: "p = 0.1 on embeddings, attention weights and sub-layer outputs; many passes over the data; post-norm." },
  { name: "Pythia, Llama", norm: "pre", rates: [0, 0, 0, 0, 0], note: "Pre-training that sees its data about once: p = 0. The reason is the amount of data, not the normalisation." },
  { name: "Little data, many passes", norm: "pre", rates: [0.2, 0.2, 0.2, 0.2, 0.2], note: "A starting point for a study, not a finding: small data and many passes are where dropout tends to pay." },
];

/** The arm as `redrop train --dropout` reads it. */
export function armName(rates) {
  if (rates.every((p) => p === rates[0])) return rates[0] ? `all-${exact(rates[0])}` : "none";
  return SITES.map((site, i) => (rates[i] ? `${site}-${exact(rates[i])}` : null)).filter(Boolean).join("+");
}

export function asPython(norm, rates) {
  const given = SITES.map((site, i) => (rates[i] ? `    ${site}=${exact(rates[i])},` : null)).filter(Boolean);
  return [
    "from redrop.models import DropoutRates, TransformerConfig",
    "",
    given.length ? `rates = DropoutRates(\n${given.join("\n")}\n)` : "rates = DropoutRates()  # p = 0 everywhere",
    `config = TransformerConfig(vocab_size=65, norm="${norm}", dropout=rates)`,
  ].join("\n");
}

export const asCommand = (data, norm, rates, steps, seed) =>
  `redrop train ${data} --dropout ${armName(rates)} --norm ${norm} --steps ${steps} --seed ${seed}`;
