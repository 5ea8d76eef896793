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
        for name, totals, tokens in (
            ("queries", self.queries, self.max_queries),
            ("keys", self.keys, self.max_keys),
        ):
            lengths = totals.diff()
            sound = (
                totals.dtype == torch.int64
                and totals.ndim == 1
                and totals.is_contiguous()
                and len(totals) > 0
                and int(totals[0]) == 0
                and bool(((lengths >= 0) & (lengths <= tokens)).all())
            )
            if not sound:
                raise UsageError(
                    f"`{name}` must be rising int64 totals from 0, no sequence longer than "
                    f"{tokens}; got {totals.dtype} {totals.tolist()}. Pass the cumulative lengths."
                )
        if len(self.queries) != len(self.keys):
            raise UsageError(
                "Packed queries and keys must hold the same number of sequences; got "
                f"{len(self.queries) - 1} and {len(self.keys) - 1}. Pass two totals of one length."
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


def empty_normalizer(query: Tensor) -> Tensor:
    """Make room for what normalizes each row: its largest score and sum(exp(score - largest)).

    Shape:
        (B, H, T, 2) for a query of (B, H, T, D), (tokens, H, 2) for packed sequences; float32, and
        float64 for float64. A row that sees no key has (-infinity, 0).
    """
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    return query.new_empty(*query.shape[:-1], 2, dtype=dtype)
