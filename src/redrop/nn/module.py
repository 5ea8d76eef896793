"""What every module with a dropout site has in common: it can be attached, and knows its mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.reference import keep_mask
from redrop.nn.site import NextMask, Site, draw, is_traced


class SiteModule(torch.nn.Module):
    """A module that is a dropout site; mixed into the dropout layers of `redrop.nn`.

    Attributes:
        site: Where this module stands in a run, or None as long as no run has been attached; its
            masks then come from torch's default generator.
    """

    site: Site | None = None
    p: float

    def next_mask(self) -> NextMask:
        """Return the mask that this use of the module gets; each call is one use."""
        if self.site is not None:
            return self.site.next_mask()
        if is_traced():
            key = torch.randint(2**63 - 1, (), dtype=torch.int64, device="cpu")
            return NextMask(key, 0)
        return NextMask(draw(), 0)

    def shared_dims(self, ndim: int) -> tuple[int, ...]:  # noqa: ARG002 - subclasses use it
        """Return which dimensions of a tensor of `ndim` share one decision; by default none.

        Raises:
            UsageError: The layer has no rule for that number of dimensions.
        """
        return ()

    def __prepare_scriptable__(self) -> NoReturn:
        """Be asked by torch.jit.script, which cannot follow the choice of a mask.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            f"TorchScript cannot run the layers of redrop; got {type(self).__name__}. Use "
            "torch.compile, or trace the model in eval mode with torch.jit.trace."
        )

    def mask_of(self, key: int, p: float, shape: Sequence[int]) -> Tensor:
        """Return what a tensor of `shape` meets here under `key`: by default its keep mask."""
        return torch.from_numpy(keep_mask(key, p, shape, shared=self.shared_dims(len(shape))))
