"""Which tokens the network sees: training batches drawn at random, evaluation windows in order.

A training batch is a pure function of (seed, step, position in the global batch). No generator is
carried from step to step, so a resumed run, another arm of a study, and eight ranks instead of one
all read the same windows.

    start(i) = word(i) · (N − context) >> 64

where N is the number of tokens and word(i) is word i mod 4 of Philox4x64-10 under the key
(seed, step) with counter 1 + i div 4: NumPy counts up before it draws. The multiplication maps the
word to a start position with a bias below N / 2^64. Philox4x64 is another function than the masks'
Philox4x32, so the same seed may drive both.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from redrop.data.ranges import SEED_MOST, check_range
from redrop.errors import UsageError

STEP_MOST = 2**63 - 1
"""Steps leave the upper half of the second key word to the streams of the generated language."""

WORDS_PER_COUNTER = 4
"""Philox4x64 makes four 64-bit words of one counter."""


def batch(
    tokens: Tensor,
    *,
    seed: int,
    step: int,
    batch_size: int,
    context: int,
    offset: int = 0,
    total: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw rows `offset` to `offset + batch_size` of the global batch of one step.

    Windows are drawn with replacement; each start position is equally likely.

    Args:
        tokens: All training tokens, shape (N,).
        seed: Of the run, 0 <= seed < 2^64.
        step: The optimizer step, 0 <= step < 2^63.
        batch_size: Number of rows wanted here (of this rank or micro-batch).
        context: Number of tokens the network reads in a row.
        offset: Global index of the first row wanted.
        total: Number of rows in the global batch; if given, the rows wanted must lie in it.

    Shape:
        inputs and targets are (batch_size, context); targets[:, t] is the token after inputs[:, t].

    Randomness:
        (seed, step, global row) decide a row; batch_size, offset and total do not move it.

    Raises:
        UsageError: There are fewer than context + 1 tokens, or an argument is out of range.

    >>> tokens = torch.arange(1000)
    >>> inputs, targets = batch(tokens, seed=0, step=7, batch_size=8, context=3)
    >>> bool((targets == inputs + 1).all())
    True
    >>> rank_1, _ = batch(tokens, seed=0, step=7, batch_size=4, context=3, offset=4, total=8)
    >>> torch.equal(rank_1, inputs[4:])
    True
    """
    check_range("seed", seed, 0, SEED_MOST)
    check_range("step", step, 0, STEP_MOST)
    check_range("offset", offset, 0)
    check_range("batch_size", batch_size, 1)
    if total is not None and offset + batch_size > total:
        raise UsageError(
            f"The global batch has `total` = {total} rows; got rows {offset} to"
            f" {offset + batch_size}. Give each rank its own part of 0 to {total}."
        )
    choices = _choices(tokens, context)
    starts = [word * choices >> 64 for word in _words(seed, step, offset, batch_size)]
    return _windows(tokens, starts, context, stride=1)


def eval_batches(
    tokens: Tensor, context: int, batch_size: int, limit: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield windows that do not overlap, the same ones at each call.

    Every token is a target at most once. If `limit` leaves windows out, those kept are spread
    evenly over the tokens, because the beginning of a text seldom speaks for all of it.

    Args:
        tokens: Tokens to evaluate, shape (N,).
        context: Number of tokens the network reads in a row.
        batch_size: Most windows in one batch; the last batch may be smaller.
        limit: Most targets in all (None: no limit); one window is the least.

    Yields:
        (inputs, targets), each of shape (rows, context).

    Raises:
        UsageError: There are fewer than context + 1 tokens, or an argument is out of range.

    >>> [inputs.tolist() for inputs, _ in eval_batches(torch.arange(8), 2, 2)]
    [[[0, 1], [2, 3]], [[4, 5]]]
    >>> [inputs.tolist() for inputs, _ in eval_batches(torch.arange(9), 2, 2, limit=4)]
    [[[0, 1], [4, 5]]]
    """
    check_range("batch_size", batch_size, 1)
    _choices(tokens, context)
    windows = (tokens.numel() - 1) // context
    kept = windows
    if limit is not None:
        check_range("limit", limit, 1)
        kept = min(windows, max(1, limit // context))
    chosen = [index * windows // kept for index in range(kept)]
    return (
        _windows(tokens, chosen[first : first + batch_size], context, stride=context)
        for first in range(0, kept, batch_size)
    )


def _words(seed: int, step: int, offset: int, count: int) -> list[int]:
    """Words `offset` to `offset + count` of the stream under the key (seed, step)."""
    skipped, first = divmod(offset, WORDS_PER_COUNTER)
    generator = np.random.Philox(
        key=np.array([seed, step], dtype=np.uint64),
        counter=np.array([skipped, 0, 0, 0], dtype=np.uint64),
    )
    words: list[int] = generator.random_raw(first + count).tolist()
    return words[first:]


def _windows(
    tokens: Tensor, starts: list[int], context: int, *, stride: int
) -> tuple[Tensor, Tensor]:
    """Cut windows of context + 1 tokens that begin at stride · start; split off the targets."""
    rows = tokens.unfold(0, context + 1, stride)[torch.tensor(starts, device=tokens.device)]
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def _choices(tokens: Tensor, context: int) -> int:
    """Return the number of start positions of a window with its last target inside the tokens."""
    check_range("context", context, 1)
    if tokens.dim() != 1:
        raise UsageError(
            f"`tokens` must have one dimension; got shape {tuple(tokens.shape)}."
            " Join the texts end to end."
        )
    choices = tokens.numel() - context
    if choices < 1:
        raise UsageError(
            f"`context` {context} needs at least {context + 1} tokens; got {tokens.numel()}."
            " Give more text or a smaller `context`."
        )
    return choices
