"""Noise on the tokens that a network reads; what it has to predict stays clean.

A corrupted position is one whose 32 random bits under the key (seed, step, site) lie below
floor(p · 2^32): the decision that dropout makes about an element, made about a token. So the noise
of any step can be replayed, ranks need nothing but their window, and the positions corrupted at a
smaller p are corrupted at every larger one.
"""

import torch
from torch import Tensor

from redrop.data import Tokenizer
from redrop.errors import UsageError
from redrop.mask import Window, mask_key, threshold
from redrop.ops import random_bits

MASK_SITE = "augmentation.mask_tokens"
REPLACE_SITE = "augmentation.replace_tokens"
DRAW_SITE = "augmentation.replace_tokens.draw"

POOL_MOST = 2**31 - 1
"""Bits · size must stay below 2^63."""

NUL = "\0"
"""A character that no text holds: `data.text` refuses it."""


def mask_tokens(
    inputs: Tensor,
    p: float,
    mask_id: int,
    *,
    seed: int,
    step: int,
    window: Window | None = None,
) -> Tensor:
    """Put `mask_id` in place of each token with probability p.

    y[b, t] = mask_id where u[b, t] < floor(p · 2^32), inputs[b, t] elsewhere.

    Args:
        inputs: Ids that the network reads, int64, (batch, time). The targets are not touched.
        p: Probability that a position is hidden; 0 returns `inputs` itself.
        mask_id: From `unseen_id`, or any id of the vocabulary.
        seed: Of the run.
        step: Of the optimizer.
        window: Where `inputs` stands in the global batch; by default it is the whole.

    Randomness:
        (seed, step, global row, position) decide; p only moves the threshold.

    Raises:
        UsageError: p outside [0, 1], or a window that `inputs` leaves.

    References:
        Xie et al.: Data Noising as Smoothing in Neural Network Language Models. ICLR 2017 (there
        called blank noising). https://arxiv.org/abs/1703.02573

    >>> mask_tokens(torch.arange(8)[None], 0.5, 99, seed=0, step=3)
    tensor([[99, 99,  2,  3,  4, 99,  6,  7]])
    """
    is_hidden = _chosen(inputs, p, MASK_SITE, seed, step, window)
    return inputs if is_hidden is None else inputs.masked_fill(is_hidden, mask_id)


def replace_tokens(
    inputs: Tensor,
    p: float,
    pool: Tensor,
    *,
    seed: int,
    step: int,
    window: Window | None = None,
) -> Tensor:
    """Put a token drawn from a pool in place of each token with probability p.

    y[b, t] = pool[v[b, t] · N >> 32] where u[b, t] < floor(p · 2^32), with N = len(pool) and v the
    bits of a site of its own. Drawing from the training tokens is drawing from their unigram
    distribution; `torch.arange(vocab_size)` makes it uniform. A draw may hit the token that was
    there, so a share below p differs.

    Args:
        inputs: Ids that the network reads, int64, (batch, time). The targets are not touched.
        p: Probability that a position is drawn anew; 0 returns `inputs` itself.
        pool: What to draw from: the training tokens, int64, (N,). Never held-out ones.
        seed: Of the run.
        step: Of the optimizer.
        window: Where `inputs` stands in the global batch; by default it is the whole.

    Randomness:
        As for `mask_tokens`; the token drawn for a position does not depend on p either.

    Raises:
        UsageError: p outside [0, 1], an empty pool or one of 2^31 tokens, a window that `inputs`
            leaves.

    References:
        Xie et al.: Data Noising as Smoothing in Neural Network Language Models. ICLR 2017 (unigram
        noising). https://arxiv.org/abs/1703.02573

    >>> replace_tokens(torch.arange(8)[None], 0.5, torch.tensor([70, 71]), seed=0, step=3)
    tensor([[71,  1,  2,  3, 71,  5,  6, 70]])
    """
    is_replaced = _chosen(inputs, p, REPLACE_SITE, seed, step, window)
    if is_replaced is None:
        return inputs
    size = pool.numel()
    if not 1 <= size <= POOL_MOST:
        raise UsageError(
            f"`pool` holds the tokens to draw from, 1 to {POOL_MOST}; got {size}."
            " Pass the training tokens."
        )
    key = mask_key(seed, step, DRAW_SITE)
    bits = random_bits(key, inputs.shape, window=window, device=inputs.device)
    drawn = pool.to(inputs.device)[bits * size >> 32]
    return torch.where(is_replaced, drawn, inputs)


def unseen_id(tokenizer: Tokenizer) -> int:
    """Return an id that no text is encoded to, to stand for a hidden token.

    It is that of the NUL character: a byte of its own under `byte` and `bpe:N`, and U+FFFD, the
    unknown character, under `char`. The vocabulary does not grow, so a network with masking has
    the shape of one without.

    Raises:
        UsageError: The tokenizer of a generated language, whose every id has a meaning.

    >>> from redrop.data import build_tokenizer
    >>> unseen_id(build_tokenizer("char", "hello")), unseen_id(build_tokenizer("byte", "hello"))
    (0, 0)
    """
    try:
        return int(tokenizer.encode(NUL)[0])
    except UsageError as error:
        raise UsageError(
            "Masking needs an id that stands for no symbol; this language uses all its"
            f" {tokenizer.vocab_size}. Use `replace` instead of `mask`."
        ) from error


def _chosen(
    inputs: Tensor, p: float, site: str, seed: int, step: int, window: Window | None
) -> Tensor | None:
    """Which positions are corrupted; None where p leaves none."""
    chosen_below = threshold(p)
    if chosen_below == 0:
        return None
    key = mask_key(seed, step, site)
    return random_bits(key, inputs.shape, window=window, device=inputs.device) < chosen_below
