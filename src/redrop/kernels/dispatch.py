"""Which kernel runs, and why. Falling back to the slow one is never silent."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.kernels import eager


class BackendWarning(UserWarning):
    """A slow kernel runs where a fast one was to be expected."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A kernel and the reason why it was chosen.

    Args:
        name: `cpu` or `eager`.
        reason: One sentence for people; `redrop info` prints it.
        dropout: dropout(x, key, threshold, window, shared, out) -> Tensor.
    """

    name: str
    reason: str
    dropout: Callable[..., Tensor]


_NATIVE: Backend | None
try:
    from redrop.kernels import cpu
except ImportError as error:
    # A source tree that was never built, or a machine the build does not fit: everything works,
    # slowly, and every selection says so.
    _NATIVE = None
    _NO_NATIVE = f"the native module cannot be imported ({error}); build it with `pip install .`"
else:
    _best = cpu.supported_isa()[0]
    _NATIVE = Backend("cpu", f"native code with the instruction set {_best}", cpu.dropout)


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
    backend = _eager_backend(x)
    warnings.warn(
        f"redrop uses its slow portable kernel: {backend.reason}.", BackendWarning, stacklevel=3
    )
    return backend


def _eager_backend(x: Tensor) -> Backend:
    if not x.is_cpu:
        reason = f"there is no fast kernel for {x.device.type} tensors"
    elif _NATIVE is None:
        reason = _NO_NATIVE
    else:
        limit = cpu.MAX_DIMS
        reason = f"the CPU kernel takes at most {limit} dimensions, this tensor has {x.dim()}"
    return Backend("eager", reason, eager.dropout)


def describe() -> str:
    """Return one sentence per device about the kernel that serves it, for `redrop info`.

    >>> describe().splitlines()[0].split(":")[0]
    'CPU'
    """
    on_cpu = _NATIVE or _eager_backend(torch.empty(0))
    lines = [f"CPU: {on_cpu.name} ({on_cpu.reason})"]
    if torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator()
        lines.append(f"{device}: eager (there is no fast kernel for {device} tensors)")
    return "\n".join(lines)
