"""What decides an attention call beside its tensors, the same for every kernel."""

from dataclasses import dataclass

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Where packed sequences begin: B + 1 running totals, as FlashAttention's cu_seqlens.

    Args:
        queries: int64, shape (B + 1,): sequence b owns query tokens queries[b] to queries[b + 1].
        keys: The same for keys.
        max_queries: Length of the longest sequence of queries.
        max_keys: The same for keys.
    """

    queries: Tensor
    keys: Tensor
    max_queries: int
    max_keys: int

    def __post_init__(self) -> None:
        if _has_values(self.queries) and _has_values(self.keys):  # else the kernels look, later
            self.check()

    def check(self) -> None:
        """Refuse totals that are none.

        Raises:
            UsageError: They are not, or are not of one length.
        """
        for name, totals, longest in (
            ("queries", self.queries, self.max_queries),
            ("keys", self.keys, self.max_keys),
        ):
            if not _are_totals(totals, longest):
                raise UsageError(
                    f"`{name}` must be rising int64 totals from 0, no sequence longer than "
                    f"{longest}; got {totals.dtype} {totals.tolist()}. Pass the cumulative lengths."
                )
        if len(self.queries) != len(self.keys):
            raise UsageError(
                "Packed queries and keys must hold the same number of sequences; got "
                f"{len(self.queries) - 1} and {len(self.keys) - 1}. Pass two totals of one length."
            )


def _are_totals(totals: Tensor, longest: int) -> bool:
    if totals.dtype != torch.int64 or totals.ndim != 1 or not totals.is_contiguous():
        return False
    if len(totals) < 2:
        return totals.tolist() == [0]
    shortest_length, longest_length = totals.diff().aminmax()
    return int(totals[0]) == 0 and int(shortest_length) >= 0 and int(longest_length) <= longest


def _has_values(x: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and type(x) is Tensor
        and not x.is_meta
        and torch._C._len_torch_dispatch_stack() == 0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionPlan:
    """All that decides an attention call beside its tensors.

    Args:
        scale: Factor of query . key.
        is_causal: Query i sees key j only if j <= i, both counted from 0, as in PyTorch.
        key: Of the dropout mask; of no meaning while `threshold` is 0.
        threshold: floor(p * 2^32), see `redrop.mask.threshold`.
        window: Where the weights (B, H, T, S) stand in those of the whole job.
        packed: Sequences without padding; query is then (tokens, H, D), key and value likewise.
        isa: One instruction set by name, or "" for the best one; no mask bit depends on it.
    """

    scale: float
    is_causal: bool = False
    key: int = 0
    threshold: int = 0
    window: Window | None = None
    packed: Packed | None = None
    isa: str = ""
