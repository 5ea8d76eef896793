// A network and its rates as Python and as a command: text that runs as it stands.
import { KINDS } from "./state.js";

/** What `redrop train --task` reads by default: sizes of its samples. */
export const TASKS = {
  digits: { title: "Digits, 300 images of 8 × 8", features: 64, outputs: 10 },
  table: { title: "Breast cancer, a table", features: 30, outputs: 2 },
};

const SINGLE = { transformer: 5, modern: 2, old: 2 }; // sites of single elements come first; `all` stands for them
const OWN = { old: [0.5, 0.3] }; // rates that a recipe has by itself

/** The rates as a recipe that `redrop train` reads. */
export function recipeName(net, rates) {
  const single = SINGLE[net], [p] = rates, isAll = p > 0 && rates.slice(0, single).every((other) => other === p);
  const isKnown = (rate, i) => rate === (isAll && i < single ? p : OWN[net]?.[i] ?? 0);
  const told = KINDS[net].map((kind, i) => (isKnown(rates[i], i) ? null : `${kind}-${rates[i]}`));
  return [net === "transformer" ? null : net, isAll ? `all-${p}` : null, ...told].filter(Boolean).join("+") || "none";
}

function ratesText(kinds, rates) {
  const given = kinds.map((kind, i) => (rates[i] ? `    ${kind}=${rates[i]},` : null)).filter(Boolean);
  return given.length ? `rates = DropoutRates(\n${given.join("\n")}\n)` : "rates = DropoutRates()  # p = 0 everywhere";
}

export function asPython({ net, norm, task, rates }) {
  const text = ratesText(KINDS[net], rates);
  if (net === "transformer") {
    return ["from redrop.models import DropoutRates, TransformerConfig", "", text,
      `config = TransformerConfig(vocab_size=65, norm="${norm}", dropout=rates)`].join("\n");
  }
  const { features, outputs } = TASKS[task];
  return ["from redrop.models import DropoutRates, MLPConfig, build_model", "", text,
    `config = MLPConfig(features=${features}, outputs=${outputs}, network="${net}", dropout=rates)`,
    "model = build_model(config)"].join("\n");
}

export function asCommand({ net, norm, task, rates, steps, seed }) {
  const recipe = recipeName(net, rates), length = `--steps ${steps} --seed ${seed}`;
  return net === "transformer"
    ? `redrop train reference:25000 --dropout ${recipe} --norm ${norm} ${length}`
    : `redrop train --task ${task} --network mlp --recipe ${recipe} ${length}`;
}
