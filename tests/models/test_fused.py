"""The fused way and the separate calls drop the same elements; a hook shows which way it was."""

import pytest
import torch
from torch.nn import functional as F

from redrop.mask import keep_mask, mask_key, scale, threshold
from redrop.models.fused import add_dropped, dropped_gelu, is_fusable
from redrop.nn import AttentionDropout, Dropout, SiteModule, attach
from tests.models.networks import built, inputs

SHAPE = (3, 5, 24)
DTYPES = [torch.float32, torch.bfloat16, torch.float64]
WATCHED = ["decoder", "decoder-post", "vision", "modern"]


def drawn(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator).to(dtype).requires_grad_()


def site_of_step(p, step=4):
    model = torch.nn.Sequential(Dropout(p))  # the root of an attached model has a hook
    attach(model, seed=6).set_step(step, sample_offset=2)
    assert is_fusable(model[0])
    return model[0]


def kept(p, step=4):
    whole = (5, *SHAPE[1:])
    return torch.from_numpy(keep_mask(mask_key(6, step, "0"), p, whole))[2:]


def watch(model):
    for module in model.modules():
        if isinstance(module, SiteModule):
            module.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.25, 1.0])
def test_a_dropped_branch_is_added_where_the_reference_keeps_it(dtype, p):
    branch, residual = drawn(0, dtype), drawn(1, torch.promote_types(dtype, torch.float32))
    y = add_dropped(residual, branch, site_of_step(p))
    factor = 0.0 if p == 1 else scale(threshold(p))
    expected = residual + torch.where(kept(p), branch.to(residual.dtype) * factor, 0.0)
    assert y.dtype == residual.dtype
    torch.testing.assert_close(y, expected)
    assert torch.equal(y[~kept(p)], residual[~kept(p)])
    ours, theirs = (torch.autograd.grad(z.sin().sum(), (branch, residual)) for z in (y, expected))
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(ours[0] == 0, ~kept(p))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_no_pass_converts_the_branch_or_its_gradient(dtype):
    branch, residual = drawn(0, dtype), drawn(1)
    y = add_dropped(residual, branch, site_of_step(0.25))
    assert all(
        node.variable is leaf
        for (node, _), leaf in zip(y.grad_fn.next_functions, (branch, residual), strict=False)
    )
    y.backward(torch.ones_like(y))
    factor = torch.tensor(scale(threshold(0.25)), dtype=dtype)
    assert torch.equal(branch.grad, torch.where(kept(0.25), factor, torch.zeros_like(factor)))


def test_other_dtypes_meet_in_that_of_the_stream():
    branch, residual = drawn(0, torch.float32), drawn(1, torch.bfloat16)
    y = add_dropped(residual, branch, site_of_step(0.25))
    narrow = add_dropped(residual, branch.bfloat16(), site_of_step(0.25))
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, narrow)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.25, 1.0])
def test_the_activation_is_dropped_where_the_reference_drops_it(dtype, p):
    x = drawn(0, dtype)
    y = dropped_gelu(x, site_of_step(p))
    factor = 0.0 if p == 1 else scale(threshold(p))
    expected = torch.where(kept(p), F.gelu(x.double()) * factor, 0.0)
    assert y.dtype == dtype
    # bfloat16 has 8 bits: one rounding of the result is at most 2^-8 of it.
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(y.double(), expected, rtol=tolerance, atol=tolerance / 10)
    assert torch.equal(y != 0, kept(p) & (p < 1))


@pytest.mark.parametrize("is_watched", [False, True])
def test_each_way_is_one_use_of_the_site(is_watched):
    sites = [site_of_step(0.3), site_of_step(0.3)]
    if is_watched:
        watch(sites[0])
    else:
        add_dropped(drawn(0), drawn(1), sites[1])
    dropped_gelu(drawn(0), sites[0])
    assert [site.site.passes for site in sites] == [1, not is_watched]


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (Dropout(0.1), True),
        (Dropout(0.0), False),
        (Dropout(0.1).eval(), False),
        (watch(Dropout(0.1)), False),
        (torch.nn.Dropout(0.1), False),
        (AttentionDropout(0.1), False),
    ],
)
def test_a_site_is_fused_when_it_drops_and_is_what_it_seems(site, expected):
    assert is_fusable(site) == expected


@pytest.mark.parametrize("name", WATCHED)
@pytest.mark.parametrize("has_residual", [True, False])
def test_a_network_gives_the_same_either_way(name, has_residual):
    rates = {"feed_forward_hidden": 0.3, "feed_forward_residual": 0.3}
    if name != "modern":
        rates |= {"attention_weights": 0.3, "attention_residual": 0.3}
    ways = []
    for prepare in (lambda model: model, watch):
        model = prepare(built(name, residual=has_residual, **rates))
        attach(model, seed=6).set_step(1)
        y = model(inputs(name))
        y.square().sum().backward()
        ways.append((y, [parameter.grad for parameter in model.parameters()]))
    torch.testing.assert_close(*ways, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", WATCHED)
def test_under_autocast_a_network_gives_about_the_same_either_way(name):
    rates = {"feed_forward_hidden": 0.3, "feed_forward_residual": 0.3}
    outputs = []
    for prepare in (lambda model: model, watch):
        model = prepare(built(name, **rates))
        attach(model, seed=6).set_step(1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs.append(model(inputs(name)).float())
    scale_of_it = outputs[1].abs().max().item()
    assert (outputs[0] - outputs[1]).abs().max().item() < 0.03 * scale_of_it


@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("is_training", [False, True])
def test_a_watched_or_changed_sub_layer_is_called(p, is_training):
    model = built("decoder", feed_forward_residual=p).train(is_training)
    attach(model, seed=0)
    calls = []
    model.blocks[1].feed_forward.register_forward_hook(lambda *_: calls.append("hook"))
    feed_forward = model.blocks[0].feed_forward
    feed_forward.forward = lambda x: calls.append("forward") or torch.zeros_like(x)
    model(inputs("decoder"))
    assert calls == ["forward", "hook"]
