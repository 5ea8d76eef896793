import pytest
import torch

from redrop.mask import keep_mask, mask_key
from redrop.models.attention import attend, causal_weights, softmax_weights
from redrop.nn import AttentionDropout, attach


def qkv(dtype=torch.float32, shape=(2, 3, 7, 5)):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for _ in range(3)]


def exact(q, k, v, is_causal):
    q, k, v = (x.detach().double() for x in (q, k, v))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    past = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return scores.masked_fill(~past & is_causal, float("-inf")).softmax(-1) @ v


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("length", [1, 7, 33])
@pytest.mark.parametrize("is_causal", [True, False])
def test_without_dropout_attention_is_softmax_of_scaled_products(dtype, length, is_causal):
    q, k, v = qkv(dtype, (2, 3, length, 5))
    out = attend(q, k, v, AttentionDropout(0.0), is_causal=is_causal)
    assert out.dtype == dtype
    tolerance = {torch.float32: 2e-6, torch.bfloat16: 2e-2}[dtype]
    torch.testing.assert_close(out.double(), exact(q, k, v, is_causal), rtol=0, atol=tolerance)


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("is_causal", [True, False])
def test_the_fused_and_the_plain_way_agree_in_value_and_gradient(is_training, is_causal):
    q, k, v = qkv()
    site = AttentionDropout(0.4).train(is_training)
    torch.manual_seed(3)
    fused = attend(q, k, v, site, is_causal=is_causal)
    torch.manual_seed(3)
    weights = softmax_weights(q, k, is_causal=is_causal)
    plain = site(weights) @ v
    assert torch.allclose(plain, weights @ v) != is_training
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(
        torch.autograd.grad(fused.square().sum(), (q, k, v)),
        torch.autograd.grad(plain.square().sum(), (q, k, v)),
    )


def test_dropout_acts_on_the_weights_after_the_softmax():
    q, k, v = qkv()
    site = AttentionDropout(0.5)
    attach(site, seed=3).set_step(2)
    keep = keep_mask(mask_key(3, 2, "AttentionDropout"), 0.5, (2, 3, 7, 7))
    weights = torch.where(torch.from_numpy(keep), causal_weights(q, k) * 2, 0.0)
    torch.testing.assert_close(attend(q, k, v, site), weights @ v)


def test_a_non_contiguous_head_layout_changes_nothing():
    q, k, v = qkv()
    strided = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    assert not strided[0].is_contiguous()
    torch.testing.assert_close(causal_weights(*strided[:2]), causal_weights(q, k))
    site = AttentionDropout(0.5).eval()
    torch.testing.assert_close(attend(*strided, site), attend(q, k, v, site))


@pytest.mark.parametrize("is_causal", [False, True])
def test_another_module_in_the_sites_place_is_called_with_the_weights(is_causal):
    q, k, v = qkv()
    site = torch.nn.Dropout(0.4)
    torch.manual_seed(3)
    mixed = attend(q, k, v, site, is_causal=is_causal)
    torch.manual_seed(3)
    torch.testing.assert_close(mixed, site(softmax_weights(q, k, is_causal=is_causal)) @ v)
