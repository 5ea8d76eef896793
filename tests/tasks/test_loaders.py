import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from redrop.data.sample_batch import sample_indices
from redrop.errors import UsageError
from redrop.tasks.loaders import MOST_BATCHES, read_loaders
from redrop.tasks.seeded import seeded
from tests.tasks.own import global_numpy

ROWS = 12
X = torch.arange(ROWS * 2, dtype=torch.float32).reshape(ROWS, 2)
Y = torch.arange(ROWS)
VALIDATION = [(X[0], Y[0])]
TURNED = [*range(1, ROWS), 0]


def drawn():
    """A number from every generator there is."""
    return random.random(), global_numpy(), torch.rand(()).item()


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


class Numbered(Dataset):
    """Map-style, with a transform that draws from every generator there is."""

    def __init__(self, is_noisy=False):
        self.is_noisy = is_noisy

    def __len__(self):
        return ROWS

    def __getitem__(self, index):
        noise = sum(drawn()) if self.is_noisy else 0.0
        return X[index] + noise, Y[index]


class Together(Numbered):
    """Gives several samples at once, as torch's loaders ask where they can."""

    def __getitem__(self, index):
        raise AssertionError("one by one")

    def __getitems__(self, indices):
        return [(X[index], Y[index]) for index in indices]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Numbered())


class Mappings(Numbered):
    """As data sets of Hugging Face give them: plain lists, and "labels"."""

    def __getitem__(self, index):
        return {"ids": [index, index + 1], "labels": index}


class LongStream(Stream):
    """Has a length, and no items by number."""

    def __len__(self):
        return ROWS


def train_of(part):
    return read_loaders((part, VALIDATION))["train"]


def samples(source):
    """All targets of a source, sorted."""
    return sorted(t for batch in source.batches(5, 10**6) for t in batch.targets.flatten().tolist())


INDEXED = {
    "a loader": lambda: DataLoader(Numbered(), batch_size=5, shuffle=True),
    "a loader of tensors": lambda: DataLoader(TensorDataset(X, Y), batch_size=5),
    "a data set": Numbered,
    "a data set that gives many": Together,
    "tensors": lambda: (X, Y),
    "a part of tensors": lambda: Subset(TensorDataset(X, Y), range(ROWS)),
    "a part of a part": lambda: Subset(Subset(TensorDataset(X, Y), range(ROWS)[::-1]), TURNED),
    "a list of samples": lambda: [(X[i], i) for i in range(ROWS)],
    "a stream of samples": Stream,
}
BATCHED = {
    "a loader of a stream": lambda: DataLoader(Stream(), batch_size=5, num_workers=2),
    "a loader without batches of its own": lambda: DataLoader(
        [(X[i : i + 5], Y[i : i + 5]) for i in range(0, ROWS, 5)], batch_size=None, num_workers=2
    ),
    "batches from a generator": lambda: ((X[i : i + 5], Y[i : i + 5]) for i in range(0, ROWS, 5)),
    "a sampler of batches": lambda: DataLoader(
        Numbered(), batch_sampler=[[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]], num_workers=2
    ),
}


@pytest.mark.parametrize("name", INDEXED)
def test_what_has_numbers_is_drawn_by_seed_and_step(name):
    source = train_of(INDEXED[name]())
    assert samples(source) == [*range(ROWS)]
    assert (source.samples, source.targets) == (ROWS, ROWS)
    for step in (0, 1, 7):
        batch = source.batch(seed=3, step=step, batch_size=4)
        places = sample_indices(ROWS, seed=3, step=step, batch_size=4)
        want = places
        if name == "a part of a part":
            want = ROWS - 1 - torch.tensor(TURNED)[places]
        assert torch.equal(batch.targets, Y[want])
        assert torch.equal(batch.inputs, X[want])
        assert batch.inputs.dtype == torch.float32


