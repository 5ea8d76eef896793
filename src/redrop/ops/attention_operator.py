"""Attention as an operator, for all that traces or wraps tensors: schema, kernel, fake, backward.

Beside `redrop::dropout` this is the second operator whose key is a tensor, so that a compiled graph
serves every step. A fake has to promise strides, so the operator fixes them, whichever kernel runs:
the output is (B, T, H, Dv) in memory, packed (tokens, H, Dv), and a gradient lies as its tensor
does. Packed sequences are tensors too: a graph serves any lengths, and checks them as it runs.

Shape legend: B batch, H heads, T query tokens, S key tokens, D head size.
"""

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from redrop.kernels.attention_dispatch import select_attention
from redrop.kernels.attention_plan import AttentionPlan, Packed
from redrop.kernels.attention_tensors import AttentionInputs, AttentionResult, empty_normalizer
from redrop.ops.attention_composite import composite_gradients
from redrop.ops.key import as_key_tensor
from redrop.ops.window import Sizes, from_schema, to_schema

_library = torch.library.Library("redrop", "FRAGMENT")
_CALL = (
    "Tensor query, Tensor key, Tensor value, Tensor? attn_mask, Tensor mask_key, int threshold, "
    "bool is_causal, float scale, SymInt[]? sizes, SymInt[]? offset, Tensor? packed_queries, "
    "Tensor? packed_keys, SymInt max_queries, SymInt max_keys"
)
_library.define(f"attention({_CALL}) -> (Tensor out, Tensor normalizer)")
_library.define(
    "attention_backward(Tensor grad_out, Tensor out, Tensor normalizer, bool needs_mask_gradient, "
    f"{_CALL}) -> Tensor[]"
)


_TENSORS: Final = (*AttentionInputs._fields, "mask_key", "packed_queries", "packed_keys")


class AttentionCall(NamedTuple):
    """The arguments of the operator, as its schema has them."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None
    mask_key: Tensor
    threshold: int
    is_causal: bool
    scale: float
    sizes: Sizes
    offset: Sizes
    packed_queries: Tensor | None
    packed_keys: Tensor | None
    max_queries: int
    max_keys: int

    @property
    def inputs(self) -> AttentionInputs:
        """What is attended with and to."""
        return AttentionInputs(self.query, self.key, self.value, self.attn_mask)

    def plan(self) -> AttentionPlan:
        """Return the plan of the call; it reads the key of the mask and the packed totals."""
        return AttentionPlan(
            scale=self.scale,
            is_causal=self.is_causal,
            key=int(self.mask_key) % 2**64,
            threshold=self.threshold,
            window=from_schema(self.sizes, self.offset),
            packed=self._packed(),
        )

    def _packed(self) -> Packed | None:
        if self.packed_queries is None or self.packed_keys is None:
            return None
        return Packed(
            queries=self.packed_queries,
            keys=self.packed_keys,
            max_queries=self.max_queries,
            max_keys=self.max_keys,
        )


def as_call(inputs: AttentionInputs, mask_key: int | Tensor, plan: AttentionPlan) -> AttentionCall:
    """Return the arguments of the operator.

    Args:
        inputs: Tensors of any kind.
        mask_key: Of the dropout mask, in place of the plan's.
        plan: Of the call.
    """
    sizes, offset = to_schema(plan.window)
    packed = plan.packed
    return AttentionCall(
        *inputs,
        mask_key=as_key_tensor(mask_key),
        threshold=plan.threshold,
        is_causal=plan.is_causal,
        scale=plan.scale,
        sizes=sizes,
        offset=offset,
        packed_queries=None if packed is None else packed.queries,
        packed_keys=None if packed is None else packed.keys,
        max_queries=0 if packed is None else packed.max_queries,
        max_keys=0 if packed is None else packed.max_keys,
    )


@torch.library.impl(_library, "attention", "CompositeExplicitAutograd")
def _forward(*arguments: Any) -> tuple[Tensor, Tensor]:
    call = AttentionCall(*arguments)
    out, normalizer = select_attention(call.query).forward(call.inputs, call.plan())
    if call.packed_queries is None:
        return out.transpose(1, 2).contiguous().transpose(1, 2), normalizer
    return out.contiguous(), normalizer


def _fake_forward(*arguments: Any) -> tuple[Tensor, Tensor]:
    call = AttentionCall(*arguments)
    query, Dv = call.query, call.value.shape[-1]
    if call.packed_queries is None:
        B, H, T, _ = query.shape
        out = query.new_empty(B, T, H, Dv).transpose(1, 2)
    else:
        out = query.new_empty(*query.shape[:-1], Dv)
    return out, empty_normalizer(query)


@torch.library.impl(_library, "attention_backward", "CompositeExplicitAutograd")
def _run_backward(
    grad_out: Tensor, out: Tensor, normalizer: Tensor, needs_mask_gradient: bool, *arguments: Any
) -> list[Tensor]:
    call = AttentionCall(*arguments)
    gradients = select_attention(call.query).backward(
        *(grad_out, call.inputs, AttentionResult(out, normalizer), call.plan()),
        needs_mask_gradient=needs_mask_gradient,
    )
    return [
        _laid_out_like(x, gradient)
        for x, gradient in zip(call.inputs, gradients, strict=True)
        if x is not None and gradient is not None
    ]


def _laid_out_like(x: Tensor, gradient: Tensor) -> Tensor:
    promised = torch.empty_like(x)
    return gradient if gradient.stride() == promised.stride() else promised.copy_(gradient)


def _fake_backward(
    grad_out: Tensor, out: Tensor, normalizer: Tensor, needs_mask_gradient: bool, *arguments: Any
) -> list[Tensor]:
    *tensors, attn_mask = AttentionCall(*arguments).inputs
    wanted = [*tensors, attn_mask] if needs_mask_gradient else tensors
    return [torch.empty_like(x) for x in wanted if x is not None]


def keep(ctx: Any, call: AttentionCall, beside: tuple[Tensor, ...]) -> None:
    """Keep a call, and tensors beside it, for a backward; `kept` gives them back."""
    ctx.save_for_backward(*beside, *(getattr(call, name) for name in _TENSORS))
    without: dict[str, Any] = dict.fromkeys(_TENSORS)
    ctx.call = call._replace(**without)


def kept(ctx: Any) -> tuple[AttentionCall, tuple[Tensor, ...]]:
    """Return what `keep` has kept."""
    saved = ctx.saved_tensors
    beside, tensors = saved[: -len(_TENSORS)], saved[-len(_TENSORS) :]
    return ctx.call._replace(**dict(zip(_TENSORS, tensors, strict=True))), beside


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    keep(ctx, AttentionCall(*inputs), output)


def _backward(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    call, result = kept(ctx)
    needs = ctx.needs_input_grad[: len(call.inputs)]
    gradients: list[Tensor | None]
    if torch.is_grad_enabled():  # to be differentiated once more: through plain PyTorch
        gradients = composite_gradients(call.inputs, grad_out, call.plan(), needs)
    else:
        gradients = torch.ops.redrop.attention_backward(grad_out, *result, needs[3], *call)
    return *gradients, *(None,) * (len(call) - len(gradients))


torch.library.register_fake("redrop::attention", _fake_forward, lib=_library)
torch.library.register_fake("redrop::attention_backward", _fake_backward, lib=_library)
torch.library.register_autograd(
    "redrop::attention", _backward, setup_context=_setup_context, lib=_library
)
