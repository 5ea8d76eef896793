"""Train | validation | test of samples: at random, by class, equal samples together.

The split is a pure function of the content and a seed. Each sample gets the key

    key = SHA-256(seed, digest of its inputs)

and parts are filled in the order of the keys. So neither the order of the rows in a file nor the
order of files in a folder matters, and a sample added later moves few of the others.

Samples with equal inputs share a key and go to one part together, even where their labels differ:
a test sample that training saw, label included, measures memory.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from redrop.data.ranges import SEED_MOST, check_range
from redrop.data.split import check_shares
from redrop.errors import UsageError

SHARE = 0.2
"""Held out twice. More than of a text: in tables of some hundred rows the error of a metric that
is measured on a tenth would hide what a study looks for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleSplit:
    """The samples of each part as indices, in the order of their keys."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_samples(
    digests: Sequence[bytes],
    targets: NDArray[Any],
    *,
    seed: int = 0,
    validation: float = SHARE,
    test: float = SHARE,
    limit: int | None = None,
) -> SampleSplit:
    """Deal samples out to three parts.

    Of the n_c samples of class c, about share · n_c are held out: rounding errors are carried from
    class to class, so that floor(share · n) samples are held out in all, fewer if equal samples do
    not fit. The first key of every class goes to training, which therefore knows each class.

    Args:
        digests: Of the inputs of each sample; equal inputs, equal digests.
        targets: int64 classes, split class by class, or float values, split as one class.
        seed: Of the split, 0 <= seed < 2^64; not the seed of a run.
        validation: Share of the samples that goes to validation.
        test: Share of the samples that goes to test.
        limit: Train on at most so many samples, the first of the training part; the held-out parts
            stay whole, so that results at several limits compare.

    Randomness:
        (seed, inputs) decide the key of a sample.

    Raises:
        UsageError: A part would be empty, or an argument is out of range.

    >>> parts = split_samples([bytes([row]) for row in range(10)], np.arange(10) % 2)
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (6, 2, 2)
    >>> sorted((np.arange(10) % 2)[parts.test].tolist())
    [0, 1]
    """
    check_range("seed", seed, 0, SEED_MOST)
    check_shares(validation, test)
    if limit is not None:
        check_range("limit", limit, 1)
    groups = _groups(digests, targets, seed)
    parts = _deal(groups, _strata(groups, targets), validation, test)
    if min(map(len, parts)) == 0:
        counts = ", ".join(
            f"{name} {len(part)}"
            for name, part in zip(("train", "validation", "test"), parts, strict=True)
        )
        raise UsageError(
            f"Each part needs a sample; {len(digests)} samples, {len(groups)} of them different,"
            f" with validation={validation} and test={test} give {counts}."
            " Bring more different samples, or hold out a larger share."
        )
    train, held_validation, held_test = (np.array(part, dtype=np.int64) for part in parts)
    return SampleSplit(train=train[:limit], validation=held_validation, test=held_test)


def digest_rows(rows: NDArray[Any]) -> list[bytes]:
    """Return the SHA-256 of the bytes of each row (image) of an array.

    >>> first, second, third = digest_rows(np.array([[1, 2], [1, 3], [1, 2]]))
    >>> first == third, first == second
    (True, False)
    """
    return [hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest() for row in rows]


def content_sha256(digests: Sequence[bytes], targets: Iterable[object]) -> str:
    """Return one SHA-256 for all samples and their targets, whatever their order."""
    lines = sorted(
        digest + repr(target).encode() for digest, target in zip(digests, targets, strict=True)
    )
    whole = hashlib.sha256()
    for line in lines:
        whole.update(hashlib.sha256(line).digest())
    return whole.hexdigest()


def _groups(digests: Sequence[bytes], targets: NDArray[Any], seed: int) -> list[list[int]]:
    """Samples with equal inputs, in the order of their keys; within a group by target."""
    prefix = seed.to_bytes(8, "little")
    keys = {digest: hashlib.sha256(prefix + digest).digest() for digest in set(digests)}
    values = targets.tolist()
    order = sorted(range(len(digests)), key=lambda index: (keys[digests[index]], values[index]))
    return [list(group) for _, group in groupby(order, key=lambda index: digests[index])]


def _strata(groups: list[list[int]], targets: NDArray[Any]) -> list[int]:
    """The class of each group: that of most of its samples, of a tie the smallest."""
    if targets.dtype.kind == "f":
        return [0] * len(groups)
    classes = targets.tolist()
    # most_common keeps the order of arrival in a tie, and a group is sorted by class
    return [Counter(classes[i] for i in group).most_common(1)[0][0] for group in groups]


def _deal(
    groups: list[list[int]], strata: list[int], validation: float, test: float
) -> tuple[list[int], list[int], list[int]]:
    """Fill test and validation of each stratum up to its room; the rest is for training."""
    members: Counter[int] = Counter()
    for group, stratum in zip(groups, strata, strict=True):
        members[stratum] += len(group)
    rooms = {
        "validation": _rooms(members, validation),
        "test": _rooms(members, test),
    }
    train: list[int] = []
    held: dict[str, list[int]] = {"validation": [], "test": []}
    known: set[int] = set()
    for group, stratum in zip(groups, strata, strict=True):
        part = train
        if stratum in known:
            for name in ("test", "validation"):
                if len(group) <= rooms[name][stratum]:
                    rooms[name][stratum] -= len(group)
                    part = held[name]
                    break
        known.add(stratum)
        part.extend(group)
    return train, held["validation"], held["test"]


def _rooms(members: Counter[int], share: float) -> dict[int, int]:
    """floor(share · n) places for all strata together, each within one of share · n_c."""
    rooms = {}
    before = 0
    for stratum in sorted(members):
        after = before + members[stratum]
        rooms[stratum] = int(after * share) - int(before * share)
        before = after
    return rooms
