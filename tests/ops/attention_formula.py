"""Attention as its formula says it, with the reference's masks, for tests to compare with."""

import torch
from torch import Tensor

from redrop.mask import keep_mask, scale, threshold

KEY = 0x8B1EF9904FBD598E
SLOW = "ignore:redrop's attention uses its slow portable kernel"


def reference_keep(p: float, shape, key: int = KEY, **where) -> Tensor:
    return torch.from_numpy(keep_mask(key, p, tuple(shape), **where))


def weights_of(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None = None,
    *,
    is_causal: bool = False,
    factor: float | None = None,
) -> Tensor:
    """softmax(factor · Q Kᵀ + mask); a row that sees nothing is zero. Any leading dimensions."""
    if query.dim() > 2 and key.shape[-3] != query.shape[-3]:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    scores = query @ key.mT * (max(query.shape[-1], 1) ** -0.5 if factor is None else factor)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = torch.where(attn_mask, scores, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    if is_causal:
        past = torch.arange(scores.shape[-1]) <= torch.arange(scores.shape[-2]).unsqueeze(-1)
        scores = torch.where(past, scores, -torch.inf)
    blind = (scores == -torch.inf).all(-1, keepdim=True)
    return torch.where(blind, 0.0, torch.where(blind, 0.0, scores).softmax(-1))


def drop(weights: Tensor, keep: Tensor, p: float) -> Tensor:
    return torch.where(keep, weights * scale(threshold(p)), 0.0).to(weights.dtype)


def formula(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *,
    p: float = 0.0,
    keep: Tensor | None = None,
    is_causal: bool = False,
    factor: float | None = None,
) -> Tensor:
    """(keep · softmax(factor · Q Kᵀ + mask) / (1 - p)) V in the dtype of its arguments."""
    weights = weights_of(query, key, attn_mask, is_causal=is_causal, factor=factor)
    keep = reference_keep(p, weights.shape) if keep is None else keep
    if value.dim() > 2 and value.shape[-3] != weights.shape[-3]:
        value = value.repeat_interleave(weights.shape[-3] // value.shape[-3], dim=-3)
    return drop(weights, keep, p) @ value


def left_by_rounding_the_output(
    tensors: list[Tensor], out: Tensor, upstream: Tensor, weights: Tensor, factor: float, eps: float
) -> tuple[float, float, float]:
    """Bound what fused backwards add to the gradients of query, key and value.

    They take Σ_j weight · grad of each row from its output, Σ_d upstream · out, as torch's fused
    kernels do: the output was rounded to the storage type, and the two sums have different orders.
    Everything here in float64.
    """
    query, key, _ = tensors
    row = eps * (upstream * out).abs().sum(-1, keepdim=True) * abs(factor)
    largest_key = key.abs().amax().item() if key.numel() else 0.0
    by_key = (weights.mT @ (row * query.abs())).unflatten(1, (key.shape[1], -1)).sum(2)
    bounds = (row * largest_key, by_key)
    return *(x.amax().item() if x.numel() else 0.0 for x in bounds), 0.0


def assert_no_worse(ours: Tensor, theirs: Tensor, exact: Tensor, slack: float = 0.0) -> None:
    """At most twice the error of the formula in the same dtype, both measured against float64."""
    assert ours.shape == exact.shape
    if exact.numel() == 0:
        return
    error = (ours.double() - exact).abs().max().item()
    allowed = slack + 2 * (theirs.double() - exact).abs().max().item()
    # Where the formula happens to be exact (one key), a few roundings of sums of its size remain.
    size = max(1.0, exact.abs().max().item())
    allowed += 16 * torch.finfo(torch.float32).eps * size
    if ours.dtype != torch.float32:
        allowed += torch.finfo(ours.dtype).eps / 2 * size
    assert error <= allowed, (error, allowed)
