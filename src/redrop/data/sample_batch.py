"""Which samples the network sees: training in epochs of random order, evaluation in fixed order.

A training batch is a pure function of (seed, step, position in the global batch). The global
batches stand end to end, and so do the epochs, each a permutation of all n samples:

    position = step · total + row
    sample   = permutation(seed, position div n)[position mod n]

so every sample comes once an epoch, a batch may reach into the next epoch, and ranks share one
global batch without a word. permutation(seed, epoch) sorts n words of Philox4x64-10 under the key
(seed, epoch); NumPy promises these words for good, which it does not of its own permutations.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from redrop.data.batch import STEP_MOST
from redrop.data.ranges import SEED_MOST, check_range
from redrop.data.samples import Part
from redrop.errors import UsageError

EPOCHS_KEPT = 8
"""Orders kept in memory, 8 bytes a sample each: a batch needs one, seldom two."""


def sample_indices(
    count: int,
    *,
    seed: int,
    step: int,
    batch_size: int,
    offset: int = 0,
    total: int | None = None,
) -> Tensor:
    """Return the samples in rows `offset` to `offset + batch_size` of the global batch of a step.

    Args:
        count: Number of training samples.
        seed: Of the run, 0 <= seed < 2^64.
        step: The optimizer step, 0 <= step < 2^63.
        batch_size: Number of rows wanted here (of this rank or micro-batch).
        offset: Global index of the first row wanted.
        total: Number of rows in the global batch; None: these are all rows, and offset is 0.

    Shape:
        (batch_size,), int64, each in 0 to count − 1.

    Randomness:
        (seed, step · total + global row) decide a sample.

    Raises:
        UsageError: The rows do not lie in the global batch, or an argument is out of range.

    >>> first = sample_indices(6, seed=0, step=0, batch_size=4)
    >>> second = sample_indices(6, seed=0, step=1, batch_size=4)
    >>> sorted(torch.cat([first, second[:2]]).tolist())
    [0, 1, 2, 3, 4, 5]
    >>> rank_1 = sample_indices(6, seed=0, step=0, batch_size=2, offset=2, total=4)
    >>> torch.equal(rank_1, first[2:])
    True
    """
    check_range("count", count, 1)
    check_range("seed", seed, 0, SEED_MOST)
    check_range("step", step, 0, STEP_MOST)
    check_range("offset", offset, 0)
    check_range("batch_size", batch_size, 1)
    rows = batch_size if total is None else total
    if offset + batch_size > rows:
        raise UsageError(
            f"The global batch has `total` = {rows} rows; got rows {offset} to"
            f" {offset + batch_size}. Give each rank its own part of 0 to {rows}."
        )
    first = step * rows + offset
    epoch, place = divmod(first, count)
    check_range("epoch", epoch + batch_size // count + 1, 0, SEED_MOST)
    pieces: list[NDArray[np.int64]] = []
    missing = batch_size
    while missing > 0:
        piece = _permutation(count, seed, epoch)[place : place + missing]
        pieces.append(piece)
        missing -= len(piece)
        epoch, place = epoch + 1, 0
    return torch.from_numpy(np.concatenate(pieces))


def sample_batch(
    part: Part,
    *,
    seed: int,
    step: int,
    batch_size: int,
    offset: int = 0,
    total: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return (inputs, targets) of rows `offset` to `offset + batch_size` of the global batch.

    Arguments, randomness and errors are those of `sample_indices`.

    Shape:
        inputs are (batch_size, *sample), targets (batch_size,).
    """
    indices = sample_indices(
        len(part), seed=seed, step=step, batch_size=batch_size, offset=offset, total=total
    ).to(part.inputs.device)
    return part.inputs[indices], part.targets[indices]


def eval_sample_batches(
    part: Part, batch_size: int, limit: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every sample once, in the same order at each call.

    Args:
        part: The part to evaluate.
        batch_size: Most samples in one batch; the last batch may be smaller.
        limit: Most samples in all (None: no limit), spread evenly over the part.

    Yields:
        (inputs, targets) of at most batch_size samples.

    Raises:
        UsageError: An argument is below 1.

    >>> part = Part(inputs=torch.zeros(5, 1), targets=torch.arange(5))
    >>> [targets.tolist() for _, targets in eval_sample_batches(part, 2)]
    [[0, 1], [2, 3], [4]]
    >>> [targets.tolist() for _, targets in eval_sample_batches(part, 2, limit=2)]
    [[0, 2]]
    """
    check_range("batch_size", batch_size, 1)
    kept = len(part)
    if limit is not None:
        check_range("limit", limit, 1)
        kept = min(kept, limit)
    chosen = torch.arange(kept, device=part.inputs.device) * len(part) // max(1, kept)
    return (
        (part.inputs[rows], part.targets[rows])
        for rows in (chosen[first : first + batch_size] for first in range(0, kept, batch_size))
    )


@lru_cache(maxsize=EPOCHS_KEPT)
def _permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of all samples in one epoch."""
    generator = np.random.Philox(
        key=np.array([seed, epoch], dtype=np.uint64), counter=np.zeros(4, dtype=np.uint64)
    )
    order = np.argsort(generator.random_raw(count), kind="stable").astype(np.int64)
    order.setflags(write=False)  # shared by all callers
    return order
