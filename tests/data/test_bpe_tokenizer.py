import os
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.data.bpe_tokenizer import BPETokenizer
from redrop.data.reference import reference_text
from redrop.errors import UsageError

pytest.importorskip("tokenizers", reason="the package tokenizers (extra bpe) is not installed")

TEXT = reference_text()[:20_000]


@pytest.fixture(scope="module")
def trained() -> BPETokenizer:
    return BPETokenizer.train(TEXT, 400)


@settings(deadline=None)
@given(text=st.text())
def test_every_text_returns_also_in_unseen_scripts(trained: BPETokenizer, text: str):
    ids = trained.encode(text)

    assert ids.dtype == torch.int64
    assert ids.dim() == 1
    assert trained.decode(ids) == text
    assert all(0 <= index < 400 for index in ids.tolist())


def test_merges_shorten_the_text_they_were_learned_from(trained: BPETokenizer):
    assert trained.vocab_size == 400
    assert trained.encode(TEXT).numel() < 0.7 * len(TEXT)


def test_a_short_text_runs_out_of_pairs():
    tokenizer = BPETokenizer.train("aaaa", 1000)

    assert 256 < tokenizer.vocab_size < 260
    assert tokenizer.name == "bpe:1000"


def test_one_thread_learns_the_same_merges(trained: BPETokenizer):
    program = (
        "from redrop.data.bpe_tokenizer import BPETokenizer;"
        "from redrop.data.reference import reference_text;"
        "print(BPETokenizer.train(reference_text()[:20_000], 400).model, end='')"
    )
    environment = os.environ | {
        "RAYON_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    alone = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    )
    assert alone.stdout.decode() == trained.model


def test_it_survives_pickling(trained: BPETokenizer):
    copy = pickle.loads(pickle.dumps(trained))

    assert copy == trained
    assert torch.equal(copy.encode(TEXT), trained.encode(TEXT))


def test_a_vocabulary_without_a_merge_is_refused():
    with pytest.raises(UsageError, match="at least 257, 256 bytes and one merge; got 256"):
        BPETokenizer.train(TEXT, 256)


def test_an_id_outside_the_vocabulary_is_refused(trained: BPETokenizer):
    with pytest.raises(UsageError, match="0 to 399; got 400"):
        trained.decode([400])


def test_a_lone_surrogate_is_refused(trained: BPETokenizer):
    with pytest.raises(UsageError, match="character 0 is"):
        trained.encode("\ud800")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)  # what Python does for a missing module

    with pytest.raises(UsageError, match=r"pip install 'redrop\[bpe\]'"):
        BPETokenizer.train(TEXT, 400)
