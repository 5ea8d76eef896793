"""A model of a Hugging Face folder in the attention panel."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect

from redrop import replay
from redrop.errors import UsageError
from redrop.lab.look import Drop, parse_look
from tests.lab.conftest import LiveServer

WORDS = ["?", "the", "cat", "sat", "on", "mat", "a", "dog"]
TEXT = "the cat sat on the mat"
IDS = [1, 2, 3, 4, 1, 5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    place = tmp_path_factory.mktemp("hf") / "small-gpt2"
    model = tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="?")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?")
    fast.save_pretrained(place)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=8, n_positions=32, n_embd=24, n_layer=2, n_head=3, bos_token_id=0, eos_token_id=0
    )
    gpt2 = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in gpt2.parameters():
            parameter.mul_(6)
    gpt2.save_pretrained(place)
    return place


def eager(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM  # type: ignore[import-not-found]

    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


def test_weights_and_odds_are_those_of_transformers(folder: Path) -> None:
    from redrop.lab.hugging_face import HuggingFaceModel, as_numpy

    got = HuggingFaceModel(folder).look(TEXT, -1, [], None)
    with torch.no_grad():
        want = eager(folder)(torch.tensor([IDS]), output_attentions=True)
    weights = torch.cat(want.attentions).numpy()
    assert np.abs(as_numpy(got["weights"], 2, 3, 6) - weights).max() < 2e-5
    odds = want.logits[0, -1].softmax(-1)
    for word, share in zip(got["words"], got["odds"]["intact"], strict=True):
        assert share == pytest.approx(float(odds[WORDS.index(word)]), abs=1e-5)


def test_a_step_drops_by_the_masks_of_the_models_own_sites(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers' own attention, its dropout replaced by replayed masks, gives the same."""
    from redrop.lab.hugging_face import HuggingFaceModel

    drop = Drop(seed=3, step=5, sample=1, p=0.3)
    got = HuggingFaceModel(folder).look(TEXT, 5, [], drop)
    layers = iter(range(2))

    def replayed(weights: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        if weights.shape != (1, 3, 6, 6):
            return weights
        site = f"transformer.h.{next(layers)}.attn.attn_dropout"
        keep = replay(seed=3, step=5, site=site, p=0.3, shape=(2, 3, 6, 6))[1]
        return torch.where(torch.from_numpy(keep), weights / 0.7, 0.0)

    model = eager(folder)
    monkeypatch.setattr(torch.nn.functional, "dropout", replayed)
    with torch.no_grad():
        odds = model(torch.tensor([IDS])).logits[0, -1].softmax(-1)
    assert next(layers, None) is None, "every layer has dropped"
    for word, share in zip(got["words"], got["odds"]["dropped"], strict=True):
        assert share == pytest.approx(float(odds[WORDS.index(word)]), abs=1e-4)
    assert got["odds"]["dropped"] != got["odds"]["intact"]


def test_the_page_shows_it_and_severs(
    folder: Path, live: Callable[..., LiveServer], open_page: Callable[..., Page]
) -> None:
    from redrop.lab.hugging_face import HuggingFaceModel

    base = live(hugging_face=HuggingFaceModel(folder)).url("")
    page = open_page("/#v=1&view=attention&model=hf:small-gpt2&text=the+cat+sat+on", base=base)
    expect(page.get_by_text("Computed by Python")).to_be_visible()
    expect(page.get_by_text("Next word after")).to_be_visible()
    expect(page.locator("pre code")).to_contain_text("transformer.h.0.attn.attn_dropout")
    before = page.locator(".rd-odds-table tbody").inner_text()
    page.get_by_role("application").focus()
    for key in ("Home", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.locator(".rd-odds-table thead")).to_contain_text("Severed")
    assert page.locator(".rd-odds-table tbody").inner_text() != before
    page.get_by_label("With", exact=True).check(force=True)
    expect(page.locator(".rd-odds-table thead")).to_contain_text("This step's mask")


@pytest.mark.parametrize(
    "query",
    [{"cut": "1-2-3"}, {"cut": "a-b-c-d"}, {"cut": "0-0-0-0," * 65}, {"drop": "1-2-3"},
     {"row": "x"},
     {"drop": "1-2-3-7"}, {"drop": f"{2**64}-0-0-0.1"}, {"drop": "0-0-70000-0.1"}],
)  # fmt: skip
def test_a_broken_question_is_a_message(query: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        parse_look({"text": "x", **query})


def test_a_folder_without_a_model_is_a_message(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from redrop.lab.hugging_face import HuggingFaceModel

    with pytest.raises(UsageError, match="causal language model"):
        HuggingFaceModel(tmp_path)
