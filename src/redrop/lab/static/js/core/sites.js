// The dropout sites of the networks of redrop.models, in the order of `KINDS`: what each is, its name in
// code, and which corner of its mask is shown; `grid` where its rows are not those of the tensor.
import { elementwise, KINDS } from "./state.js";

const TOKENS = { shape: [1, 12, 48], words: "sample 0, the first 12 tokens (rows) and 48 channels." };
const WEIGHTS = { shape: [1, 1, 12, 12], words: "sample 0, head 0, the first 12 queries (rows) and keys.", after: " Causality hides the upper right half anyway." };
const SAMPLES = { shape: [12, 48], words: "the first 12 samples (rows) and 48 channels." };
const BRANCHES = { shape: [12, 48], shared: [1], words: "the first 12 samples (rows); all channels of a sample share one decision." };
const WHOLE_TOKENS = { shape: [1, 12, 48], shared: [2], words: "sample 0, the first 12 tokens (rows); all channels of a token share one decision." };
const HEADS = { shape: [1, 12, 1, 48], shared: [2, 3], grid: [12, 48], words: "sample 0, the first 12 heads (rows); all tokens and channels of a head share one decision." };
const PATHS = { shape: [12, 1, 48], shared: [1, 2], grid: [12, 48], words: "the first 12 samples (rows); all tokens and channels of a sample share one decision." };
const WHOLE = { shape: [1, 1], shared: [0, 1], words: "one decision for all samples of the step." };

const TRANSFORMER = {
  embedding: {
    title: "Embedding", path: "embedding_dropout", shape: "sample × token × channel", mask: TOKENS,
    text: "The sum of token and position embedding, before the first block. Dropped here: single channels of single tokens.",
  },
  attention_weights: {
    title: "Attention weights", path: "blocks.0.attention.weights", shape: "sample × head × query × key", mask: WEIGHTS,
    text: "The weights after the softmax. Dropped here: single connections between two tokens. Rows no longer sum to 1; on average over masks they do. The 2017 paper does not mention this site; it became custom with its implementations.",
  },
  attention_residual: {
    title: "Attention output", path: "blocks.0.attention.residual", shape: "sample × token × channel", mask: TOKENS,
    text: "What attention writes back, after its output projection and before it is added to the residual stream.",
  },
  feed_forward_hidden: {
    title: "Feed-forward, hidden", path: "blocks.0.feed_forward.hidden", shape: "sample × token × 4 · channel", mask: TOKENS,
    text: "Inside the feed-forward part, after the activation function: the neurons of the classic picture of dropout.",
  },
  feed_forward_residual: {
    title: "Feed-forward output", path: "blocks.0.feed_forward.residual", shape: "sample × token × channel", mask: TOKENS,
    text: "What the feed-forward part writes back, before it is added to the residual stream.",
  },
  token_dropout: {
    title: "Whole token", path: "token_dropout", shape: "sample × token × channel", mask: WHOLE_TOKENS,
    text: "The embedding of a whole token, before its position is added: the network is told that a token stands there, not which. At p = 0 the network has no such site.",
  },
  drop_head: {
    title: "Whole head", path: "blocks.0.attention.drop_head", shape: "sample × head × token × channel", mask: HEADS,
    text: "DropHead: what a whole attention head has gathered, before the output projection; the heads that are kept are scaled up. At p = 0 the network has no such site.",
  },
  drop_path: {
    title: "Branch of a sample", path: "blocks.1.attention_drop_path", shape: "sample × token × channel", mask: PATHS,
    text: "Stochastic depth: the whole branch of single samples. Both branches of a block have such a site; this is attention's. p is the rate of the last block, here the second of two; earlier blocks have less, growing linearly with depth. At p = 0 the network has no such site.",
  },
  layer_drop: {
    title: "Whole block", path: "blocks.0.layer_drop", shape: "none: one decision a step", mask: WHOLE,
    text: "LayerDrop: the block, attention and feed-forward, is skipped for all samples of a step, and nothing is scaled. At p = 0 the network has no such site.",
  },
};