@pytest.mark.parametrize("name", BATCHED)
def test_what_comes_in_batches_is_kept_and_drawn_in_a_new_order_each_epoch(name):
    source = train_of(BATCHED[name]())
    assert (len(source), source.collate) == (3, None)
    assert (source.samples, source.targets) == (ROWS, ROWS)  # the last batch has two, not five
    assert samples(source) == [*range(ROWS)]
    epochs = [
        [
            source.batch(seed=1, step=3 * epoch + n, batch_size=99).targets[0].item()
            for n in range(3)
        ]
        for epoch in range(8)
    ]
    assert all(sorted(epoch) == [0, 5, 10] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_the_loader_says_how_large_a_batch_is():
    assert train_of(DataLoader(Numbered(), batch_size=5)).batch_size == 5
    assert train_of(Numbered()).batch_size is None


@given(st.lists(st.integers(1, 7), min_size=1, max_size=9), st.integers(1, 3))
def test_samples_and_targets_of_uneven_batches_are_counted_one_by_one(sizes, each):
    batches = [(torch.zeros(size, 2), torch.zeros(size, each)) for size in sizes]
    source = train_of(iter(batches))
    assert (source.samples, source.targets) == (sum(sizes), each * sum(sizes))


def test_mappings_become_tensors_by_name():
    source = train_of(Mappings())
    batch = source.batch(seed=0, step=0, batch_size=4)
    assert batch.inputs.keys() == {"ids"}
    assert torch.equal(batch.inputs["ids"], torch.stack([batch.targets, batch.targets + 1], 1))
    assert batch.rows(1, 3).inputs["ids"].shape == (2, 2)


def test_a_collate_function_of_the_users_own_is_used():
    def pad(items):
        return torch.nn.utils.rnn.pad_sequence([x for x, _ in items]).T, torch.tensor([0] * 2)

    data = [(torch.ones(1), 0), (torch.ones(3), 0)]
    source = train_of(DataLoader(data, batch_size=2, collate_fn=pad))
    assert source.batch(seed=0, step=0, batch_size=2).inputs.shape == (2, 3)
    with pytest.raises(UsageError, match="must fit into one batch: RuntimeError: .* `collate_fn`"):
        train_of(data).batch(seed=0, step=0, batch_size=2)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 2))
def test_a_random_transform_is_a_function_of_seed_and_step(seed, step):
    source = train_of(DataLoader(Numbered(is_noisy=True), batch_size=4))
    first = source.batch(seed=seed, step=step, batch_size=4)
    drawn()  # nothing may depend on where the generators stand
    before = states()
    again = source.batch(seed=seed, step=step, batch_size=4)
    assert torch.equal(first.inputs, again.inputs)
    assert states() == before
    other = source.batch(seed=seed, step=step + 1, batch_size=4)
    noise = [batch.inputs[:, 0] - X[batch.targets, 0] for batch in (first, other)]
    assert not set(noise[0].tolist()) & set(noise[1].tolist())
    assert len(set(noise[0].tolist())) == 4


def test_evaluation_is_the_same_every_time_and_spread_over_the_part():
    source = train_of(Numbered(is_noisy=True))
    for limit in (1, 5, 8, 100):
        once, again = ([*source.batches(3, limit)] for _ in range(2))
        assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(once, again, strict=True))
        assert sum(len(batch) for batch in once) == min(limit, ROWS)
    assert [t for b in source.batches(3, 4) for t in b.targets.tolist()] == [0, 3, 6, 9]


