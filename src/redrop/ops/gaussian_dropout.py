"""Multiplicative Gaussian noise as an operator; backward makes the noise again from its key.

The definition, in the words of SPEC.md. With u the 32 random bits of an element (section 4):

    q = (u + 1/2) / 2^32          exact in double, 0 < q < 1
    z = Φ⁻¹(q)                    the normal distribution's inverse, in double; |z| < 6.34
    n = 1 + z · sqrt(p / (1 - p)) in double, rounded once to the compute type
    y = x · n                     in the compute type, rounded once to the type of x

u is the same everywhere, bit for bit; z is as good as the machine's logarithm and square root, to a
few units in the last place of a double. The compute type is float64 for float64, else float32.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.kernels import eager
from redrop.mask.threshold import threshold
from redrop.mask.window import Window
from redrop.ops.key import as_key_tensor
from redrop.ops.random_bits import random_bits
from redrop.ops.transform import DropoutUnderTransform
from redrop.ops.window import from_schema, to_schema

_library = torch.library.Library("redrop", "FRAGMENT")
_library.define(
    "gaussian_dropout(Tensor x, Tensor key, float p, SymInt[]? sizes, SymInt[]? offset,"
    " int[] shared) -> Tensor"
)


def gaussian_dropout(
    x: Tensor,
    /,
    key: int | Tensor,
    p: float,
    *,
    window: Window | None = None,
    shared: Sequence[int] = (),
    inplace: bool = False,
) -> Tensor:
    """Multiply each element by noise of mean 1 and variance p / (1 - p), as dropout has it.

    y = x · n with n ~ N(1, p / (1 - p)), a function of the element's random bits.

    Args:
        x: Any shape, float32, float64, bfloat16 or float16.
        key: Of the mask, from `redrop.mask.mask_key`; as a 0-d int64 tensor where it is traced.
        p: The rate of the dropout whose variance the noise has, 0 <= p < 1.
        window: Where `x` stands in the whole tensor of the whole job; by default it is the whole.
        shared: Dimensions whose elements share one factor.
        inplace: Write into `x`.

    Returns:
        A tensor like `x`; differentiable any number of times.

    Raises:
        UsageError: p outside [0, 1), a dtype without dropout, a window that `x` leaves.

    References:
        Srivastava et al.: Dropout. JMLR 15, 2014, section 10, where p is the keep probability.
        https://jmlr.org/papers/v15/srivastava14a.html

    >>> gaussian_dropout(torch.ones(4), key=0x8B1EF9904FBD598E, p=0.5)
    tensor([-1.8979,  1.6417,  1.6007,  0.9004])
    """
    check_gaussian_p(p)
    if x.dtype not in eager.DTYPES:
        raise UsageError(
            f"Dropout takes float32, float64, bfloat16 or float16; got {x.dtype}. Convert `x`."
        )
    if p == 0.0:
        return x
    y: Tensor
    if torch._C._are_functorch_transforms_active():
        y = DropoutUnderTransform.apply(x, key, p, window, tuple(shared), gaussian_dropout)
    else:
        sizes, offset = to_schema(window)
        shared = list(shared)
        y = torch.ops.redrop.gaussian_dropout(x, as_key_tensor(key), p, sizes, offset, shared)
    return x.copy_(y) if inplace else y


def gaussian_noise(
    key: int | Tensor,
    p: float,
    shape: Sequence[int],
    *,
    window: Window | None = None,
    shared: Sequence[int] = (),
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return the factors n of `gaussian_dropout`, in float64. Arguments and errors are its.

    >>> gaussian_noise(0x8B1EF9904FBD598E, 0.0, (2,))
    tensor([1., 1.], dtype=torch.float64)
    """
    check_gaussian_p(p)
    bits = random_bits(key, shape, window=window, shared=shared, device=device)
    z: Tensor = torch.special.ndtri((bits.to(torch.float64) + 0.5) / 2**32)
    return 1.0 + z * math.sqrt(p / (1.0 - p))


def check_gaussian_p(p: float) -> None:
    """Refuse a rate without a variance.

    Raises:
        UsageError: p outside [0, 1).
    """
    threshold(p)
    if p == 1.0:
        raise UsageError(
            "`p` of Gaussian noise must lie in [0, 1); got 1.0, whose variance p / (1 - p) is "
            "infinite. Use Dropout, which gives zeros."
        )


@torch.library.impl(_library, "gaussian_dropout", "CompositeExplicitAutograd")
def _operator(
    x: Tensor,
    key: Tensor,
    p: float,
    sizes: list[int] | None,
    offset: list[int] | None,
    shared: list[int],
) -> Tensor:
    window = from_schema(sizes, offset)
    noise = gaussian_noise(key, p, x.shape, window=window, shared=shared, device=x.device)
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    return torch.empty_like(x).copy_(x.to(compute) * noise.to(compute))


def _fake(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, key, *ctx.noise = inputs
    ctx.save_for_backward(key)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (key,) = ctx.saved_tensors
    return torch.ops.redrop.gaussian_dropout(grad, key, *ctx.noise), *(None,) * 5


torch.library.register_fake("redrop::gaussian_dropout", _fake, lib=_library)
torch.library.register_autograd(
    "redrop::gaussian_dropout", _backward, setup_context=_setup_context, lib=_library
)
