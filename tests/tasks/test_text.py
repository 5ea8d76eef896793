import pytest
import torch

from redrop.data import batch, load_corpus
from redrop.errors import UsageError
from redrop.models import TransformerConfig
from redrop.tasks.text import TextTask
from tests.tasks import small


def test_a_batch_is_windows_of_the_training_text():
    task = small.task("text")
    inputs, targets = batch(task.corpus.train, seed=3, step=9, batch_size=8, context=16)
    found = task.batch(seed=3, step=9, batch_size=8)
    assert torch.equal(found.inputs, inputs)
    assert torch.equal(found.targets, targets)
    assert torch.equal(found.inputs[:, 1:], found.targets[:, :-1])


def test_parts_are_windows_of_their_own_part_that_do_not_overlap():
    task = small.task("text")
    for name in ("train", "validation", "test"):
        tokens = getattr(task.corpus, name)
        batches = task.part(name, tokens.numel())
        read = torch.cat([one.targets.flatten() for one in batches])
        assert torch.equal(read, tokens[1 : len(read) + 1])
        assert len(tokens) - len(read) <= 16


def test_the_vocabulary_and_the_context_must_be_those_of_the_corpus():
    corpus = load_corpus("markov:4000", context=16)
    with pytest.raises(UsageError, match="`vocab_size` is 3 and 'markov:4000' has"):
        TextTask(corpus, TransformerConfig(vocab_size=3))
    text = load_corpus("reference", limit=6_000)
    vocab = text.tokenizer.vocab_size
    with pytest.raises(UsageError, match="context of 700 needs at least 701 tokens"):
        TextTask(text, TransformerConfig(vocab_size=vocab, context=700))


def test_the_targets_of_training_are_counted_once():
    task = small.task("text")
    described = task.describe()
    assert described["train_targets"] == described["tokens"]["train"] == task.corpus.train.numel()
    assert described["bayes_loss"] > 0
