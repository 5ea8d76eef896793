"""The 32 random bits behind each decision, in C++ (csrc/random_bits.h)."""

import torch
from torch import Tensor

from redrop import _core
from redrop.kernels.cpu import PARALLEL_FROM, part_dims
from redrop.kernels.memory import empty
from redrop.mask.window import Window


def random_bits(
    key: int,
    shape: tuple[int, ...],
    window: Window | None = None,
    shared: tuple[int, ...] = (),
    isa: str = "",
) -> Tensor:
    """Return u(key, plane, row, col), the 32 random bits of each element, as int64.

    Args:
        key: Of the mask.
        shape: Of the local tensor.
        window: Where the local tensor stands in the whole; by default it is the whole.
        shared: Dimensions whose elements share their bits.
        isa: Instruction set, one of `_core.isa()`; by default the best.

    Shape:
        `shape`, contiguous.

    Raises:
        UsageError: A window or shared dimension does not fit, or there are too many dimensions.
    """
    out = empty(shape, torch.int64)
    dims = part_dims(out, out, window, shared)
    count = out.numel()
    if count:
        threads = 1 if count < PARALLEL_FROM else torch.get_num_threads()
        _core.random_bits(out.data_ptr(), dims, key, threads, isa)
    return out
