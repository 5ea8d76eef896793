from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.data import load_corpus
from redrop.errors import UsageError
from redrop.regularize.text import TextAugmentation
from redrop.tasks.augment_corpus import augment_corpus, cache_folder, text_augmentation
from redrop.train.recipe_word import parse_recipe
from tests.tasks import small

CORPUS = load_corpus("reference:6000")
EDITS = ("synonyms", "insert", "swap", "delete")


@pytest.mark.parametrize("edit", EDITS)
def test_the_training_text_gets_a_copy_behind_it_and_nothing_else_changes(edit):
    changed = augment_corpus(CORPUS, TextAugmentation(**{edit: 0.3}), seed=1)
    train = CORPUS.train
    assert torch.equal(changed.train[: train.numel()], train)
    assert train.numel() < changed.train.numel()
    assert changed.validation is CORPUS.validation
    assert changed.test is CORPUS.test
    assert changed.tokenizer is CORPUS.tokenizer
    assert changed.sha256 == CORPUS.sha256
    assert set(changed.train.tolist()) <= set(train.tolist())


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.sampled_from(EDITS))
def test_copies_are_a_function_of_the_seed(seed, edit):
    spec = TextAugmentation(**{edit: 0.3})
    one, same, other = (augment_corpus(CORPUS, spec, each).train for each in (seed, seed, seed + 1))
    assert torch.equal(one, same)
    assert not torch.equal(one[-500:], other[-500:])


def test_arms_of_one_seed_read_one_text_and_other_seeds_another():
    base = small.task("text")
    mine = type(base)(CORPUS, type(base.model)(vocab_size=CORPUS.tokenizer.vocab_size, context=16))
    plain, dropped = (
        mine.with_recipe(parse_recipe(word), seed=2).corpus.train
        for word in ("synonyms-0.3", "synonyms-0.3+all-0.2")
    )
    assert torch.equal(plain, dropped)
    assert not torch.equal(mine.with_recipe(parse_recipe("synonyms-0.3"), 3).corpus.train, plain)
    assert mine.with_recipe(parse_recipe("mask-0.3"), 3).corpus is CORPUS


def test_settings_are_those_of_a_recipe():
    spec = text_augmentation(parse_recipe("synonyms-0.1+delete-0.2").augment)
    assert (spec.synonyms, spec.delete, spec.changes_text) == (0.1, 0.2, True)
    assert text_augmentation({"back_translation": "one,two"}).back_translation == ("one", "two")


def test_the_cache_lies_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("REDROP_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("REDROP_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "redrop"


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"mixup": 0.1}, "A text can be augmented by mask, .*; got mixup"),
        ({"synonyms": 1.5}, "`synonyms` must lie in \\[0, 1\\]; got 1.5"),
        ({"synonyms": "many"}, "`synonyms` must be a number"),
        ({"back_translation": "one"}, "two different models, there and back; got \\('one',\\)"),
        ({"paraphrase": ""}, "`paraphrase` names a model"),
    ],
)
def test_what_cannot_be_done_is_one_line(augment, message):
    with pytest.raises(UsageError, match=message) as caught:
        text_augmentation(augment)
    assert "\n" not in str(caught.value)


def test_a_text_without_prose_is_refused():
    corpus = load_corpus("markov:4000")
    with pytest.raises(UsageError, match="Augmentation needs running text"):
        augment_corpus(corpus, TextAugmentation(swap=0.1), seed=0)
