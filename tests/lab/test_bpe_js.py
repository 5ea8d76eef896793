"""The page's byte-pair encoding against `redrop.data`, and a run with it in the attention view."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect
from safetensors.torch import save_file

from redrop.data import build_tokenizer
from redrop.data.bpe_tokenizer import BPETokenizer
from redrop.errors import UsageError
from redrop.lab.models import run_models, run_tokenizer, run_weights
from redrop.models import DropoutRates, TransformerConfig
from redrop.models.transformer import Transformer
from redrop.nn import attach
from tests.lab.conftest import STATIC, LiveServer

CORPUS = "the cat sat on the mat, and it's the cat's mat; naïve Straße 42 × 1000\n\n\tthe end " * 4
TOKENS_JS = f"import {{ tokenizerFrom }} from '{STATIC}/js/model/tokens.js';\n"
MODEL_JS = (
    f"import {{ forward }} from '{STATIC}/js/model/transformer.js';\n"
    f"import {{ readSafetensors }} from '{STATIC}/js/model/safetensors.js';\n"
    "const load = (file) => { const b = fs.readFileSync(file);"
    " return readSafetensors(b.buffer.slice(b.byteOffset, b.byteOffset + b.length)); };\n"
)
STRANGE = [
    "", " ", "  the", "it's we'll 'S", "a\r\n b\u00a0c\u3000d", "日本語 é e\u0301", "'", "12ab34",
    "🙂the🙂", "\u0085x\ufeff y", "\x00\x7f", "the\n\n\n cat   ", "ÀÉ½²Ⅷ",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    pytest.importorskip("tokenizers")
    made = build_tokenizer("bpe:330", CORPUS)
    assert isinstance(made, BPETokenizer)
    return made


def write_run(
    folder: Path, tokenizer: BPETokenizer, config: TransformerConfig, name: str = "all-0.1-s3-ab12"
) -> Transformer:
    """Write what a run leaves: a plan's place, and its last checkpoint."""
    place = folder / "checkpoints" / name / "final"
    place.mkdir(parents=True)
    (folder / "study.json").write_text("{}", encoding="utf-8")
    model = Transformer(config, seed=2).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3).add_(0.05)
    state = {
        "model": asdict(config),
        "tokenizer": tokenizer.to_json(),
        "step": 40,
        "train": {"seed": 3},
    }
    (place / "state.json").write_text(json.dumps(state), encoding="utf-8")
    weights = {key: value for key, value in model.state_dict().items() if key != "output.weight"}
    if not config.tie_embeddings:
        weights["output.weight"] = model.state_dict()["output.weight"]
    save_file(weights, place / "weights.safetensors")
    return model


def config_for(tokenizer: BPETokenizer, **changes: Any) -> TransformerConfig:
    rates = DropoutRates(attention_weights=0.3)
    config = TransformerConfig(
        vocab_size=tokenizer.vocab_size, width=12, layers=2, heads=3, context=16, dropout=rates
    )
    return replace(config, **changes)


PIECES = ["the", " cat", "'s", "'ll", " ", "\n", "\t", "é", "ß", "4", "½", "×", ".", "日"]


def texts() -> list[str]:
    """Return strange texts, and many made of what the pre-tokenizer tells apart."""
    draw = random.Random(0)
    return STRANGE + ["".join(draw.choices(PIECES, k=draw.randrange(12))) for _ in range(400)]


def test_the_page_encodes_as_python_does(
    node: Callable[..., Any], tokenizer: BPETokenizer, tmp_path: Path
) -> None:
    write_run(tmp_path, tokenizer, config_for(tokenizer))
    (entry,) = run_models({"s": tmp_path})
    stored = run_tokenizer({"s": tmp_path}, entry["name"])
    given = {"stored": stored, "texts": texts()}
    body = TOKENS_JS + (
        "const t = tokenizerFrom(input.stored);\ngive(input.texts.map((text) => t.encode(text)));"
    )
    for text, got in zip(given["texts"], node(body, given), strict=True):
        assert got["ids"] == tokenizer.encode(text).tolist(), repr(text)
        assert got["unknown"] == []
        assert len(got["labels"]) == len(got["ids"])
    cat = node(body, {"stored": stored, "texts": ["the cat é\n日"]})[0]["labels"]
    assert cat[:3] == ["the", "␣cat", "␣"]
    assert cat[-3:] == ["e6", "97", "a5"], "bytes that are no text by themselves"


def test_merges_of_older_files_are_read(tokenizer: BPETokenizer, tmp_path: Path) -> None:
    """Before 0.20, `tokenizers` wrote a merge as one text."""
    model = json.loads(tokenizer.model)
    pairs = [list(pair) for pair in model["model"]["merges"]]
    model["model"]["merges"] = [" ".join(pair) for pair in pairs]
    old = BPETokenizer(tokenizer.name, json.dumps(model))
    write_run(tmp_path, old, config_for(tokenizer))
    (entry,) = run_models({"s": tmp_path})
    assert run_tokenizer({"s": tmp_path}, entry["name"])["merges"] == pairs


@pytest.mark.parametrize("change", [{}, {"norm_layer": "rmsnorm"}, {"residual": False},
                                    {"norm": "post", "norm_layer": "rmsnorm"}])  # fmt: skip
def test_networks_of_every_recipe_are_computed_as_in_pytorch(
    node: Callable[..., Any], tokenizer: BPETokenizer, tmp_path: Path, change: dict[str, Any]
) -> None:
    model = write_run(tmp_path, tokenizer, config_for(tokenizer, **change))
    (entry,) = run_models({"s": tmp_path})
    (tmp_path / "file").write_bytes(run_weights({"s": tmp_path}, entry["name"]))
    ids = tokenizer.encode("the cat sat on 42").tolist()
    body = (
        MODEL_JS + "give([...forward({ ...input, tensors: load(input.file) }, input.ids).logits]);"
    )
    given = {"config": entry["about"]["config"], "file": str(tmp_path / "file"), "ids": ids}
    attach(model, seed=0)
    with torch.no_grad():
        want = model(torch.tensor([ids])).flatten()
    torch.testing.assert_close(torch.tensor(node(body, given)), want, rtol=1e-3, atol=1e-3)


def test_what_the_page_cannot_compute_is_not_offered(
    tokenizer: BPETokenizer, tmp_path: Path
) -> None:
    write_run(tmp_path, tokenizer, config_for(tokenizer, tie_embeddings=True))
    assert run_models({"s": tmp_path}) == []
    with pytest.raises(UsageError, match="is none"):
        run_tokenizer({"s": tmp_path}, "run:0000-ab12")


def test_a_sentence_of_the_users_is_shown_in_pieces(
    open_page: Callable[..., Page],
    live: Callable[..., LiveServer],
    tokenizer: BPETokenizer,
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "study", tokenizer, config_for(tokenizer))
    (entry,) = run_models({"study": tmp_path / "study"})
    base = live(folder=tmp_path).url("")
    page = open_page(f"/#v=1&view=attention&model={entry['name']}", base=base)
    expect(page.get_by_text("Next word after")).to_be_visible()
    page.get_by_role("textbox", name="Sentence").fill("the cat's mat")
    page.get_by_text("Show as a table").click()
    labels = page.locator(".rd-table th[scope=row]").all_inner_texts()
    pieces = [tokenizer.decode([i]).replace(" ", "␣") for i in tokenizer.encode("the cat's mat")]
    assert labels == pieces
    page.get_by_label("With", exact=True).check(force=True)
    expect(page.locator(".rd-odds-table thead")).to_contain_text("This step's mask")
