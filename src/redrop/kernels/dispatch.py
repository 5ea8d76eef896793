"""Which kernel runs, and why. Falling back to the slow one is never silent."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.kernels import eager, eager_fused


class BackendWarning(UserWarning):
    """A slow kernel runs where a fast one was to be expected."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A kernel and the reason why it was chosen.

    Args:
        name: `cpu` or `eager`.
        reason: One sentence for people; `redrop info` prints it.
        dropout: dropout(x, key, threshold, window, shared, out) -> Tensor.
        dropout_add: dropout_add(x, residual, mask) -> Tensor.
        gelu_dropout: gelu_dropout(x, bias, mask, approximate) -> Tensor.
        gelu_dropout_backward: The same after a gradient, gives (grad_x, grad_bias or None).
    """

    name: str
    reason: str
    dropout: Callable[..., Tensor]
    dropout_add: Callable[..., Tensor]
    gelu_dropout: Callable[..., Tensor]
    gelu_dropout_backward: Callable[..., tuple[Tensor, Tensor | None]]


_NATIVE: Backend | None
try:
    from redrop.kernels import cpu, gelu, random_bits, residual
except ImportError as error:
    # A source tree that was never built, or a machine the build does not fit: everything works,
    # slowly, and every selection says so.
    _NATIVE = None
    _NO_NATIVE = f"the native module cannot be imported ({error}); build it with `pip install .`"
else:
    _best = cpu.supported_isa()[0]
    _NATIVE = Backend(
        "cpu",
        f"native code with the instruction set {_best}",
        cpu.dropout,
        residual.dropout_add,
        gelu.gelu_dropout,
        gelu.gelu_dropout_backward,
    )


def select(x: Tensor) -> Backend:
    """Return the backend that serves a tensor like `x`.

    Warns:
        BackendWarning: The portable kernel serves it because no fast one does.

    Raises:
        UsageError: There is no dropout for the dtype of `x`.
    """
    if _NATIVE is not None and x.is_cpu and x.dtype in cpu.STORAGE and x.dim() <= cpu.MAX_DIMS:
        return _NATIVE
    if x.dtype not in eager.DTYPES:
        raise UsageError(
            f"Dropout takes float32, float64, bfloat16 or float16; got {x.dtype}. Convert `x`."
        )
    return _fall_back(_reason(x))


def select_gelu(x: Tensor) -> Backend:
    """Return the backend whose `gelu_dropout` serves a tensor like `x`; as `select`.

    Warns:
        BackendWarning: The portable kernel serves it because no fast one does.

    Raises:
        UsageError: There is no dropout for the dtype of `x`.
    """
    backend = select(x)
    if backend is _NATIVE and (x.dtype not in gelu.STORAGE or x.dim() == 0):
        return _fall_back("the GELU kernel takes float32 and bfloat16 of one dimension or more")
    return backend


def select_random_bits(device: torch.device, ndim: int) -> Callable[..., Tensor]:
    """Return the kernel that makes the bits of a tensor: f(key, shape, window, shared).

    Warns:
        BackendWarning: The portable kernel serves it because no fast one does.
    """
    if _NATIVE is not None and device.type == "cpu" and ndim <= cpu.MAX_DIMS:
        return random_bits.random_bits
    _warn(_reason_at(device, ndim))
    return partial(eager.random_bits, device=device)


def _reason(x: Tensor) -> str:
    return _reason_at(x.device, x.dim())


def _reason_at(device: torch.device, ndim: int) -> str:
    if device.type != "cpu":
        return f"there is no fast kernel for {device.type} tensors"
    if _NATIVE is None:
        return _NO_NATIVE
    return f"the CPU kernel takes at most {cpu.MAX_DIMS} dimensions, this tensor has {ndim}"


def _eager_backend(reason: str) -> Backend:
    return Backend(
        "eager",
        reason,
        eager.dropout,
        eager_fused.dropout_add,
        eager_fused.gelu_dropout,
        eager_fused.gelu_dropout_backward,
    )


def _fall_back(reason: str) -> Backend:
    _warn(reason)
    return _eager_backend(reason)


def _warn(reason: str) -> None:
    warnings.warn(f"redrop uses its slow portable kernel: {reason}.", BackendWarning, stacklevel=5)


def describe() -> str:
    """Return one sentence per device about the kernel that serves it, for `redrop info`.

    >>> describe().splitlines()[0].split(":")[0]
    'CPU'
    """
    on_cpu = _NATIVE or _eager_backend(_reason(torch.empty(0)))
    lines = [f"CPU: {on_cpu.name} ({on_cpu.reason})"]
    if torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator()
        lines.append(f"{device}: eager (there is no fast kernel for {device} tensors)")
    return "\n".join(lines)
