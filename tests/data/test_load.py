import hashlib
import string
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.data.batch import eval_batches
from redrop.data.load import load_corpus
from redrop.data.markov import MarkovSource
from redrop.data.reference import reference_text
from redrop.errors import UsageError


@settings(deadline=None, max_examples=30)
@given(
    text=st.text(alphabet="abcdéf \n", min_size=50, max_size=400).filter(str.strip),
    limit=st.none() | st.integers(50, 500),
)
@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_the_parts_decode_to_the_text_cut_at_the_limit(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: str, text: str, limit: int | None
):
    path = tmp_path_factory.getbasetemp() / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    corpus = load_corpus(path, tokenizer=tokenizer, limit=limit, validation=0.2, test=0.2)
    used = text[:limit]
    parts = [
        corpus.tokenizer.decode(part) for part in (corpus.train, corpus.validation, corpus.test)
    ]

    held_out = len(used) // 5
    known = set(parts[0]) if tokenizer == "char" else set(used)
    expected = [
        used[: len(used) - 2 * held_out],
        used[len(used) - 2 * held_out : len(used) - held_out],
        used[len(used) - held_out :],
    ]
    assert parts == ["".join(c if c in known else "\ufffd" for c in part) for part in expected]
    assert corpus.sha256 == hashlib.sha256(used.encode()).hexdigest()


@pytest.mark.parametrize("tokenizer", ["char", "bpe:300"])
def test_the_vocabulary_comes_from_the_training_part_only(tmp_path: Path, tokenizer: str):
    if tokenizer != "char":
        pytest.importorskip("tokenizers", reason="the extra bpe is not installed")
    train = "the quick brown fox " * 40
    corpora = []
    for name, rest in (("a.txt", "zzzz" * 50), ("b.txt", "ÄÖÜ!" * 50)):
        (tmp_path / name).write_text(train + rest, encoding="utf-8")
        corpora.append(load_corpus(tmp_path / name, tokenizer=tokenizer))

    assert corpora[0].tokenizer == corpora[1].tokenizer
    assert torch.equal(corpora[0].train, corpora[1].train)
    assert corpora[0].sha256 != corpora[1].sha256
    unseen = set(corpora[1].test.tolist())
    assert unseen == {0} if tokenizer == "char" else len(unseen) > 1


def test_the_reference_is_split_in_order_and_named():
    corpus = load_corpus("reference", limit=25_000, validation=0.2, test=0.1, context=64)

    assert corpus.name == "reference"
    assert corpus.bayes_loss is None
    assert [p.numel() for p in (corpus.train, corpus.validation, corpus.test)] == [
        17_500,
        5_000,
        2_500,
    ]
    assert corpus.tokenizer.decode(corpus.train) == reference_text()[:17_500]
    assert corpus.train.dtype == corpus.validation.dtype == corpus.test.dtype == torch.int64


