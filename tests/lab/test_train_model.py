"""The command that trains the page's own models."""

import random

import pytest
import torch

from redrop.lab.language import UNKNOWN, WordTokenizer, sentence, vocabulary
from redrop.lab.sever import severing
from redrop.lab.train_model import loss_on, rows, severed_loss, train

TOKENIZER = WordTokenizer(vocabulary())


def test_every_word_of_the_language_is_in_the_vocabulary() -> None:
    draw = random.Random(0)
    words = {word for _ in range(5000) for word in sentence(draw)}
    assert words <= set(vocabulary())
    assert set(vocabulary()) - words == {UNKNOWN}


@pytest.mark.parametrize(
    "text", ["The cat sat on the mat", "A dog sat", "Your journey starts with one step"]
)
def test_the_sentences_of_the_story_can_be_said(text: str) -> None:
    assert 0 not in TOKENIZER.encode(text)


def test_training_learns_and_is_repeatable() -> None:
    tokens = rows(1, 16, TOKENIZER)
    first, again = train(0.2, 25, TOKENIZER), train(0.2, 25, TOKENIZER)
    assert loss_on(first, tokens) < 4.2 < torch.log(torch.tensor(109.0))
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_severing_nothing_changes_nothing_and_ends() -> None:
    model, tokens = train(0.0, 3, TOKENIZER), rows(2, 4, TOKENIZER)
    before = loss_on(model, tokens)
    with severing(model, lambda _, weights: weights):
        assert loss_on(model, tokens) == pytest.approx(before, abs=1e-5)
    with severing(model, lambda _, weights: weights * 0):
        assert loss_on(model, tokens) != pytest.approx(before, abs=1e-4)
    assert loss_on(model, tokens) == before
    assert severed_loss(model, tokens) != before
