"""New tensors for native kernels to write."""

import torch
from torch import Tensor

from redrop import _core

LARGE_FROM = 1 << 20
"""Elements from which `empty_like` is worth its call; below there is hardly a whole huge page."""


def empty_like(x: Tensor) -> Tensor:
    """Return an uninitialized tensor like `x`, backed by huge pages if it is large.

    A large result is mostly fresh memory: the allocator returns such blocks to the system, and
    every first touch of a page of 4 KiB then costs a fault. In a virtual machine these faults cost
    five times what the kernel itself does (csrc/README.md).
    """
    return _with_huge_pages(torch.empty_like(x))


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return an uninitialized CPU tensor, backed by huge pages as those of `empty_like`."""
    return _with_huge_pages(torch.empty(shape, dtype=dtype, device="cpu"))


def _with_huge_pages(out: Tensor) -> Tensor:
    if out.numel() >= LARGE_FROM:
        _core.prefer_huge_pages(out.data_ptr(), out.nbytes)
    return out
