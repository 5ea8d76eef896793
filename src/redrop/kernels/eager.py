"""Elementwise dropout in plain PyTorch: any device, bit for bit the same masks, no speed.

Philox works on 32-bit words; here they live in int64 tensors. A product of two words can exceed
2^63, but integer multiplication in PyTorch wraps around modulo 2^64, so that its bits are right
and only the arithmetic shift to the high word needs a mask.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.philox import KEY_INCREMENT_0, KEY_INCREMENT_1, MULTIPLIER_0, MULTIPLIER_1, ROUNDS
from redrop.mask.reference import TAG_HIGH, TAG_LOW
from redrop.mask.threshold import scale
from redrop.mask.window import Window, check_shared, check_window, whole

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

_LOW_WORD = 0xFFFFFFFF
_LOW_HALF = 0xFFFF

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def dropout(
    x: Tensor,
    key: int,
    threshold: int,
    window: Window | None = None,
    shared: tuple[int, ...] = (),
    out: Tensor | None = None,
) -> Tensor:
    """Return x / (1 - T / 2^32) where kept and 0 where dropped; forward and backward alike.

    Args:
        x: A floating-point tensor on any device.
        key: Of the mask.
        threshold: T, below 2^32.
        window: Where `x` stands in the whole; by default it is the whole.
        shared: Dimensions whose elements share one decision.
        out: Where to write, `x` itself for the in-place variant; by default a new tensor with the
            memory format of `x`.

    Raises:
        UsageError: No dropout for this dtype, or a window or shared dimension does not fit.
    """
    if x.dtype not in DTYPES:
        raise UsageError(
            f"Dropout takes float32, float64, bfloat16 or float16; got {x.dtype}. Convert `x`."
        )
    keep = keep_mask(key, threshold, tuple(x.shape), window, shared, x.device)
    compute_dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    kept = torch.where(keep, x.to(compute_dtype) * scale(threshold), 0.0)
    if out is None:
        out = torch.empty_like(x)
    return out.copy_(kept)


def keep_mask(
    key: int,
    threshold: int,
    shape: tuple[int, ...],
    window: Window | None = None,
    shared: tuple[int, ...] = (),
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return the boolean keep mask: u(key, plane, row, col) >= T, True where kept.

    Shape:
        Broadcasts to `shape`: a shared dimension has size 1.
    """
    half_words = _half_words(key, shape, window, shared, device)
    high = half_words(TAG_HIGH)
    if threshold & _LOW_HALF == 0:  # then no low half-word can lie below its limit
        return high >= threshold >> 16
    return (high << 16 | half_words(TAG_LOW)) >= threshold


def random_bits(
    key: int,
    shape: tuple[int, ...],
    window: Window | None = None,
    shared: tuple[int, ...] = (),
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return u(key, plane, row, col), the 32 random bits of each element, as int64.

    Shape:
        Broadcasts to `shape`: a shared dimension has size 1.
    """
    half_words = _half_words(key, shape, window, shared, device)
    return half_words(TAG_HIGH) << 16 | half_words(TAG_LOW)


def _half_words(
    key: int,
    shape: tuple[int, ...],
    window: Window | None,
    shared: tuple[int, ...],
    device: torch.device | str,
) -> Callable[[int], Tensor]:
    """Return the function from a tag to the half-words of all elements, eight to a Philox call."""
    window = whole(shape) if window is None else window
    check_window(window, shape)
    shared = check_shared(shared, len(shape))
    ranges = [
        (0, min(count, 1)) if dim in shared else (first, count)
        for dim, (first, count) in enumerate(zip(window.offset, shape, strict=True))
    ]
    index = [_along(dim, len(shape), *ranges[dim], device) for dim in range(len(shape))]
    zero = torch.zeros((1,) * len(shape), dtype=torch.int64, device=device)
    plane = zero
    for along, size in zip(index[:-2], window.sizes[:-2], strict=True):
        plane = plane * size + along
    row = index[-2] if len(index) > 1 else zero
    first, count = (window.offset[-1], shape[-1]) if shape else (0, 1)
    if len(shape) - 1 in shared:
        first, count = 0, 1
    group = torch.arange(first >> 3, (first + count + 7) >> 3, dtype=torch.int64, device=device)
    start = first & 7

    def half_words(tag: int) -> Tensor:
        words = _philox((group, row, plane, torch.full_like(plane, tag)), key)
        words = torch.broadcast_tensors(*words)
        halves = [half for word in words for half in (word & _LOW_HALF, word >> 16)]
        flat = torch.stack(halves, dim=-1).flatten(-2)[..., start : start + count]
        return flat if shape else flat.reshape(())

    return half_words


def _along(dim: int, ndim: int, first: int, count: int, device: torch.device | str) -> Tensor:
    values = torch.arange(first, first + count, dtype=torch.int64, device=device)
    return values.reshape([-1 if dim == other else 1 for other in range(ndim)])


def _philox(counter: Words, key: int) -> Words:
    c0, c1, c2, c3 = counter
    k0, k1 = key & _LOW_WORD, key >> 32
    for _ in range(ROUNDS):
        product_0, product_1 = c0 * MULTIPLIER_0, c2 * MULTIPLIER_1
        c0, c1, c2, c3 = (
            (product_1 >> 32 & _LOW_WORD) ^ c1 ^ k0,
            product_1 & _LOW_WORD,
            (product_0 >> 32 & _LOW_WORD) ^ c3 ^ k1,
            product_0 & _LOW_WORD,
        )
        k0 = k0 + KEY_INCREMENT_0 & _LOW_WORD
        k1 = k1 + KEY_INCREMENT_1 & _LOW_WORD
    return c0, c1, c2, c3
