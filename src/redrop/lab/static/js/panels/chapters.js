// The story in our own words. A chapter names the figure beside it and the state that it sets;
// `try` are buttons that change the figure, `experiment` the command that tests the statement; a
// point of a `list` may be a pair of a statement and its own command.

import { elementwise } from "../core/state.js";

const rates = (p) => elementwise(p, p, p, p, p);

export const CHAPTERS = [
  {
    title: "A neuron is a number", panel: "activations", set: { mode: "eval" },
    text: [
      "A network hands numbers from layer to layer. The unit that holds one is called a neuron; the number it holds is its activation. That is all you need to follow.",
      "Here are ten of them. Drag a bar, or type other values.",
    ],
  },
  {
    title: "Why switch some of them off?", panel: "activations", set: { mode: "train", p: 0.5 },
    text: [
      "A network that goes over little data many times begins to learn its examples by heart. Its loss on them keeps falling, while its loss on text it has never seen starts to rise. That is overfitting.",
      "Dropout works against it: in every training step each number is set to zero with probability p, by chance and anew. No neuron can count on the others being there.",
    ],
    try: [["Drop half", { p: 0.5 }], ["Drop one in ten", { p: 0.1 }], ["Drop nothing", { p: 0 }]],
  },
  {
    title: "The survivors grow", panel: "activations", set: { mode: "train", p: 0.5 },
    text: [
      "If half of the numbers vanish, what arrives is half as much on average. So every survivor is multiplied by 1 / (1 − p): by 2 at p = 0.5. This is called inverted dropout.",
      "The mean is then right on average over masks, for each number by itself. A single step misses it, by more the larger p is: look at the spread below. And “on average” holds for these numbers, not for what a later, curved function makes of them.",
    ],
    try: [["p = 0.1", { p: 0.1 }], ["p = 0.5", { p: 0.5 }], ["p = 0.9", { p: 0.9 }]],
  },
  {
    title: "Train and eval", panel: "activations", set: { mode: "eval", p: 0.5 },
    text: [
      "When the network is used or judged, dropout does nothing: no zeros, no factor. model.eval() switches it off, model.train() on again.",
      "Switch back and forth. The mask of this step stays what it was; eval mode only ignores it.",
    ],
    try: [["Train", { mode: "train" }], ["Eval", { mode: "eval" }]],
  },
  {
    title: "The same mask, whenever you ask", panel: "activations", set: { mode: "train", p: 0.3, step: 7 },
    text: [
      "Here a mask is no throw of dice that is lost afterwards. It is a function of a few integers: the seed of the run, the step, and the name of the place in the model. Go ten steps on and come back, and you meet the same mask again; so do a GPU, another computer, and the Python lines below.",
      "The probability only moves a threshold. A smaller p keeps everything that a larger p keeps, and more. That makes runs with different p comparable.",
    ],
    try: [["Step 7", { step: 7 }], ["Step 8", { step: 8 }], ["p = 0.2", { p: 0.2 }], ["p = 0.6", { p: 0.6 }]],
  },
  {
    title: "Traps", panel: "activations", set: { mode: "train", p: 0.5 },
    list: [
      "Judging in train mode. A forgotten model.eval() adds noise to every measurement and makes dropout look harmful.",
      "Comparing training loss with dropout on to validation loss with dropout off. Measure both in eval mode; the view “Runs” has both.",
      "p means the probability of dropping in PyTorch. In the paper of 2014 it is the probability of keeping.",
      "torch's scaled_dot_product_attention(dropout_p=…) is a function and knows no mode: it drops in eval, too, unless you pass 0.",
      "In bfloat16 the factor 1 / 0.9 is stored as 1.109375, 0.16 % too small, if it is rounded before it is used.",
      "An ordinary dropout layer draws from one global generator. One more random number anywhere, and all later masks are others.",
    ],
  },
  {
    title: "Attention is a table", panel: "attention", set: { show: "before", text: "The cat sat on the mat", model: "little-english", cut: [], cell: "" },
    text: [
      "In a language model of this kind each word collects from itself and the words before it. How much from which is a table of weights: a row for each word that looks, a column for each that is looked at. Every row sums to 1, and no word sees the words after it.",
      "These are the weights of a real, very small model of a little English, computed on this page. Choose another head, or type a sentence.",
    ],
    try: [["The cat", { text: "The cat sat on the mat" }], ["A dog", { text: "A dog sat" }], ["Your journey", { text: "Your journey starts with one step" }]],
  },
  {
    title: "Dropout cuts connections", panel: "attention", set: { show: "after", ap: 0.2, step: 0, text: "The cat sat on the mat", model: "little-english-dropout", cut: [], cell: "" },
    text: [
      "Attention dropout acts on this table after the softmax. It cuts single connections, not words: “mat” may lose “cat” in one head and keep it in the next. Survivors grow by 1 / (1 − p).",
      "So a row no longer sums to 1. It does on average over masks; in a single step it may sum to 0 or to 1.25. A dropped weight looks like a small one, which is why it is crossed out here.",
      "This model was trained with these masks: seed 0, p = 0.2, step by step. Press play.",
    ],
    try: [["Without", { show: "before" }], ["With", { show: "after" }], ["Difference", { show: "difference" }]],
  },
  {
    title: "Cut one yourself", panel: "attention", set: { show: "before", text: "The cat sat on the mat and it", model: "little-english", layer: 0, head: 1, cut: ["0-1-7-1", "1-0-7-1"], cell: "7-1" },
    text: [
      "After “and it” this model says “purred”, because “it” finds the cat. Here two connections from “it” to “cat” are severed: their weights are set to 0 after the softmax, the others stay as they are. Watch the prediction.",
      "Now do the same to the model that was trained with attention dropout. It has learnt to manage without: with a tenth of all connections severed at random its loss on fresh sentences hardly moves, while that of the other one rises. Their losses with nothing severed are the same.",
      "That is robustness against missing connections. It does not say that the undamaged model got better, that attention spreads more evenly, or that nothing is learnt by heart; those are separate questions, and the answers differ from case to case. Nor does it reach further than the mask did: in a study of this project, networks trained with severed connections were no better than others at losing channels of the feed-forward part.",
    ],
    list: [["What it costs the networks of a study to lose connections, or anything else:", "redrop robustness studies/my-1a2b3c4d"]],
    try: [["Trained without dropout", { model: "little-english" }], ["Trained with dropout", { model: "little-english-dropout" }], ["Nothing severed", { cut: [] }], ["Two severed", { cut: ["0-1-7-1", "1-0-7-1"], cell: "7-1" }]],
    experiment: "python -m redrop.lab.train_model",
  },
  {
    title: "Where it sits", panel: "block", set: { net: "transformer", norm: "post", rates: elementwise(0.1, 0, 0.1, 0, 0.1), site: "attention_residual" },
    text: [
      "The transformer of 2017 had dropout on the embeddings and on what each sub-layer writes back. Dropout on attention weights and inside the feed-forward part came with later implementations.",
      "Which site helps depends on model and data. Choose one to see its name and its mask.",
    ],
    try: [["2017", { net: "transformer", norm: "post", rates: elementwise(0.1, 0, 0.1, 0, 0.1) }], ["GPT-1, BERT", { net: "transformer", norm: "post", rates: elementwise(0.1, 0.1, 0.1, 0, 0.1) }], ["p = 0 everywhere", { net: "transformer", norm: "pre", rates: rates(0) }]],
  },
  {
    title: "Why big pre-training uses p = 0", panel: "block", set: { net: "transformer", norm: "pre", rates: rates(0), site: "embedding" },
    text: [
      "It is the data. A large language model in pre-training reads most of its text about once. Every batch is new to it, so training loss is close to validation loss, there is no overfitting to prevent, and the noise of dropout only slows it down. Pythia and Llama train with p = 0.",
      "Where the same data come round many times, dropout stays in use: GPT-1 (100 passes), BERT and RoBERTa had p = 0.1. T5 v1.1 switched it off for pre-training and asks to switch it on for fine-tuning.",
      "The reason is not LayerNorm. Normalisation, residual connections, warm-up and gradient clipping make training stable and fast. They do not replace a regularizer; LayerNorm's gain and bias may even add to overfitting.",
      "Switch the figure from the old block, whose only regularizer is dropout of 0.5 and 0.3, to the modern one. Which of the two does better on a small table, and whether the modern one gains from dropout too, can be measured.",
    ],
    try: [["Old block", { net: "old", old: [0.5, 0.3], site: "pre_activation" }], ["Modern block", { net: "modern", modern: [0, 0, 0, 0], site: "feed_forward_residual" }], ["Transformer", { net: "transformer", site: "embedding" }]],
    list: [
      ["Old against modern, and modern with dropout, weight decay, mixup and more:", "redrop study --task table"],
      ["Post-norm against pre-norm:", "redrop study --arms none norm-post all-0.2 norm-post+all-0.2"],
    ],
    experiment: "redrop study markov:4000000 --arms none all-0.1 all-0.2",
  },
  {
    title: "What else there is", panel: "block", set: { net: "transformer", norm: "pre", rates: rates(0.1), site: "feed_forward_hidden" },
    list: [
      "More data: the best remedy where it can be had.",
      ["Augmentation makes some, above all for images.", "redrop study --task digits --arms none crop-1 mixup-0.2 cutmix-1"],
      ["Weight decay pulls weights towards zero. In a single pass it steers the optimizer rather than fights overfitting; with many passes strong values can matter much.", "redrop study --arms none weight_decay-1 all-0.2 all-0.2+weight_decay-1"],
      ["Stopping at the best validation loss: always keep that checkpoint. Often dropout still reaches a lower one.", "redrop study --arms none early-stopping all-0.2"],
      ["Stochastic depth drops whole residual branches; label smoothing softens targets; averages of weights and ensembles of models gain more than either, and cost more.", "redrop study --task text"],
      ["For stability, not against overfitting: normalisation, clipping, warm-up.", "redrop study --task table --arms modern modern+clip_norm-0 modern+warmup_steps-0"],
    ],
    experiment: "redrop study markov:16000",
  },
  {
    title: "Does it pay for you?", panel: "runs", set: { metric: "validation_loss" },
    text: [
      "The question is not whether dropout is modern. It is whether your run will pass the minimum of its own validation loss: how often the data come round, and how large the model is for them.",
      "So measure it. A study trains matched runs: at one seed all arms share weights, batches and random numbers and differ in p alone. Beware of short trials: dropout slows the beginning and can still win at the end.",
    ],
    experiment: "redrop study my.txt",
  },
];
