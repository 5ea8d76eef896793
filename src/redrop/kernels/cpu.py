"""Elementwise dropout on the CPU, in C++ (csrc/dropout.h).

The native module gets bare pointers and checks nothing, so everything is checked here. A small
call costs little more than allocating its result: keep this path free of anything avoidable.
"""

import torch
from torch import Tensor

from redrop import _core
from redrop.errors import UsageError
from redrop.kernels.memory import LARGE_FROM, empty_like
from redrop.kernels.plan import MaskPlan
from redrop.mask.window import Window, check_shared, check_window, whole

STORAGE = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.float64: 3}
"""The dtypes with a native kernel, and their numbers in csrc/kernels.h."""

MAX_DIMS = 16  # csrc/layout.h

# Below this many elements waking a second thread costs more than it saves; PyTorch's own
# elementwise kernels use the same number (at::internal::GRAIN_SIZE).
PARALLEL_FROM = 32768

supported_isa = _core.isa

Dims = tuple[tuple[int, int, int, int, int, bool], ...]
"""Per dimension: size, stride of x, stride of out, global size, offset, is it shared."""


def dropout(
    x: Tensor,
    key: int,
    threshold: int,
    window: Window | None = None,
    shared: tuple[int, ...] = (),
    out: Tensor | None = None,
    isa: str = "",
) -> Tensor:
    """Return x / (1 - T / 2^32) where kept and 0 where dropped; forward and backward alike.

    Args:
        x: A CPU tensor of a dtype in `STORAGE`, with any strides.
        key: Of the mask.
        threshold: T, below 2^32.
        window: Where `x` stands in the whole; by default it is the whole.
        shared: Dimensions whose elements share one decision.
        out: Where to write, `x` itself for the in-place variant; by default a new tensor with the
            memory format of `x`.
        isa: Instruction set, one of `_core.isa()`; by default the best.

    Raises:
        UsageError: `x` or `out` cannot be used, or a window or shared dimension does not fit.
    """
    storage = STORAGE.get(x.dtype)
    if storage is None or not x.is_cpu:
        raise UsageError(
            "The CPU kernel takes floating-point CPU tensors; got "
            f"{x.dtype} on {x.device}. Convert it, or use the eager kernel."
        )
    count = x.numel()
    if out is None:
        if x.is_neg():  # memory holds -x; a new tensor has no such bit
            x = x.resolve_neg()
        out = torch.empty_like(x) if count < LARGE_FROM else empty_like(x)
        is_contiguous = x.is_contiguous()
    else:
        is_contiguous = x.is_contiguous() and out.is_contiguous()
        if out is not x or not is_contiguous:
            _check_out(x, out)
    threads = 1 if count < PARALLEL_FROM else torch.get_num_threads()
    if is_contiguous and window is None and not shared:
        if count >= 2**32:
            check_window(whole(x.shape), x.shape)
        if count:
            x_ptr, out_ptr = x.data_ptr(), out.data_ptr()
            _core.dropout(x_ptr, out_ptr, storage, x.shape, key, threshold, threads, isa)
        return out
    dims = part_dims(x, out, window, shared)
    if count:
        _core.dropout_part(
            x.data_ptr(), out.data_ptr(), storage, dims, key, threshold, threads, isa
        )
    return out


def fused_dims(x: Tensor, mask: MaskPlan) -> Dims:
    """Return the dimensions of a contiguous `x` for a fused kernel; () says it is the whole.

    Raises:
        UsageError: The window or a shared dimension does not fit.
    """
    count = x.numel()
    is_whole = mask.window is None and not mask.shared and count < 2**32
    dims = () if is_whole else part_dims(x, x, mask.window, mask.shared)
    if mask.threshold == 0:  # one decision for all, so that no random words are computed
        return ((count, 1, 1, count, 0, True),)
    return dims


def part_dims(x: Tensor, out: Tensor, window: Window | None, shared: tuple[int, ...]) -> Dims:
    """Return the dimensions of any tensor for a native kernel.

    Raises:
        UsageError: The window or a shared dimension does not fit, or there are too many.
    """
    shape = x.shape
    if len(shape) > MAX_DIMS:
        raise UsageError(
            f"The CPU kernel takes at most {MAX_DIMS} dimensions; got {len(shape)}. Reshape `x`."
        )
    window = whole(shape) if window is None else window
    check_window(window, shape)
    shared = check_shared(shared, len(shape))
    is_shared = (dim in shared for dim in range(len(shape)))
    return tuple(
        zip(shape, x.stride(), out.stride(), window.sizes, window.offset, is_shared, strict=True)
    )


def _check_out(x: Tensor, out: Tensor) -> None:
    like = (out.shape, out.dtype, out.device, out.is_neg()) == (
        x.shape,
        x.dtype,
        x.device,
        x.is_neg(),
    )
    if not like:
        raise UsageError(
            "`out` must be like `x`; got "
            f"{tuple(out.shape)} {out.dtype} {out.device} for "
            f"{tuple(x.shape)} {x.dtype} {x.device}. Pass `torch.empty_like(x)`."
        )
    if torch._debug_has_internal_overlap(out) == 1:
        raise UsageError(
            "`out` must not hold two elements in one place; got strides "
            f"{out.stride()} for shape {tuple(out.shape)}. Clone it first."
        )
    same = x.data_ptr() == out.data_ptr() and x.stride() == out.stride()
    if not same and _spans_touch(x, out):
        raise UsageError(
            "`out` must be `x` itself or lie elsewhere; got two that overlap in memory. Clone `x`."
        )


def _spans_touch(x: Tensor, out: Tensor) -> bool:
    """Say whether the stretches of memory from first to last element have a byte in common."""
    x_first, out_first = x.data_ptr(), out.data_ptr()
    return x_first < out_first + _span(out) and out_first < x_first + _span(x)


def _span(x: Tensor) -> int:
    if x.numel() == 0:
        return 0
    steps = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return (steps + 1) * x.element_size()
