"""The page's forward pass against PyTorch: intact, under a training step's masks, and severed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from redrop.lab.language import WordTokenizer, split_words
from redrop.lab.models import SHIPPED, TITLES, shipped_models
from redrop.lab.sever import severing
from redrop.lab.train_model import HELD_OUT, loss_on, rows, severed_loss
from redrop.models import DropoutRates, TransformerConfig
from redrop.models.transformer import Transformer
from redrop.nn import attach
from tests.lab.conftest import STATIC

SENTENCES = ["The cat sat on the mat and it", "Your journey starts with one step", "A dog sat", "x"]
IMPORTS = (
    f"import {{ forward, dropWeights }} from '{STATIC}/js/model/transformer.js';\n"
    f"import {{ readSafetensors }} from '{STATIC}/js/model/safetensors.js';\n"
    f"import {{ tokenizerFrom }} from '{STATIC}/js/model/tokens.js';\n"
    f"import {{ keepMask, maskKey, scale, siteId, threshold }} from '{STATIC}/js/core/mask.js';\n"
    "const load = (file) => { const b = fs.readFileSync(file);"
    " return readSafetensors(b.buffer.slice(b.byteOffset, b.byteOffset + b.length)); };\n"
)


def shipped(name: str, p: float | None = None) -> tuple[Transformer, WordTokenizer]:
    about = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
    config = about["config"]
    if p is not None:
        config["dropout"]["attention_weights"] = p
    model = Transformer(TransformerConfig.from_json(config)).eval()
    model.load_state_dict(load_file(SHIPPED / f"{name}.safetensors"))
    return model, WordTokenizer(tuple(about["words"]))


@pytest.mark.parametrize("name", TITLES)
def test_weights_and_logits_equal_pytorch(node: Callable[..., Any], name: str) -> None:
    model, tokenizer = shipped(name)
    body = IMPORTS + (
        "const model = { config: input.config, tensors: load(input.file) };\n"
        "give(input.ids.map((ids) => { const run = forward(model, ids);\n"
        "  return { logits: [...run.logits], weights: run.weights.map((w) => [...w]) }; }));"
    )
    ids = [tokenizer.encode(text) for text in SENTENCES]
    about = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
    file = str(SHIPPED / f"{name}.safetensors")
    for tokens, got in zip(
        ids, node(body, {"config": about["config"], "file": file, "ids": ids}), strict=True
    ):
        batch = torch.tensor([tokens])
        with torch.no_grad():
            torch.testing.assert_close(
                torch.tensor(got["logits"]), model(batch).flatten(), rtol=1e-4, atol=1e-4
            )
        for layer, weights in enumerate(got["weights"]):
            before, _ = model.attention_weights(batch, layer)
            torch.testing.assert_close(
                torch.tensor(weights, dtype=torch.float32), before.flatten(), rtol=1e-4, atol=1e-5
            )


def test_a_training_step_has_the_masks_of_the_page(node: Callable[..., Any]) -> None:
    """Sample 3 of step 7 in training mode, in PyTorch and as the page computes it."""
    name, seed, step, sample, p = "little-english-dropout", 5, 7, 3, 0.2
    model, tokenizer = shipped(name, p)
    tokens = tokenizer.encode(SENTENCES[0])
    body = IMPORTS + (
        "const model = { config: input.config, tensors: load(input.file) };\n"
        "const T = threshold(input.p);\n"
        "const n = input.ids.length, h = model.config.heads;\n"
        "const drop = (layer, weights) => dropWeights(weights, keepMask(\n"
        "  maskKey(5n, 7, siteId(`blocks.${layer}.attention.weights`)), input.p, [1, h, n, n],\n"
        "  { sizes: [4, h, n, n], offset: [3, 0, 0, 0] }), scale(T));\n"
        "give([...forward(model, input.ids, drop).logits]);"
    )
    config = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))["config"]
    file = str(SHIPPED / f"{name}.safetensors")
    got = node(body, {"config": config, "file": file, "ids": tokens, "p": p})
    model.train()
    attach(model, seed=seed).set_step(step)
    with torch.no_grad():
        logits = model(torch.tensor([tokens] * 4))[sample]
        intact = model.eval()(torch.tensor([tokens]))[0]
    torch.testing.assert_close(torch.tensor(got), logits.flatten(), rtol=1e-4, atol=1e-4)
    assert (logits - intact).abs().max() > 0.1, "the masks must change something"


@pytest.mark.parametrize("norm_layer", ["layernorm", "rmsnorm", "none"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_run_of_the_user_works_with_either_norm(
    node: Callable[..., Any], norm: str, norm_layer: str, tmp_path: Any
) -> None:
    from dataclasses import asdict

    from safetensors.torch import save_file

    config = TransformerConfig(
        vocab_size=13, width=12, layers=3, heads=3, context=9, norm=norm,  # type: ignore[arg-type]
        norm_layer=norm_layer,  # type: ignore[arg-type]
        dropout=DropoutRates(attention_weights=0.3),
    )  # fmt: skip
    model = Transformer(config, seed=4).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3).add_(0.05)
    save_file(dict(model.state_dict()), tmp_path / "model.safetensors")
    ids = [1, 12, 0, 5, 5, 7, 2]
    body = IMPORTS + (
        "const model = { config: input.config, tensors: load(input.file) };\n"
        "const cut = (layer, w) => layer === 1 ? w.map((x, i) => i === 21 ? 0 : x) : w;\n"
        "give([...forward(model, input.ids, cut).logits]);"
    )
    given = {"config": asdict(config), "file": str(tmp_path / "model.safetensors"), "ids": ids}
    got = torch.tensor(node(body, given))

    def sever(layer: int, weights: torch.Tensor) -> torch.Tensor:
        if layer == 1:
            weights[0, 0, 3, 0] = 0  # the 21st of a 7 x 7 matrix
        return weights

    with severing(model, sever):
        want = model(torch.tensor([ids])).flatten()
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)


def test_words_are_split_as_in_python(node: Callable[..., Any]) -> None:
    texts = ["The cat, sat.", "it's  fine", "naïve Straße 42!", "", "  ", "a-b_c", "‘x’ don’t"]
    stored = shipped_models()[0]["about"]["tokenizer"]
    body = IMPORTS + (
        "const t = tokenizerFrom(input.stored);\n"
        "const pick = ({ ids, labels }) => ({ ids, labels });\n"
        "give(input.texts.map((text) => pick(t.encode(text))));"
    )
    tokenizer = WordTokenizer(tuple(stored["words"]))
    for text, got in zip(texts, node(body, {"stored": stored, "texts": texts}), strict=True):
        assert got == {"ids": tokenizer.encode(text), "labels": split_words(text)}


def test_characters_and_bytes_are_encoded_as_in_python(node: Callable[..., Any]) -> None:
    from redrop.data import build_tokenizer

    texts = ["banana!", "", "a\nb ü"]
    tokenizers = [build_tokenizer("char", "banana b\n"), build_tokenizer("byte", "")]
    body = IMPORTS + (
        "const all = (t) => input.texts.map((text) => t.encode(text).ids);\n"
        "give(input.stored.map((s) => all(tokenizerFrom(s))));"
    )
    stored = [json.loads(tokenizer.to_json()) for tokenizer in tokenizers]
    got = node(body, {"stored": stored, "texts": texts})
    assert got == [[t.encode(text).tolist() for text in texts] for t in tokenizers]


def test_the_shipped_weights_are_small() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 1_000_000


@pytest.mark.parametrize("name", TITLES)
def test_the_losses_that_the_page_prints_can_be_measured_again(name: str) -> None:
    about = next(entry["about"] for entry in shipped_models() if entry["name"] == name)
    model, tokenizer = shipped(name)
    held_out = rows(1, HELD_OUT, tokenizer)
    assert loss_on(model, held_out) == pytest.approx(about["validation_loss"], abs=2e-4)
    assert severed_loss(model, held_out) == pytest.approx(about["severed_loss"], abs=2e-4)


def test_severing_hurts_the_model_that_was_trained_without_dropout() -> None:
    """What the page says of its two models, and why it has two."""
    abouts = {entry["name"]: entry["about"] for entry in shipped_models()}
    plain, robust = abouts["little-english"], abouts["little-english-dropout"]
    damage = [about["severed_loss"] - about["validation_loss"] for about in (plain, robust)]
    assert damage[0] > 10 * max(damage[1], 0.001)
