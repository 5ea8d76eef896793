import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from redrop.data.sample_split import (
    SampleSplit,
    content_sha256,
    digest_rows,
    split_samples,
)
from redrop.errors import UsageError

NAMES = ("train", "validation", "test")
seeds = st.integers(0, 2**64 - 1)


def digests_of(contents: list[int]) -> list[bytes]:
    return [hashlib.sha256(str(content).encode()).digest() for content in contents]


def parts_of(split: SampleSplit) -> dict[str, list[int]]:
    return {name: getattr(split, name).tolist() for name in NAMES}


@given(
    contents=st.lists(st.integers(0, 60), min_size=25, max_size=120),
    classes=st.integers(1, 4),
    seed=seeds,
    is_regression=st.booleans(),
)
def test_each_sample_is_in_one_part_and_equal_inputs_are_in_the_same(
    contents: list[int], classes: int, seed: int, is_regression: bool
):
    assume(len(set(contents)) > 20)
    # labels depend on the place too, so equal inputs may have different labels
    labels = np.array([place % classes for place in range(len(contents))])
    targets: NDArray = labels.astype(np.float64) if is_regression else labels
    try:
        split = split_samples(digests_of(contents), targets, seed=seed, validation=0.3, test=0.3)
    except UsageError as error:  # the groups may be too large for a part
        assume("Each part needs a sample" not in str(error))
        raise
    parts = parts_of(split)

    assert sorted(row for rows in parts.values() for row in rows) == list(range(len(contents)))
    where = {name: {contents[row] for row in rows} for name, rows in parts.items()}
    assert not where["train"] & where["validation"]
    assert not where["train"] & where["test"]
    assert not where["validation"] & where["test"]


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    seed=seeds,
    validation=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
)
def test_each_class_has_its_share_and_training_knows_them_all(
    sizes: list[int], seed: int, validation: float, test: float
):
    targets = np.repeat(np.arange(len(sizes)), sizes)
    assume(min(int(len(targets) * validation), int(len(targets) * test)) >= len(sizes))
    split = split_samples(
        digests_of(list(range(len(targets)))), targets, seed=seed, validation=validation, test=test
    )
    assert set(targets[split.train]) == set(range(len(sizes)))
    for share, rows in ((validation, split.validation), (test, split.test)):
        assert len(rows) <= int(len(targets) * share)
        # the first of each class stays in training, the rest fills the room
        assert len(rows) >= int(len(targets) * share) - len(sizes)
        counts = Counter(targets[rows].tolist())
        for label, size in enumerate(sizes):
            assert share * size - 2 < counts[label] < share * size + 1


@given(seed=seeds, data=st.data())
def test_the_order_of_the_samples_does_not_matter(seed: int, data: st.DataObject):
    contents = data.draw(st.lists(st.integers(0, 99), min_size=40, max_size=60))
    assume(len(set(contents)) > 25)
    labels = [content % 3 for content in contents]
    order = data.draw(st.permutations(range(len(contents))))
    shuffled = [contents[place] for place in order]

    split = split_samples(digests_of(contents), np.array(labels), seed=seed, test=0.3)
    again = split_samples(
        digests_of(shuffled), np.array([labels[place] for place in order]), seed=seed, test=0.3
    )
    for name in NAMES:
        rows, other = getattr(split, name), getattr(again, name)
        assert [contents[row] for row in rows] == [shuffled[row] for row in other]


@given(seed=seeds, added=st.integers(1000, 2000))
def test_a_sample_more_moves_few_others(seed: int, added: int):
    contents = list(range(200))
    before = parts_of(split_samples(digests_of(contents), np.zeros(200), seed=seed))
    after = parts_of(split_samples(digests_of([*contents, added]), np.zeros(201), seed=seed))
    moved = sum(len(set(before[name]) - set(after[name])) for name in NAMES)
    assert moved <= 4  # one over each border between parts


def test_the_seed_decides_the_split():
    digests, targets = digests_of(list(range(100))), np.zeros(100, dtype=np.int64)
    first, second = (split_samples(digests, targets, seed=seed) for seed in (0, 1))
    # 20 of 100 twice: the expected overlap is 4; 15 or more has probability below 1e-8
    assert len(set(first.test) & set(second.test)) < 15
    assert parts_of(first) == parts_of(split_samples(digests, targets, seed=0))


def test_a_limit_shortens_training_only():
    digests, targets = digests_of(list(range(100))), np.arange(100) % 2
    whole = split_samples(digests, targets)
    short = split_samples(digests, targets, limit=7)
    assert short.train.tolist() == whole.train[:7].tolist()
    assert parts_of(short)["test"] == parts_of(whole)["test"]
    assert parts_of(short)["validation"] == parts_of(whole)["validation"]


def test_a_mixed_group_counts_for_the_class_of_most_of_it():
    # 40 groups of three equal inputs, two labelled 1; so class 0 has no group of its own
    contents = [row // 3 for row in range(120)]
    targets = np.array([int(row % 3 != 0) for row in range(120)])
    split = split_samples(digests_of(contents), targets)
    assert (len(split.train), len(split.validation), len(split.test)) == (72, 24, 24)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_samples_are_refused(count: int):
    with pytest.raises(UsageError, match="Each part needs a sample"):
        split_samples(digests_of(list(range(count))), np.zeros(count))


def test_copies_of_one_sample_are_refused():
    with pytest.raises(UsageError, match="100 samples, 1 of them different"):
        split_samples(digests_of([5] * 100), np.zeros(100))


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"limit": 0}, {"test": 0.0}, {"validation": 0.5, "test": 0.5}]
)
def test_arguments_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(UsageError):
        split_samples(digests_of(list(range(50))), np.zeros(50), **wrong)


def test_a_digest_tells_rows_apart_whatever_their_layout():
    rows = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert len(set(digest_rows(rows))) == 4
    assert digest_rows(np.asfortranarray(rows)) == digest_rows(rows)


def test_the_hash_of_the_content_sees_samples_and_targets_and_no_order():
    digests = digests_of([1, 2, 3])
    whole = content_sha256(digests, ["a", "b", "b"])
    assert content_sha256(digests[::-1], ["b", "b", "a"]) == whole
    assert content_sha256(digests, ["b", "a", "b"]) != whole
    assert content_sha256(digests_of([1, 2, 2]), ["a", "b", "b"]) != whole
