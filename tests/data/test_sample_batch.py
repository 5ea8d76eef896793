from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.data.sample_batch import eval_sample_batches, sample_batch, sample_indices
from redrop.data.samples import Part
from redrop.errors import UsageError
from tests.data.test_batch import philox4x64_10

seeds = st.integers(0, 2**64 - 1)
steps = st.integers(0, 2**40)


@given(seed=seeds, epoch=steps, count=st.integers(1, 30))
def test_the_order_of_an_epoch_follows_the_stated_formula(seed: int, epoch: int, count: int):
    words = [philox4x64_10([1 + row // 4, 0, 0, 0], [seed, epoch])[row % 4] for row in range(count)]
    expected = sorted(range(count), key=lambda row: words[row])
    # one global batch of `count` rows is one epoch
    assert sample_indices(count, seed=seed, step=epoch, batch_size=count).tolist() == expected


@given(seed=seeds, count=st.integers(1, 40), size=st.integers(1, 60), epochs=st.integers(1, 3))
def test_every_sample_comes_once_an_epoch(seed: int, count: int, size: int, epochs: int):
    rows = epochs * count
    seen = [
        index
        for step in range(-(-rows // size))
        for index in sample_indices(count, seed=seed, step=step, batch_size=size).tolist()
    ]
    for epoch in range(epochs):
        assert Counter(seen[epoch * count : (epoch + 1) * count]) == Counter(range(count))


@given(seed=seeds, step=steps, count=st.integers(1, 50), total=st.integers(1, 70), data=st.data())
def test_any_part_of_the_global_batch_has_exactly_its_rows(
    seed: int, step: int, count: int, total: int, data: st.DataObject
):
    offset = data.draw(st.integers(0, total - 1))
    rows = data.draw(st.integers(1, total - offset))
    whole = sample_indices(count, seed=seed, step=step, batch_size=total)
    part = sample_indices(count, seed=seed, step=step, batch_size=rows, offset=offset, total=total)
    assert torch.equal(part, whole[offset : offset + rows])


def test_seed_and_epoch_change_the_order():
    orders = {
        tuple(sample_indices(50, seed=seed, step=step, batch_size=50).tolist())
        for seed in range(4)
        for step in range(4)
    }
    assert len(orders) == 16


def test_a_changed_batch_does_not_change_the_next_call():
    first = sample_indices(5, seed=0, step=0, batch_size=5)
    kept = first.clone()
    first.zero_()
    assert torch.equal(sample_indices(5, seed=0, step=0, batch_size=5), kept)


def test_a_batch_holds_the_samples_with_their_targets():
    part = Part(inputs=torch.arange(12.0).reshape(6, 2), targets=torch.arange(6))
    inputs, targets = sample_batch(part, seed=3, step=1, batch_size=2, offset=1, total=4)
    indices = sample_indices(6, seed=3, step=1, batch_size=2, offset=1, total=4)
    assert torch.equal(targets, indices)
    assert torch.equal(inputs, part.inputs[indices])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "`count`"),
        ({"seed": -1}, "`seed`"),
        ({"step": -1}, "`step`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"offset": -1}, "`offset`"),
        ({"offset": 1}, "has `total` = 4 rows; got rows 1 to 5"),
        ({"offset": 5, "total": 8}, "has `total` = 8 rows; got rows 5 to 9"),
    ],
)
def test_arguments_out_of_range_are_refused(wrong: dict[str, int], message: str):
    good = {"count": 10, "seed": 0, "step": 0, "batch_size": 4}
    with pytest.raises(UsageError, match=message):
        sample_indices(**(good | wrong))


@given(count=st.integers(1, 30), size=st.integers(1, 12), limit=st.none() | st.integers(1, 40))
def test_evaluation_takes_samples_in_order_and_spread_evenly(
    count: int, size: int, limit: int | None
):
    part = Part(inputs=torch.arange(count).float()[:, None], targets=torch.arange(count))
    batches = list(eval_sample_batches(part, size, limit))
    rows = torch.cat([targets for _, targets in batches]).tolist()
    kept = min(count, limit or count)

    assert torch.equal(
        torch.cat([inputs for inputs, _ in batches])[:, 0].long(), torch.tensor(rows)
    )
    assert len(rows) == kept
    assert rows == sorted(set(rows))
    assert all(later - former <= -(-count // kept) for former, later in pairwise(rows))
    assert [len(targets) for _, targets in batches[:-1]] == [size] * (len(batches) - 1)
    if kept == count:
        assert rows == list(range(count))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 1, "limit": 0}])
def test_evaluation_refuses_sizes_below_one(wrong: dict[str, int]):
    part = Part(inputs=torch.zeros(3, 1), targets=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(UsageError):
        eval_sample_batches(part, **wrong)
