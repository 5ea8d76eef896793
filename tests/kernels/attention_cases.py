"""Attention calls, and what float64 arithmetic with the reference's masks says about them."""

from dataclasses import dataclass, replace
from types import ModuleType

import torch
from torch import Tensor

from redrop import _core
from redrop.kernels import attention, attention_eager
from redrop.kernels.attention_plan import AttentionPlan
from redrop.kernels.attention_tensors import AttentionInputs
from redrop.mask import keep_mask, scale, threshold

ISA = tuple(_core.attention_isa())
KEY = 0x8B1EF9904FBD598E
NAMES = ("out", "logsumexp", "grad_query", "grad_key", "grad_value", "grad_mask")


@dataclass(frozen=True, kw_only=True)
class Case:
    query: Tensor
    key: Tensor
    value: Tensor
    grad_out: Tensor
    plan: AttentionPlan
    attn_mask: Tensor | None = None

    @property
    def inputs(self) -> AttentionInputs:
        return AttentionInputs(self.query, self.key, self.value, self.attn_mask)

    def with_plan(self, **changes: object) -> "Case":
        return replace(self, plan=replace(self.plan, **changes))


def case(
    B: int = 2,
    H: int = 2,
    T: int = 65,
    S: int = 129,
    D: int = 64,
    *,
    Hkv: int | None = None,
    Dv: int | None = None,
    dtype: torch.dtype = torch.float32,
    attn_mask: Tensor | None = None,
    p: float = 0.1,
    is_causal: bool = False,
    isa: str = "",
    seed: int = 0,
) -> Case:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    Hkv, Dv = H if Hkv is None else Hkv, D if Dv is None else Dv
    plan = AttentionPlan(
        scale=max(D, 1) ** -0.5, is_causal=is_causal, key=KEY, threshold=threshold(p), isa=isa
    )
    return Case(
        query=normal(B, H, T, D),
        key=normal(B, Hkv, S, D),
        value=normal(B, Hkv, S, Dv),
        grad_out=normal(B, H, T, Dv),
        attn_mask=attn_mask,
        plan=plan,
    )


def keep_of(c: Case) -> Tensor:
    """The reference's keep mask of a call that is not packed."""
    shape = (*c.query.shape[:3], c.key.shape[2])
    p = c.plan.threshold / 2**32
    return torch.from_numpy(keep_mask(c.plan.key, p, shape, window=c.plan.window))


def plain(c: Case, dtype: torch.dtype = torch.float64) -> tuple[Tensor | None, ...]:
    """Attention as a few lines of PyTorch, gradients by autograd."""
    inputs = [x.detach().to(dtype).requires_grad_() for x in (c.query, c.key, c.value)]
    query, key, value = inputs
    group = query.shape[1] // key.shape[1]
    scores = query @ key.repeat_interleave(group, dim=1).mT * c.plan.scale
    mask = c.attn_mask
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        mask = mask.detach().to(dtype).requires_grad_()
        inputs.append(mask)
        scores = scores + mask
    if c.plan.is_causal:
        past = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~past, -torch.inf)
    # A row that sees nothing is defined to give zeros, in values and in gradients.
    blind = scores.isneginf().all(-1, keepdim=True)
    weights = scores.masked_fill(blind, 0.0).softmax(-1).masked_fill(blind, 0.0)
    dropped = torch.where(keep_of(c), weights * scale(c.plan.threshold), 0.0)
    out = dropped.to(dtype) @ value.repeat_interleave(group, dim=1)
    grads = torch.autograd.grad(out, inputs, c.grad_out.to(dtype))
    results = (out.detach(), scores.detach().logsumexp(-1), *grads)
    return (*results, *(None,) * (6 - len(results)))


def run(c: Case, module: ModuleType = attention) -> tuple[Tensor | None, ...]:
    """What the kernels say: out, logsumexp, and the four gradients."""
    result = module.forward(c.inputs, c.plan)
    wants_mask = c.attn_mask is not None and c.attn_mask.is_floating_point()
    grads = module.backward(*(c.grad_out, c.inputs, result, c.plan), needs_mask_gradient=wants_mask)
    out, normalizer = result
    logsumexp = normalizer[..., 0].double() + normalizer[..., 1].double().log()
    return out, logsumexp, *grads


def _cancellation(c: Case, out: Tensor, exact_out: Tensor) -> float:
    """Bound what grad_out . value - grad_out . out leaves where it should be nothing (one key).

    The two sums are taken in different orders, each off by less than eps / 2 times the sum of its
    terms' sizes, and `out` was rounded to its dtype. Plain PyTorch keeps the weights instead.
    """
    group = c.query.shape[1] // c.value.shape[1]
    grad = c.grad_out.double()
    terms = (grad.abs() @ c.value.double().abs().repeat_interleave(group, dim=1).mT).max()
    rounded = (grad * (out.double() - exact_out)).sum(-1).abs().max()
    off = torch.finfo(torch.float32).eps / 2 * terms + rounded
    factor = max(c.query.abs().max().item(), c.key.abs().max().item()) * abs(c.plan.scale)
    B, H, T, _ = c.query.shape
    rows = T * group / c.key.shape[2]  # that share a key
    if c.attn_mask is not None:
        rows = max(rows, B * H * T / c.attn_mask.shape[:-1].numel())
    return off.item() * max(1.0, factor) * max(1.0, rows)


def check(c: Case, module: ModuleType = attention) -> None:
    """At most twice the error of plain PyTorch in the same dtype, both against float64."""
    exact, theirs, ours = plain(c), plain(c, c.query.dtype), run(c, module)
    for name, right, reference, result in zip(NAMES, exact, theirs, ours, strict=True):
        if right is None:
            assert result is None, name
            continue
        assert result is not None
        assert reference is not None
        assert result.shape == right.shape, name
        if right.numel() == 0:
            continue
        assert torch.equal(result.isneginf(), right.isneginf()), name
        finite = right.isfinite()
        right, result = right[finite], result.double()[finite]
        if right.numel() == 0:
            continue
        error = (result - right).abs().max().item()
        allowed = 2 * (reference.double()[finite] - right).abs().max().item()
        # Rounding of float32 sums, and of the result itself, which plain PyTorch is spared where
        # its sum happens to be exact.
        size = right.abs().max().item()
        rounding = 4 * torch.finfo(torch.float32).eps * max(1.0, size)
        if name in ("grad_query", "grad_key", "grad_mask"):
            rounding += _cancellation(c, ours[0], exact[0])
        if c.query.dtype == torch.bfloat16:
            rounding += torch.finfo(torch.bfloat16).eps / 2 * size
        assert error <= allowed + rounding, (name, error, allowed, rounding)


__all__ = ["ISA", "KEY", "Case", "attention", "attention_eager", "case", "check", "keep_of"]
