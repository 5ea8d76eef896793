import pytest
import torch

from redrop.errors import UsageError
from redrop.mask import Window
from redrop.ops.attention import attention
from redrop.ops.attention_weights import attention_weights, attention_with_weights
from tests.ops.attention_formula import KEY, SLOW, drop, reference_keep, weights_of

WINDOW = Window((5, 9, 8, 20), (2, 3, 1, 6))


def inputs(dtype=torch.float32, G=2):
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 4, 5, 8), (2, G, 7, 8), (2, G, 7, 6))
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def masks():
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randn(2, 4, 5, 7, generator=generator)
    return {"none": None, "boolean": numbers > -0.5, "additive": numbers, "row": numbers[0, 0, 0]}


@pytest.mark.parametrize("heads", [None, [0], [3, 1], [2, 2], []], ids=str)
@pytest.mark.parametrize("kind", masks())
@pytest.mark.parametrize("window", [None, WINDOW], ids=["whole", "part"])
def test_weights_of_chosen_heads_are_those_of_the_formula(heads, kind, window):
    query, key, _ = inputs()
    mask = masks()[kind]
    before, after = attention_weights(
        query, key, mask, dropout_p=0.4, mask_key=KEY, heads=heads, window=window
    )
    chosen = range(4) if heads is None else heads
    wide = None if mask is None or mask.dtype == torch.bool else mask.double()
    exact = weights_of(query.double(), key.double(), mask if wide is None else wide)
    keep = reference_keep(0.4, exact.shape, window=window)
    torch.testing.assert_close(before, exact[:, chosen].float())
    torch.testing.assert_close(after, drop(exact, keep, 0.4)[:, chosen].float())
    assert torch.equal(after != 0, (keep & (exact > 0))[:, chosen])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.filterwarnings(SLOW)
def test_they_are_the_weights_of_the_fused_call(dtype):
    query, key, value = inputs(dtype, G=4)
    where = {"is_causal": True, "scale": 0.4, "dropout_p": 0.3, "mask_key": KEY}
    before, after = attention_weights(query, key, **where)
    assert before.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(before.sum(-1), torch.ones_like(before.sum(-1)))
    out = attention(query, key, value, **where)
    # The fused kernels round bfloat16 weights before the last product.
    tolerance = {torch.bfloat16: 0.01, torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    expected = (after @ value.to(after.dtype)).to(dtype)
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)


def test_looking_asks_for_no_gradient():
    query, key, _ = (x.requires_grad_() for x in inputs())
    assert not any(x.requires_grad for x in attention_weights(query, key, dropout_p=0.4))


def test_a_query_that_sees_nothing_has_no_weights():
    query, key, _ = inputs()
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[2] = False
    before, after = attention_weights(query, key, mask, dropout_p=0.4, mask_key=KEY)
    assert not before[:, :, 2].any()
    assert not after[:, :, 2].any()


@pytest.mark.parametrize("heads", [[4], [-1]])
def test_a_head_that_does_not_exist_is_refused(heads):
    query, key, _ = inputs()
    with pytest.raises(UsageError, match="0 to 3; got"):
        attention_weights(query, key, heads=heads)


@pytest.mark.parametrize("kind", masks())
@pytest.mark.parametrize("window", [None, WINDOW], ids=["whole", "part"])
def test_weights_to_compute_with_come_with_their_gradient(kind, window):
    tensors = inputs(G=4)
    mask = masks()[kind]
    results = []
    for dtype in (torch.float32, torch.float64):
        at = [x.to(dtype).requires_grad_() for x in tensors]
        add = mask if mask is None or mask.dtype == torch.bool else mask.to(dtype)
        if dtype == torch.float32:
            out, weights = attention_with_weights(
                *at, add, 0.4, mask_key=KEY, window=window, is_causal=mask is None
            )
        else:
            keep = reference_keep(0.4, (2, 4, 5, 7), window=window)
            weights = drop(weights_of(*at[:2], add, is_causal=mask is None), keep, 0.4)
            out = weights @ at[2]
        loss = out.square().sum() + weights.pow(3).sum()
        results.append([out, weights, *torch.autograd.grad(loss, at)])
    for ours, exact in zip(*results, strict=True):
        torch.testing.assert_close(ours, exact.float(), rtol=1e-4, atol=1e-5)


def test_both_ways_to_attend_agree():
    tensors = inputs(G=4)
    out, _ = attention_with_weights(*tensors, None, 0.4, True, 0.3, mask_key=KEY)
    fused = attention(*tensors, None, 0.4, True, 0.3, mask_key=KEY)
    torch.testing.assert_close(out, fused)
