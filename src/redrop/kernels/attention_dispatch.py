"""Which attention kernel runs, and why."""

import warnings
from typing import Protocol

from torch import Tensor

from redrop.kernels import attention_eager
from redrop.kernels.attention_plan import AttentionPlan
from redrop.kernels.attention_tensors import AttentionGradients, AttentionInputs, AttentionResult
from redrop.kernels.dispatch import BackendWarning

try:
    from redrop.kernels import attention
except ImportError:  # never built: redrop.kernels.dispatch says so for every kernel
    attention = None  # type: ignore[assignment]


class AttentionKernel(Protocol):
    """What every attention kernel offers; see `redrop.kernels.attention`."""

    def forward(self, inputs: AttentionInputs, plan: AttentionPlan) -> AttentionResult:
        """Attend."""

    def backward(
        self,
        grad_out: Tensor,
        inputs: AttentionInputs,
        result: AttentionResult,
        plan: AttentionPlan,
        *,
        needs_mask_gradient: bool = False,
    ) -> AttentionGradients:
        """Return the gradients of the inputs."""


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
