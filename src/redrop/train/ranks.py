"""One run over several processes: each takes some rows of every batch, all take the same step.

The processes of `torchrun` share the global batch. A rank computes its rows, under the masks that
these rows have in the whole batch, and the gradients are summed, each weighted by its share of the
rows. So the number of ranks changes nothing but the order in which numbers are added up.

The gradients travel as one flat tensor per step. torch's DistributedDataParallel sends them in
buckets while the backward pass still runs, which pays where a network is slow; it also wants to own
the module, whose names the sites and checkpoints use.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from redrop.errors import UsageError
from redrop.train.task import Batch


@dataclass(frozen=True, slots=True)
class Ranks:
    """The place of this process among those that share a run."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes records and checkpoints."""
        return self.rank == 0

    def rows(self, total: int) -> tuple[int, int]:
        """Return first and last row of this rank; ranks differ by at most one row.

        Raises:
            UsageError: There are fewer rows than ranks.

        >>> [Ranks(rank, 3).rows(8) for rank in range(3)]
        [(0, 2), (2, 5), (5, 8)]
        """
        if total < self.count:
            raise UsageError(
                f"Each of {self.count} processes needs a row of the batch; it has {total}. Raise "
                "`batch_size` or start fewer processes."
            )
        return self.rank * total // self.count, (self.rank + 1) * total // self.count

    def share(self, batch: Batch) -> tuple[Batch, int, float]:
        """Return this rank's part of a batch, its first row, and its share of the rows."""
        if self.count == 1:
            return batch, 0, 1.0
        first, last = self.rows(len(batch))
        return batch.rows(first, last), first, (last - first) / len(batch)

    def sum_gradients(self, parameters: Sequence[Tensor], *others: Tensor) -> tuple[Tensor, ...]:
        """Sum the gradients over all ranks, in place, and return the sums of the other numbers.

        Args:
            parameters: The same ones on every rank; one without a gradient counts as 0.
            others: 0-d tensors that travel with them.
        """
        if self.count == 1:
            return others
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        parts = [*(gradient.flatten() for gradient in gradients), *(o.reshape(1) for o in others)]
        flat = torch.cat([part.float() for part in parts])
        dist.all_reduce(flat)
        sizes = [part.numel() for part in parts]
        for gradient, summed in zip(gradients, flat.split(sizes), strict=False):
            gradient.copy_(summed.view_as(gradient))
        return tuple(flat[-len(others) :].unbind()) if others else ()

    def wait(self) -> None:
        """Wait until every rank is here."""
        if self.count > 1:
            dist.barrier()


def current_ranks() -> Ranks:
    """Return the place of this process, or that of a process alone."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the processes of `torchrun`, if it started this one, for the time of the block."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield current_ranks()
        return
    dist.init_process_group("gloo")
    try:
        yield current_ranks()
    finally:
        dist.destroy_process_group()
