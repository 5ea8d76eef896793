"""The door to the native attention kernels (csrc/attention.h): checks, allocation, calls.

Nothing behind this file looks at a tensor again: pointers, strides and sizes cross as integers.
Legend: B batch (or packed sequences), H heads, T query tokens, S key tokens, D head size.
"""

import torch
from torch import Tensor

from redrop import _core
from redrop.errors import UsageError
from redrop.kernels.attention_plan import AttentionPlan
from redrop.kernels.attention_tensors import (
    AttentionGradients,
    AttentionInputs,
    AttentionResult,
    empty_normalizer,
)
from redrop.mask.threshold import ONE, scale
from redrop.mask.window import check_window, whole

STORAGE = {torch.float32: 0, torch.bfloat16: 1}
NO_MASK, BOOLEAN_MASK, ADDITIVE_MASK = 0, 1, 2


def supports(query: Tensor) -> bool:
    """Return whether the native kernels take tensors like this one."""
    return query.device.type == "cpu" and query.dtype in STORAGE


def forward(inputs: AttentionInputs, plan: AttentionPlan) -> AttentionResult:
    """Attend with dropped weights.

    out = (keep_mask * softmax(scale * query key^T + attn_mask) / (1 - p)) value; a row that sees
    no key gives zeros.

    Raises:
        UsageError: Shapes or dtypes that do not fit, or a window that the weights leave.
    """
    inputs = _with_dense_rows(inputs)
    params = _params(inputs, plan)
    query, value_size = inputs.query, inputs.value.shape[-1]
    if plan.packed is None:
        B, H, T, _ = query.shape
        # (B, T, H, Dv) in memory: joining the heads afterwards is then free.
        out = query.new_empty(B, T, H, value_size).transpose(1, 2)
    else:
        tokens, H, _ = query.shape
        out = query.new_empty(tokens, H, value_size)
    normalizer = empty_normalizer(query)
    params.out, params.normalizer = _rows(out), _rows(normalizer)
    _core.attention_forward(params, plan.isa)
    if plan.threshold == ONE:
        out.zero_()
    return AttentionResult(out, normalizer)


def backward(
    grad_out: Tensor,
    inputs: AttentionInputs,
    result: AttentionResult,
    plan: AttentionPlan,
    *,
    needs_mask_gradient: bool = False,
) -> AttentionGradients:
    """Return the gradients of query, key, value and, where asked, of an additive attn_mask.

    With W the weights after dropout and dS the gradient of the scores:
    dV = W^T dO, dS = weights * (keep_mask / (1 - p) * dO V^T - rowsum(dO * out)),
    dQ = scale * dS K, dK = scale * dS^T Q, and the mask's gradient is dS summed over what it was
    broadcast over. Everything is rebuilt from the normalizer and the integers of `plan`.
    """
    grad_query, grad_key, grad_value = (_gradient_like(x) for x in inputs[:3])
    attn_mask = inputs.attn_mask if needs_mask_gradient else None
    if plan.threshold == ONE:
        grad_mask = None if attn_mask is None else torch.zeros_like(attn_mask)
        return AttentionGradients(
            grad_query.zero_(), grad_key.zero_(), grad_value.zero_(), grad_mask
        )
    inputs = _with_dense_rows(inputs)
    out, grad_out = _dense(result.out), _dense(grad_out)
    params = _params(inputs, plan)
    params.out, params.normalizer = _rows(out), _rows(result.normalizer)
    params.grad_out, params.grad_query = _rows(grad_out), _rows(grad_query)
    params.grad_key, params.grad_value = _rows(grad_key), _rows(grad_value)
    _core.attention_backward(params, plan.isa)
    grad_mask = None if attn_mask is None else _mask_gradient(params, attn_mask, plan)
    return AttentionGradients(grad_query, grad_key, grad_value, grad_mask)


def _mask_gradient(params: _core.AttentionParams, attn_mask: Tensor, plan: AttentionPlan) -> Tensor:
    sizes = (1,) * (4 - attn_mask.ndim) + tuple(attn_mask.shape)
    total = torch.zeros(sizes, dtype=torch.float32)
    params.grad_mask = total.data_ptr()
    (
        params.grad_mask_batch,
        params.grad_mask_head,
        params.grad_mask_query,
        params.grad_mask_key,
    ) = (0 if size == 1 else step for size, step in zip(sizes, total.stride(), strict=True))
    _core.attention_mask_gradient(params, plan.isa)
    return total.to(attn_mask.dtype).view(attn_mask.shape)


def _with_dense_rows(inputs: AttentionInputs) -> AttentionInputs:
    query, key, value, attn_mask = inputs
    return AttentionInputs(_dense(query), _dense(key), _dense(value), attn_mask)


