"""The random bits behind a mask as an operator, for noise that is more than keep or drop."""

from collections.abc import Sequence

import torch
from torch import Tensor

from redrop.kernels.dispatch import select_random_bits
from redrop.mask.window import Window
from redrop.ops.key import as_key_tensor
from redrop.ops.window import from_schema, to_schema

_library = torch.library.Library("redrop", "FRAGMENT")
_library.define(
    "random_bits(Tensor key, SymInt[] shape, SymInt[]? sizes, SymInt[]? offset, int[] shared,"
    " Device device) -> Tensor"
)


def random_bits(
    key: int | Tensor,
    shape: Sequence[int],
    *,
    window: Window | None = None,
    shared: Sequence[int] = (),
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return u(key, plane, row, col), the 32 random bits of each element (SPEC.md, section 4).

    Dropout drops an element iff its u < floor(p · 2^32).

    Args:
        key: Of the mask, from `redrop.mask.mask_key`; as a 0-d int64 tensor where it is traced.
        shape: Of the local tensor.
        window: Where the local tensor stands in the whole; by default it is the whole.
        shared: Dimensions whose elements share their bits.
        device: Where to make them; the bits are the same everywhere.

    Returns:
        int64, 0 <= u < 2^32, of `shape`.

    Raises:
        UsageError: A window or shared dimension does not fit, or a coordinate is out of range.

    >>> [f"{u:08x}" for u in random_bits(0x8B1EF9904FBD598E, (3,)).tolist()]
    ['007b156c', 'bd4e82e5', 'b9da6665']
    """
    sizes, offset = to_schema(window)
    bits: Tensor = torch.ops.redrop.random_bits(
        as_key_tensor(key), list(shape), sizes, offset, list(shared), torch.device(device)
    )
    return bits


@torch.library.impl(_library, "random_bits", "CompositeExplicitAutograd")
def _operator(
    key: Tensor,
    shape: list[int],
    sizes: list[int] | None,
    offset: list[int] | None,
    shared: list[int],
    device: torch.device,
) -> Tensor:
    window = from_schema(sizes, offset)
    make = select_random_bits(device, len(shape))
    bits = make(int(key) % 2**64, tuple(shape), window, tuple(shared))
    return bits.expand(shape).contiguous()


def _fake(
    _key: Tensor,
    shape: list[int],
    _sizes: list[int] | None,
    _offset: list[int] | None,
    _shared: list[int],
    device: torch.device,
) -> Tensor:
    return torch.empty(shape, dtype=torch.int64, device=device)


torch.library.register_fake("redrop::random_bits", _fake, lib=_library)