SAMPLERS = {
    "a part at random": (lambda: SubsetRandomSampler([1, 3, 5]), {1, 3, 5}),
    "in order": (lambda: None, {*range(ROWS)}),
    "some of all": (lambda: RandomSampler(Numbered(), num_samples=3), None),
    "by weights": (lambda: WeightedRandomSampler([1.0] + [0.0] * 11, 7), {0}),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_says_which_samples_there_are(name):
    make, want = SAMPLERS[name]
    drawn = [samples(train_of(DataLoader(Numbered(), 2, sampler=make()))) for _ in range(2)]
    assert drawn[0] == drawn[1]  # every process of a study draws the same ones
    assert set(drawn[0]) == want or (want is None and len(set(drawn[0])) == 3)
    assert len(drawn[0]) == {"by weights": 7}.get(name, len(set(drawn[0])))


def test_a_digest_names_the_data_and_nothing_else():
    class Odd:
        """Its repr holds an address."""

    def digest(part):
        return train_of(part).digest()

    assert digest((X, Y)) == digest((X.clone(), Y.clone()))
    assert digest((X, Y)) != digest((X + 1, Y))
    assert digest((X, Y)) != digest((X, Y.flip(0)))
    assert digest((X, Y)) != digest((X[:11], Y[:11]))
    assert digest((X.reshape(ROWS, 1, 2), Y)) != digest((X, Y))
    assert digest(Numbered(is_noisy=True)) == digest(Numbered(is_noisy=True))
    assert digest([(Odd(), 1)]) == digest([(Odd(), 1)]) != digest([(Odd(), 2)])
    assert digest([(np.ones(2), 1)]) != digest([(np.zeros(2), 1)])
    assert digest([{"a": 1, "labels": 0}]) == digest([{"labels": 0, "a": 1}])


def endless():
    while True:
        yield X, Y


def failing():
    yield X, Y
    raise OSError("on purpose")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "returns \\(train, validation\\) .*; got NoneType"),
        ((VALIDATION,), "got tuple"),
        ({"train": VALIDATION}, "got dict"),
        ({"train": VALIDATION, "validation": VALIDATION, "tset": VALIDATION}, "got dict"),
        (([], VALIDATION), "The train loader yields nothing"),
        ((VALIDATION, iter([])), "The validation loader yields nothing"),
        ((DataLoader([], 2), VALIDATION), "The train loader yields nothing"),
        ((3, VALIDATION), "The train data must be a DataLoader, .*; got int"),
        (((X, Y[:5]), VALIDATION), r"one row per sample; got \(12, 2\), \(5,\)"),
        ((endless(), VALIDATION), f"more than {MOST_BATCHES:,} batches, or never ends"),
        ((failing(), VALIDATION), "The train loader failed: OSError: on purpose"),
    ],
)
def test_what_is_no_data_is_one_line(returned, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_loaders(returned)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ([X, X], "A loader yields \\(inputs, targets\\), or a mapping .*; got Tensor"),
        ((X, X, Y), "got list. Pack several inputs into one mapping"),
        (["ab", "cd"], "Targets must be numbers in a tensor; got str"),
        ([{"x": 1.0}], "or a mapping with `labels`; got dict"),
        ([(X[0], object())], "must fit into one batch: TypeError"),
        (LongStream(), None),
    ],
)
def test_what_is_no_batch_is_one_line(part, message):
    source = train_of(part)
    if message is None:
        assert samples(source) == [*range(ROWS)]
        return
    with pytest.raises(UsageError, match=message) as caught:
        source.first(2)
    assert "\n" not in str(caught.value)


def test_a_data_set_that_fails_is_one_line():
    class Broken(Numbered):
        def __getitem__(self, index):
            raise KeyError("missing column")

    source = train_of(Broken())
    for read in (source.digest, lambda: source.batch(seed=0, step=0, batch_size=2)):
        with pytest.raises(UsageError, match="Reading your data failed: KeyError: 'missing col"):
            read()


def test_a_seed_rules_for_the_block_alone():
    before = states()
    with seeded(2**64 - 1):
        inside = drawn()
    assert states() == before
    drawn()
    with seeded(2**64 - 1):
        assert drawn() == inside
    with seeded(0):
        assert set(drawn()).isdisjoint(inside)
    before = states()
    with pytest.raises(ZeroDivisionError), seeded(3):
        _ = drawn()[0] / 0
    assert states() == before
