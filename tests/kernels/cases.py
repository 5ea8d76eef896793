"""Tensors of every layout, places in a whole, and what the reference says about them."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from redrop.mask import Window, keep_mask, scale

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
SIZES = (1, 2, 3, 7, 8, 9, 16, 64, 72, 96, 127, 128, 129, 200, 1025)
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

keys = st.integers(0, 2**64 - 1)
# Small thresholds make ties (high half-word == T >> 16) as frequent as they get.
thresholds = st.one_of(
    st.integers(1, 2**32 - 1), st.integers(1, 2**18), st.sampled_from([1, 2**16, 2**31, 2**32 - 1])
)


@dataclass(frozen=True)
class Case:
    x: Tensor
    window: Window | None
    shared: tuple[int, ...]


@st.composite
def cases(draw: st.DrawFn, max_elements: int = 3000) -> Case:
    shape = draw(st.lists(st.sampled_from(SIZES), max_size=5))
    while torch.Size(shape).numel() > max_elements:
        shape[shape.index(max(shape))] = draw(st.sampled_from([1, 2, 3, 7]))
    if shape and draw(st.integers(0, 19)) == 0:
        shape[draw(st.integers(0, len(shape) - 1))] = 0
    x = torch.randn(shape).to(draw(st.sampled_from(DTYPES)))
    x = x.permute(draw(st.permutations(range(len(shape)))))
    if shape and draw(st.booleans()):
        x = x[..., :: draw(st.sampled_from([1, 2, 3]))]
    if shape and x.shape[-1] and draw(st.integers(0, 9)) == 0:
        x = x[..., :1].expand(*x.shape[:-1], 5)
    if draw(st.booleans()):
        x = x.contiguous()
    ndim = x.dim()
    shared = draw(st.sets(st.integers(0, ndim - 1))) if ndim and draw(st.booleans()) else set()
    return Case(x, draw(windows(tuple(x.shape))), tuple(shared))


@st.composite
def windows(draw: st.DrawFn, shape: tuple[int, ...]) -> Window | None:
    if draw(st.booleans()):
        return None
    offset = tuple(draw(st.sampled_from([0, 1, 5, 8, 120, 1000])) for _ in shape)
    sizes = tuple(
        first + count + draw(st.sampled_from([0, 1, 7]))
        for first, count in zip(offset, shape, strict=True)
    )
    return Window(sizes, offset)


def expected(
    x: Tensor,
    key: int,
    threshold: int,
    window: Window | None = None,
    shared: tuple[int, ...] = (),
) -> Tensor:
    """The formula in plain PyTorch, with the mask of the reference."""
    p = threshold / 2**32  # exact, and so is the way back
    kept = torch.from_numpy(keep_mask(key, p, x.shape, window=window, shared=shared))
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    factor = torch.tensor(scale(threshold), dtype=compute)
    zero = torch.zeros((), dtype=x.dtype)
    return torch.where(kept, (x.to(compute) * factor).to(x.dtype), zero)


def assert_same_bits(actual: Tensor, wanted: Tensor) -> None:
    """Equal bit for bit; where a NaN is wanted any NaN will do."""
    assert actual.shape == wanted.shape
    assert actual.dtype == wanted.dtype
    bits = BITS[actual.element_size()]
    same = actual.contiguous().view(bits) == wanted.contiguous().view(bits)
    assert bool((same | (actual.isnan() & wanted.isnan())).all())
