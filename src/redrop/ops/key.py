"""The key of a mask as operators take it, and inside a traced graph, where the step is a tensor."""

import torch
from torch import Tensor

from redrop.mask.key import mask_key

_library = torch.library.Library("redrop", "FRAGMENT")
_library.define("mask_key(Tensor step, int seed, int site, int pass_) -> Tensor")


def traced_mask_key(seed: int, step: Tensor, site: int, pass_: int) -> Tensor:
    """Return `mask_key(seed, step, site, pass_)` as a 0-d int64 tensor that a graph computes.

    Args:
        seed: Of the run, u64.
        step: A 0-d int64 tensor, read when the graph runs.
        site: The site's id, u64.
        pass_: How often the site was already used in this step.
    """
    key: Tensor = torch.ops.redrop.mask_key(step, signed(seed), signed(site), pass_)
    return key


@torch.library.impl(_library, "mask_key", "CompositeExplicitAutograd")
def _operator(step: Tensor, seed: int, site: int, pass_: int) -> Tensor:
    key = mask_key(seed % 2**64, int(step), site % 2**64, pass_)
    return torch.tensor(signed(key), dtype=torch.int64, device="cpu")


@torch.library.register_fake("redrop::mask_key", lib=_library)  # type: ignore[untyped-decorator]
def _fake(step: Tensor, seed: int, site: int, pass_: int) -> Tensor:
    return torch.empty((), dtype=torch.int64, device="cpu")


def as_key_tensor(key: int | Tensor) -> Tensor:
    """Return a mask key as the 0-d int64 tensor that operators take."""
    if isinstance(key, Tensor):
        return key
    return torch.tensor(signed(key), dtype=torch.int64, device="cpu")


def signed(word: int) -> int:
    """Return a u64 as the int64 with the same bits, which is what a schema can carry."""
    return word - 2**64 if word >= 2**63 else word