def test_a_folder_is_named_by_its_last_part(tmp_path: Path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("some text " * 10)

    assert load_corpus(tmp_path / "notes").name == "notes"
    assert load_corpus(f"{tmp_path}/notes/.").name == "notes"


def test_a_file_with_the_name_of_a_source_is_reached_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("reference", "markov"):
        (tmp_path / name).write_text("my own words " * 10)
    monkeypatch.chdir(tmp_path)

    for path in ("./reference", "./markov", Path("markov")):
        assert load_corpus(path).train.numel() == 104


def test_the_generated_language_knows_its_least_loss():
    corpus = load_corpus("markov:4000", context=64)
    source = MarkovSource.draw()

    assert corpus.name == "markov:4000"
    assert corpus.tokenizer.vocab_size == 24
    assert corpus.tokenizer.decode(torch.arange(24)) == string.ascii_lowercase[:24]
    assert corpus.train.numel() == 4000
    assert corpus.bayes_loss == source.entropy_rate
    windows = [
        torch.cat([inputs[:, :1], targets], dim=1).numpy()
        for inputs, targets in eval_batches(corpus.validation, 64, 64)
    ]
    losses = source.losses(np.concatenate(windows))[:, 1:].mean(axis=1)
    # windows are nearly independent; 5.5 of their standard errors: false alarm below 1e-6
    error = losses.std(ddof=1) / np.sqrt(len(losses))
    assert corpus.least_loss(64) == pytest.approx(losses.mean(), abs=5.5 * error)


def test_more_training_tokens_begin_with_fewer_and_share_what_is_held_out():
    small, large = load_corpus("markov:4000"), load_corpus("markov")

    assert large.name == "markov:16000"
    assert torch.equal(large.train[:4000], small.train)
    assert torch.equal(large.validation, small.validation)
    assert torch.equal(large.test, small.test)
    assert not torch.equal(small.validation, small.test)
    assert not torch.equal(small.train, small.validation[:4000])
    assert small.sha256 != large.sha256


def test_the_same_call_gives_the_same_corpus():
    for source in ("reference", "markov:100"):
        first, second = load_corpus(source), load_corpus(source)
        assert first.describe() == second.describe()
        assert torch.equal(first.train, second.train)


@pytest.mark.parametrize(
    "source", ["markov:", "markov:x", "markov:0", "markov:-5", "markov:1e5", "markov:" + "9" * 5000]
)
def test_an_amount_that_is_no_number_is_refused(source: str):
    with pytest.raises(UsageError, match=f"from 1 to 10000000; got '{source}'. Pass markov:16000"):
        load_corpus(source)


@pytest.mark.parametrize(
    "change", [{"tokenizer": "byte"}, {"limit": 9}, {"validation": 0.2}, {"test": 0.2}]
)
def test_what_the_generated_language_cannot_honour_is_refused(change: dict[str, object]):
    with pytest.raises(UsageError, match="takes no `tokenizer`, `limit`, `validation` or `test`"):
        load_corpus("markov", **change)


def test_a_text_too_short_for_the_context_is_told_what_would_do(tmp_path: Path):
    path = tmp_path / "short.txt"
    path.write_text("x" * 649)
    message = (
        r"context of 64 needs at least 65 tokens in each part; 'short\.txt' is too short, with"
        r" train 521, validation 64, test 64\. Give more text than these 649 characters,"
        r" 650 tokens in all will do, or a smaller context\."
    )
    with pytest.raises(UsageError, match=message):
        load_corpus(path, context=64)

    path.write_text("x" * 650)
    assert load_corpus(path, context=64).test.numel() == 65


def test_a_limit_that_leaves_too_little_is_refused_alike():
    with pytest.raises(UsageError, match="650 tokens in all will do"):
        load_corpus("reference", limit=649, context=64)


def test_too_few_generated_tokens_are_refused():
    with pytest.raises(UsageError, match=r"train 64, .* as in markov:16000, or a smaller context"):
        load_corpus("markov:64", context=64)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int):
    with pytest.raises(UsageError, match=f"at least 1; got {limit}. Leave it out for all"):
        load_corpus("reference", limit=limit)


def test_a_mistyped_source_is_refused():
    with pytest.raises(UsageError, match=r"'refrence' does not exist.* embedded `reference`"):
        load_corpus("refrence")


def test_the_reference_can_be_cut_in_its_name():
    cut = load_corpus("reference:25000", context=64)
    assert cut.name == "reference:25000"
    assert cut.sha256 == load_corpus("reference", limit=25_000, context=64).sha256
    assert cut.sha256 == load_corpus("reference:30000", limit=25_000, context=64).sha256


@pytest.mark.parametrize(
    "source", ["reference:", "reference:0", "reference:x", "reference:999999999"]
)
def test_a_cut_of_the_reference_that_cannot_be_is_refused(source):
    with pytest.raises(UsageError, match=r"`reference:N` needs a number N from 1 to \d+"):
        load_corpus(source)
