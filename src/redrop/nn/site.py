"""A place in a model where dropout acts: it knows which mask comes next.

The hard part is recomputation. Activation checkpointing runs a forward again inside the backward
pass, in reverse order of regions, and has to meet the masks of the original forward, also where a
site is used several times in a step. Checkpointing restores torch's generator before it
recomputes; so every use of a site draws one number from that generator, its ticket, and notes which
mask went with it. The recomputation draws the same ticket again and looks the mask up.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.key import mask_key, site_id
from redrop.mask.window import Window
from redrop.nn.state import RunState
from redrop.nn.vmapped import all_of, draw_under_transform, one_in_each
from redrop.ops.key import signed, traced_mask_key

TICKETS_KEPT = 256
"""Uses of one site that a later recomputation can still find; more than any step recomputes."""


class NextMask(NamedTuple):
    """The integers that name the mask of one use of a site."""

    key: int | Tensor
    sample_offset: int

    def window(self, shape: torch.Size) -> Window | None:
        """Return where a tensor of this shape, samples first, stands in the global batch."""
        if self.sample_offset == 0 or len(shape) == 0:
            return None
        return Window(
            (self.sample_offset + shape[0], *shape[1:]),
            (self.sample_offset, *(0,) * (len(shape) - 1)),
        )


class Site:
    """The name of a dropout module within a run, and how often it was used in this step."""

    def __init__(self, name: str, state: RunState) -> None:
        self.name = name
        self.id = site_id(name)
        self.state = state
        self.passes = 0
        self._tickets: OrderedDict[int, NextMask] = OrderedDict()

    def next_mask(self) -> NextMask:
        """Return the mask of this use and count it; a recomputation gets the mask it had."""
        state = self.state
        if is_traced():
            key = traced_mask_key(state.seed, state.step_tensor, self.id, self.passes)
            self.passes += 1
            return NextMask(key, state.sample_offset)
        ticket = draw()
        if not isinstance(ticket, int):
            return self._mask_in_each(all_of(ticket))
        if is_recomputing():
            return self._recall(ticket)
        mask = NextMask(mask_key(state.seed, state.step, self.id, self.passes), state.sample_offset)
        self.passes += 1
        self._tickets[ticket] = mask
        if len(self._tickets) > TICKETS_KEPT:
            self._tickets.popitem(last=False)
        return mask

    def _mask_in_each(self, numbers: Tensor) -> NextMask:
        """Return the masks of a use by samples that differ under torch.vmap: a pass for each."""
        state, ticket = self.state, int(numbers.sum())
        if is_recomputing():
            mask = self._recall(ticket)
        else:
            passes = range(self.passes, self.passes + numbers.numel())
            keys = [signed(mask_key(state.seed, state.step, self.id, pass_)) for pass_ in passes]
            key = torch.tensor(keys, dtype=torch.int64, device="cpu").view(numbers.shape)
            mask = NextMask(key, state.sample_offset)
            self.passes = passes.stop
            self._tickets[ticket] = mask
            if len(self._tickets) > TICKETS_KEPT:
                self._tickets.popitem(last=False)
        return NextMask(one_in_each(torch.as_tensor(mask.key)), mask.sample_offset)

    def _recall(self, ticket: int) -> NextMask:
        if ticket not in self._tickets:
            raise UsageError(
                f"The recomputation of `{self.name}` could not find the mask of its forward pass; "
                "torch's generator was not restored. Checkpoint with `preserve_rng_state=True`."
            )
        return self._tickets[ticket]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_tickets": OrderedDict()}


class _Ticket(threading.local):
    """A place for one drawn number per thread: to allocate it anew costs more than to draw."""

    def __init__(self) -> None:
        self.tensor = torch.empty((), dtype=torch.int64, device="cpu")


_ticket = _Ticket()


def draw() -> int | Tensor:
    """Draw 63 bits from torch's default generator (the one that `torch.manual_seed` seeds).

    Under torch.vmap with samples that differ it is a tensor that stands for a number in each.
    """
    try:
        return int(_ticket.tensor.random_().item())
    except RuntimeError:
        if not torch._C._are_functorch_transforms_active():
            raise
        # A transform of torch.func lets nobody write into a tensor from outside. To ask before, not
        # after, would cost every draw.
        return draw_under_transform(_ticket.tensor)


def is_traced() -> bool:
    """Say whether tensors stand for values that are not known yet (torch.compile, fake tensors)."""
    return torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0


def is_recomputing() -> bool:
    """Say whether this forward runs inside a backward pass, which is what checkpointing does."""
    if torch.compiler.is_compiling():  # a compiled graph recomputes without running Python again
        return False
    # The same test by which torch.utils.checkpoint knows it.
    return torch._C._current_graph_task_id() != -1
