"""What a model carries so that its masks can be named: the seed of the run and the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

from redrop.errors import UsageError

if TYPE_CHECKING:
    from redrop.nn.site import Site


class RunState:
    """Seed and step of a run, shared by all sites of a model. Made by `redrop.attach`.

    Until somebody calls `set_step`, each training forward of the model counts as a step, so that no
    two of them share a mask by accident. From the first `set_step` on, the caller is in charge.

    Attributes:
        seed: Of the run.
        sample_offset: Global index of the first sample of this micro-batch or rank.
        sites: Every dropout site of the model, by qualified name.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.sample_offset = 0
        self.sites: dict[str, Site] = {}
        # A tensor, so that a compiled graph reads the step instead of being compiled for it.
        self._step = torch.tensor(0, dtype=torch.int64, device="cpu")
        self._counts_forwards = True
        self._has_begun = False

    @property
    def step(self) -> int:
        """The current step."""
        return int(self._step)

    @property
    def step_tensor(self) -> torch.Tensor:
        """The current step as a 0-d int64 tensor, for graphs that are traced once."""
        return self._step

    def set_step(self, step: int, *, sample_offset: int = 0) -> None:
        """Say which step comes next, and where this micro-batch stands in the global batch.

        The first use of each site after this call is pass 0, the second pass 1, and so on.
        Micro-batches of one step, and the ranks of a data-parallel job, call it with the same step
        and their own offset: together they get the masks of the whole batch.

        Args:
            step: The optimizer step, 0 <= step < 2^32.
            sample_offset: Index in the global batch of the first sample of the coming forward.

        Raises:
            UsageError: A number is out of range.
        """
        if not 0 <= step < 2**32 or sample_offset < 0:
            raise UsageError(
                "`step` must lie in [0, 2^32) and `sample_offset` must not be negative; got "
                f"step {step} and sample_offset {sample_offset}."
            )
        self._counts_forwards = False
        _write(self._step.fill_, step)
        self.sample_offset = sample_offset
        self._restart_passes()

    def count_forward(self) -> None:
        """Take the coming training forward as the next step, unless `set_step` is in use."""
        if not self._counts_forwards:
            return
        if self._has_begun:
            _write(self._step.add_, 1)
        self._has_begun = True
        self._restart_passes()

    def _restart_passes(self) -> None:
        for site in self.sites.values():
            site.passes = 0

    def __repr__(self) -> str:
        return f"RunState(seed={self.seed}, step={self.step}, sites={len(self.sites)})"


def _write(change: Callable[[int], torch.Tensor], number: int) -> None:
    """Write into a tensor of the run, which a transform of torch.func forbids those inside it."""
    if torch._C._are_functorch_transforms_active():
        with temporarily_clear_interpreter_stack():
            change(number)
    else:
        change(number)