const MODERN = {
  feed_forward_hidden: { ...TRANSFORMER.feed_forward_hidden, shape: "sample × 4 · channel", mask: SAMPLES },
  feed_forward_residual: {
    ...TRANSFORMER.feed_forward_residual, shape: "sample × channel", mask: SAMPLES,
    text: "What the branch writes back, before it is added. Dropped here, a number adds nothing at this step; what the residual stream carries stays whole.",
  },
  drop_path: {
    title: "Branch of a sample", path: "blocks.1.drop_path", shape: "sample × channel", mask: BRANCHES,
    text: "Stochastic depth: the whole branch of single samples. p is the rate of the last block, here the second of two; earlier blocks have less, growing linearly with depth. At p = 0 the network has no such site.",
  },
  layer_drop: {
    title: "Whole block", path: "blocks.0.layer_drop", shape: "none: one decision a step", mask: WHOLE,
    text: "LayerDrop: the block is skipped for all samples of a step, and nothing is scaled. At p = 0 the network has no such site.",
  },
};

const OLD = {
  pre_activation: {
    title: "Before the activation", path: "blocks.0.pre_activation", shape: "sample × channel", mask: SAMPLES,
    text: "What the dense layer hands to the activation function. A zero stays a zero behind it, so p = 0.5 here and 0.3 behind it drop 1 − 0.5 · 0.7 = 65 % together; with a ReLU the two are exactly one dropout of 0.65.",
  },
  feed_forward_hidden: {
    title: "After the activation", path: "blocks.0.hidden", shape: "sample × channel", mask: SAMPLES,
    text: "The hidden units of the classic picture. No residual connection leads around them: what is dropped here is lost to every later layer of that step.",
  },
};

export const NETWORKS = {
  transformer: {
    title: "Transformer", field: "rates", about: TRANSFORMER,
    text: "Attention and feed-forward, each with LayerNorm and a residual addition.",
    presets: [
      { name: "Transformer, 2017", norm: "post", rates: elementwise(0.1, 0, 0.1, 0, 0.1), note: "Vaswani et al.: each sub-layer's output and the sum of the embeddings, p = 0.1; post-norm." },
      { name: "GPT-1, BERT, 2018", norm: "post", rates: elementwise(0.1, 0.1, 0.1, 0, 0.1), note: "p = 0.1 on embeddings, attention weights and sub-layer outputs; many passes over the data; post-norm." },
      { name: "Pythia, Llama", norm: "pre", rates: elementwise(), note: "Pre-training that sees its data about once: p = 0. The reason is the amount of data, not the normalisation." },
      { name: "Little data, many passes", norm: "pre", rates: elementwise(0.2, 0.2, 0.2, 0.2, 0.2), note: "A starting point for a study, not a finding: small data and many passes are where dropout tends to pay." },
    ],
  },
  modern: {
    title: "Modern MLP", field: "modern", about: MODERN,
    text: "LayerNorm, feed-forward, residual addition: a pre-norm transformer without attention, for tables and small images. Its recipe adds weight decay, gradient clipping and a falling learning rate.",
    presets: [
      { name: "No dropout", rates: [0, 0, 0, 0], note: "The recipe `modern` as it is. What came instead of dropout makes training stable and fast; whether the data also need a regularizer is another question." },
      { name: "Dropout 0.1", rates: [0.1, 0.1, 0, 0], note: "Both sites of single numbers." },
      { name: "Stochastic depth 0.2", rates: [0, 0, 0.2, 0], note: "Huang et al., 2016: possible only because the residual stream carries what a dropped branch would have added to." },
    ],
  },
  old: {
    title: "Old MLP", field: "old", about: OLD,
    text: "Dense, dropout, activation, dropout, dense: no norm, no residual connection, no weight decay. Dropout is the only regularizer.",
    presets: [
      { name: "0.5 and 0.3", rates: [0.5, 0.3], note: "The recipe `old` as it is: the pattern of many networks before residual connections and LayerNorm." },
      { name: "Hidden units, 0.5", rates: [0, 0.5], note: "Srivastava et al., 2014: half of the hidden units, after the activation." },
      { name: "No dropout", rates: [0, 0], note: "The old network with nothing against overfitting." },
    ],
  },
};

/** The chosen network; its `rates` is the signal of its p by kind. */
export const networkOf = (state) => {
  const name = state.net.value, network = NETWORKS[name];
  return { ...network, name, kinds: KINDS[name], rates: state[network.field] };
};

/** The chosen site, or the network's first where it has none of that kind. */
export const siteOf = (state) => {
  const { kinds } = networkOf(state);
  return kinds.includes(state.site.value) ? state.site.value : kinds[0];
};

export const rateAt = (state, kind) => {
  const { kinds, rates } = networkOf(state);
  return rates.value[kinds.indexOf(kind)];
};
