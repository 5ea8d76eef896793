"""Which attention kernel runs, and why."""

import warnings
from typing import Protocol

from torch import Tensor

from redrop.kernels import attention_eager
from redrop.kernels.attention_plan import AttentionPlan
from redrop.kernels.dispatch import BackendWarning

try:
    from redrop.kernels import attention
except ImportError:  # never built: redrop.kernels.dispatch says so for every kernel
    attention = None  # type: ignore[assignment]


class AttentionKernel(Protocol):
    """What every attention kernel offers; see `redrop.kernels.attention`."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None,
        plan: AttentionPlan,
    ) -> tuple[Tensor, Tensor]:
        """Return (out, logsumexp)."""

    def backward(
        self,
        grad_out: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        out: Tensor,
        logsumexp: Tensor,
        attn_mask: Tensor | None,
        plan: AttentionPlan,
        *,
        needs_mask_gradient: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return the gradients of query, key, value and the mask."""


def select_attention(query: Tensor) -> AttentionKernel:
    """Return the kernel that serves a query like this one.

    Warns:
        BackendWarning: The portable kernel serves it, which holds all weights in memory.
    """
    if attention is not None and attention.supports(query):
        return attention
    warnings.warn(
        f"redrop's attention uses its slow portable kernel for {query.dtype} on "
        f"{query.device.type}: the fast one takes float32 and bfloat16 on the CPU.",
        BackendWarning,
        stacklevel=4,
    )
    return attention_eager
