"""The weights themselves, before and after dropout, for heads somebody wants to look at."""

import pytest
import torch

from redrop.mask import Window, scale
from tests.kernels.attention_cases import attention, attention_eager, case, keep_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])
def test_weights_are_those_of_the_call(dtype, is_causal):
    c = case(2, 4, 20, 30, 16, Hkv=2, p=0.3, dtype=dtype, is_causal=is_causal)
    c = c.with_plan(window=Window((4, 9, 40, 90), (1, 3, 16, 5)))
    module = attention_eager if dtype == torch.float64 else attention
    out, normalizer = module.forward(c.inputs, c.plan)
    before, after = attention_eager.weights(c.query, c.key, None, normalizer, c.plan, heads=[3, 0])
    assert before.shape == after.shape == (2, 2, 20, 30)
    torch.testing.assert_close(before.sum(-1), torch.ones_like(before[..., 0]))
    keep = keep_of(c)[:, [3, 0]]
    assert torch.equal(after != 0, keep & (before != 0))
    right = torch.where(keep, before * scale(c.plan.threshold), 0.0)
    torch.testing.assert_close(after, right)
    value = c.value[:, [1, 0]].to(after.dtype)
    rounding = {} if dtype != torch.bfloat16 else {"rtol": 0.02, "atol": 0.02}
    torch.testing.assert_close((after @ value).to(dtype), out[:, [3, 0]], **rounding)


def test_masks_select_what_a_head_sees():
    mask = torch.rand(2, 4, 20, 30, generator=torch.Generator().manual_seed(0)) < 0.5
    mask[0, 1, 7] = False
    c = case(2, 4, 20, 30, 16, attn_mask=mask)
    _, normalizer = attention.forward(c.inputs, c.plan)
    before, _ = attention_eager.weights(c.query, c.key, mask, normalizer, c.plan, heads=[1])
    assert torch.equal(before[:, 0] != 0, mask[:, 1])
    assert not before[0, 0, 7].any()


def test_no_heads_give_no_weights():
    c = case(2, 4, 20, 30, 16)
    _, normalizer = attention.forward(c.inputs, c.plan)
    before, after = attention_eager.weights(c.query, c.key, None, normalizer, c.plan, heads=[])
    assert before.shape == after.shape == (2, 0, 20, 30)
