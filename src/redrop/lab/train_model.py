"""Train the two models that the page ships with: `python -m redrop.lab.train_model`.

Both read the same little English and start from the same weights. One is trained without dropout,
the other with dropout on its attention weights, so that a connection can be severed in each and
the damage compared. A step of the second used exactly the masks that the page shows for its seed.
"""

import json
import random
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from redrop.lab.language import UNKNOWN, WordTokenizer, sentence, vocabulary
from redrop.lab.sever import severing
from redrop.mask import SPEC_VERSION
from redrop.models import DropoutRates, TransformerConfig
from redrop.models.mode import eval_mode
from redrop.models.transformer import Transformer
from redrop.nn import attach
from redrop.train.config import TrainConfig
from redrop.train.schedule import learning_rate

FOLDER = Path(__file__).parent / "weights"
RATES = {"little-english": 0.0, "little-english-dropout": 0.2}
SEED = 0
CONTEXT = 24
BATCH = 64
UNKNOWN_SHARE = 0.01
"""Share of words read as unknown, so that a word the user types means "some word" to the model."""
HELD_OUT = 512
SEVERED_SHARE = 0.1


def rows(seed: int, count: int, tokenizer: WordTokenizer) -> Tensor:
    """Return (count, context + 1) ids: each row starts with a sentence, others follow it."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        words: list[str] = []
        while len(words) <= CONTEXT:
            words += sentence(draw)
        made.append(tokenizer.encode(" ".join(words))[: CONTEXT + 1])
    return torch.tensor(made)


def train(p: float, steps: int, tokenizer: WordTokenizer) -> Transformer:
    """Return a model trained on fresh sentences at every step."""
    rates = DropoutRates(attention_weights=p)
    size = len(tokenizer.words)
    config = TransformerConfig(
        vocab_size=size, width=48, layers=2, heads=4, context=CONTEXT, dropout=rates
    )
    model = Transformer(config, seed=SEED)
    state = attach(model, seed=SEED)
    schedule = TrainConfig(steps=steps, warmup_steps=50, learning_rate=4e-3, min_learning_rate=2e-4)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    for step in range(steps):
        tokens = rows(1_000_000 + step, BATCH, tokenizer)
        inputs = tokens[:, :-1].clone()
        strange = torch.rand(inputs.shape, generator=torch.Generator().manual_seed(step))
        inputs[strange < UNKNOWN_SHARE] = tokenizer.words.index(UNKNOWN)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, schedule)
        state.set_step(step)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def loss_on(model: Transformer, tokens: Tensor) -> float:
    """Return the mean loss in nats per word, dropout off."""
    with eval_mode(model):
        logits = model(tokens[:, :-1])
        return float(F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()))


def severed_loss(model: Transformer, tokens: Tensor) -> float:
    """Return the loss when a random tenth of all connections is cut, the others left as they are.

    A cut connection's weight is set to 0 after the softmax, and nothing is scaled: what dropout
    does to it, without the factor on the survivors.
    """
    generator = torch.Generator().manual_seed(1)

    def cut(_layer: int, weights: Tensor) -> Tensor:
        is_cut = torch.rand(weights.shape, generator=generator) < SEVERED_SHARE
        return weights.masked_fill(is_cut, 0.0)

    with severing(model, cut):
        return loss_on(model, tokens)


def main(steps: int = 3000) -> None:
    """Train both models and write `weights/<name>.safetensors` and `weights/<name>.json`."""
    tokenizer = WordTokenizer(vocabulary())
    held_out = rows(1, HELD_OUT, tokenizer)
    FOLDER.mkdir(exist_ok=True)
    for name, p in RATES.items():
        model = train(p, steps, tokenizer)
        about = {
            "name": name,
            "config": asdict(model.config),
            "words": list(tokenizer.words),
            "training": {"seed": SEED, "steps": steps, "batch_size": BATCH, "p": p},
            "spec_version": SPEC_VERSION,
            "validation_loss": round(loss_on(model, held_out), 4),
            "severed_loss": round(severed_loss(model, held_out), 4),
            "severed_share": SEVERED_SHARE,
        }
        save_file(dict(model.state_dict()), FOLDER / f"{name}.safetensors")
        (FOLDER / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {about['validation_loss']} nats, severed {about['severed_loss']}")


if __name__ == "__main__":
    main()