def _dense(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 or x.shape[-1] <= 1 else x.contiguous()


def _gradient_like(x: Tensor) -> Tensor:
    """Make room in the memory order of `x`, unless its last dimension is not the innermost."""
    if x.stride(-1) == 1:
        return torch.empty_like(x)
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _rows(x: Tensor) -> _core.AttentionTensor:
    """Strides of (B, H, T, D), or of (T, H, D) where sequences are packed."""
    if x.ndim == 4:
        return _core.AttentionTensor(x.data_ptr(), x.stride(0), x.stride(1), x.stride(2))
    return _core.AttentionTensor(x.data_ptr(), 0, x.stride(1), x.stride(0))


def _params(inputs: AttentionInputs, plan: AttentionPlan) -> _core.AttentionParams:
    _check_tensors(inputs, plan)
    query, key, value, attn_mask = inputs
    heads = -3 if plan.packed is None else -2
    params = _core.AttentionParams()
    params.query, params.key, params.value = _rows(query), _rows(key), _rows(value)
    params.heads, params.kv_heads = query.shape[heads], key.shape[heads]
    params.head_size, params.value_size = query.shape[-1], value.shape[-1]
    if plan.packed is None:
        params.batch, params.queries, params.keys = query.shape[0], query.shape[2], key.shape[2]
    else:
        packed = plan.packed
        params.batch = len(packed.queries) - 1
        params.queries, params.keys = packed.max_queries, packed.max_keys
        params.cumulative_queries = packed.queries.data_ptr()
        params.cumulative_keys = packed.keys.data_ptr()
    params.storage = STORAGE[query.dtype]
    params.is_causal, params.scale = plan.is_causal, plan.scale
    params.threads = torch.get_num_threads()
    shape = (params.batch, params.heads, params.queries, params.keys)
    _set_dropout(params, shape, plan)
    if attn_mask is not None:
        _set_mask(params, shape, attn_mask, query.dtype)
    return params


def _set_dropout(
    params: _core.AttentionParams, shape: tuple[int, ...], plan: AttentionPlan
) -> None:
    window = whole(shape) if plan.window is None else plan.window
    check_window(window, shape)
    if plan.threshold in (0, ONE):  # nothing to decide; p = 1 is the caller's business
        return
    params.has_dropout = True
    params.dropout_key, params.threshold = plan.key, plan.threshold
    params.dropout_scale = scale(plan.threshold)
    params.heads_global = window.sizes[1]
    params.sample_offset, params.head_offset, params.query_offset, params.key_offset = window.offset


def _set_mask(
    params: _core.AttentionParams, shape: tuple[int, ...], attn_mask: Tensor, dtype: torch.dtype
) -> None:
    try:
        wide = attn_mask.expand(shape)
    except RuntimeError as error:
        raise UsageError(
            f"`attn_mask` must broadcast to (B, H, T, S) = {shape}; got shape "
            f"{tuple(attn_mask.shape)}. Add dimensions of size 1 where it is shared."
        ) from error
    if attn_mask.dtype not in (torch.bool, dtype):
        raise UsageError(
            f"`attn_mask` must be boolean or of query's dtype {dtype}; got {attn_mask.dtype}. "
            "Convert it."
        )
    params.mask_kind = BOOLEAN_MASK if attn_mask.dtype == torch.bool else ADDITIVE_MASK
    params.mask = attn_mask.data_ptr()
    params.mask_batch, params.mask_head, params.mask_query, params.mask_key = (
        0 if wide.shape[dim] == 1 else wide.stride(dim) for dim in range(4)
    )


def _check_tensors(inputs: AttentionInputs, plan: AttentionPlan) -> None:
    if plan.packed is not None:
        plan.packed.check()  # the totals become addresses; they may have been traced, or changed
    dims = 4 if plan.packed is None else 3
    query, key, value, _ = inputs
    for name, x in zip(AttentionInputs._fields, (query, key, value), strict=False):
        if x.ndim != dims or not supports(x) or x.dtype != query.dtype:
            raise UsageError(
                f"`{name}` must be a float32 or bfloat16 CPU tensor of {dims} dimensions, of "
                f"query's dtype; got {x.dtype} {tuple(x.shape)} on {x.device}. Convert or "
                "reshape it."
            )
    heads, tokens = (1, 2) if plan.packed is None else (1, 0)
    fits = (
        key.shape[:-1] == value.shape[:-1]
        and query.shape[-1] == key.shape[-1]
        and (plan.packed is not None or query.shape[0] == key.shape[0])
        and (
            query.shape[heads] == key.shape[heads]
            or (key.shape[heads] > 0 and query.shape[heads] % key.shape[heads] == 0)
        )
    )
    if fits and plan.packed is not None:
        fits = query.shape[tokens] == int(plan.packed.queries[-1]) and key.shape[tokens] == int(
            plan.packed.keys[-1]
        )
    if not fits:
        raise UsageError(
            "Query (B, H, T, D), key (B, Hkv, S, D) and value (B, Hkv, S, Dv) must fit together, "
            f"H a multiple of Hkv; got {tuple(query.shape)}, {tuple(key.shape)} and "
            f"{tuple(value.shape)}. Check the order of the dimensions."
        )
