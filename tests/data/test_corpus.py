import json

import pytest
import torch

from redrop.data.char_tokenizer import CharTokenizer
from redrop.data.corpus import Corpus
from redrop.errors import UsageError


def corpus(train: int = 30, validation: int = 20, test: int = 20, **fields: float) -> Corpus:
    return Corpus(
        name="text",
        sha256="00",
        tokenizer=CharTokenizer("ab"),
        train=torch.zeros(train, dtype=torch.int64),
        validation=torch.zeros(validation, dtype=torch.int64),
        test=torch.zeros(test, dtype=torch.int64),
        **fields,
    )


def test_least_loss_weighs_the_first_target_of_a_window_once():
    known = corpus(bayes_loss=2.0, opening_loss=3.0)

    assert known.least_loss(1) == 3.0
    assert known.least_loss(4) == 2.25


def test_least_loss_of_real_text_is_unknown():
    assert corpus().least_loss(64) is None


def test_the_description_is_complete_and_fits_json():
    described = corpus(bayes_loss=2.0, opening_loss=3.0).describe()

    assert json.loads(json.dumps(described)) == {
        "name": "text",
        "sha256": "00",
        "tokenizer": "char",
        "vocab_size": 2,
        "tokens": {"train": 30, "validation": 20, "test": 20},
        "bayes_loss": 2.0,
        "opening_loss": 3.0,
    }


@pytest.mark.parametrize("short", ["train", "validation", "test"])
def test_each_part_must_fill_a_window_and_its_target(short: str):
    corpus(**{short: 17}).check_context(16)

    with pytest.raises(
        UsageError,
        match=rf"context of 16 needs at least 17 .* with .*{short} 16.* smaller context\.",
    ):
        corpus(**{short: 16}).check_context(16)
