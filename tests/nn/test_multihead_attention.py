"""The attention layer against PyTorch's own."""

import copy
import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.modules.transformer import Transformer

from redrop.errors import UsageError
from redrop.nn import MultiheadAttention, attach
from tests.nn.multihead_cases import (
    SEED,
    B,
    C,
    H,
    Model,
    P,
    T,
    agree,
    arguments,
    attached,
    gradients,
    itself,
    torchs_twin,
    with_mask,
)
from tests.ops.attention_formula import SLOW

# torch's layer warns of masks of two kinds, and so does ours in eval mode, being torch's then.
two_kinds = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

constructors = st.fixed_dictionaries(
    {
        "bias": st.booleans(),
        "add_bias_kv": st.booleans(),
        "add_zero_attn": st.booleans(),
        "kdim": st.sampled_from([None, 4]),
        "vdim": st.sampled_from([None, 7]),
        "batch_first": st.booleans(),
    }
)

calls = st.fixed_dictionaries(
    {
        "inputs": st.sampled_from(["one", "two", "three"]),
        "is_batched": st.booleans(),
        "padding": st.sampled_from([None, "boolean", "additive"]),
        "mask": st.sampled_from([None, "boolean", "additive", "per head", "hint"]),
        "need_weights": st.booleans(),
        "average_attn_weights": st.booleans(),
    }
)


@given(options=constructors, call=calls, is_inference=st.booleans())
@two_kinds
def test_in_eval_mode_it_is_torchs_layer_to_the_bit(options, call, is_inference):
    model = Model(**options).eval()
    inputs = arguments(model.attn, call)
    twin = torchs_twin(model.attn, **options)
    with torch.inference_mode(is_inference):
        ours, theirs = model(**inputs), twin(**inputs)
    assert ours[1] is theirs[1] is None or torch.equal(ours[1], theirs[1])
    assert torch.equal(ours[0], theirs[0])


@given(options=constructors, call=calls)
@two_kinds
def test_in_training_mode_without_dropout_it_computes_what_torchs_computes(options, call):
    model = Model(dropout=0.0, **options)
    twin = torchs_twin(model.attn, dropout=0.0, **options)
    inputs = arguments(model.attn, call)
    ours, theirs = model(**inputs), twin(**inputs)
    agree(ours, theirs, rtol=1e-4, atol=1e-5)
    agree(
        gradients(ours, model.attn, inputs),
        gradients(theirs, twin, inputs),
        rtol=1e-3,
        atol=1e-4,
    )


@given(options=constructors, call=calls, step=st.integers(0, 2**32 - 1))
@two_kinds
def test_in_training_mode_it_is_torchs_formula_with_the_masks_of_the_run(options, call, step):
    model = Model(**options)
    attach(model, seed=SEED).set_step(step)
    inputs = arguments(model.attn, call)
    ours = model(**inputs)
    twin = torchs_twin(model.attn, torch.float64, **options)
    wide = arguments(model.attn, call, torch.float64)
    theirs = with_mask(twin, wide, step)
    agree(ours, theirs, rtol=1e-4, atol=1e-5)
    agree(
        gradients(ours, model.attn, inputs),
        gradients(theirs, twin, wide),
        rtol=1e-3,
        atol=1e-4,
    )


def test_it_is_a_drop_in():
    ours, theirs = (
        [(p.name, p.default) for p in inspect.signature(method).parameters.values()]
        for method in (MultiheadAttention.__init__, torch.nn.MultiheadAttention.__init__)
    )
    assert ours == theirs
    ours, theirs = (
        [(p.name, p.default) for p in inspect.signature(cls.forward).parameters.values()]
        for cls in (MultiheadAttention, torch.nn.MultiheadAttention)
    )
    assert ours == theirs
    assert isinstance(MultiheadAttention(C, H), torch.nn.MultiheadAttention)


@given(options=constructors)
def test_state_dicts_pass_both_ways_and_manual_seed_gives_torchs_parameters(options):
    torch.manual_seed(4)
    ours = MultiheadAttention(C, H, **options)
    torch.manual_seed(4)
    theirs = torch.nn.MultiheadAttention(C, H, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    theirs.load_state_dict(Model(**options).attn.state_dict())
    ours.load_state_dict(theirs.state_dict())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("need_weights", [False, True])
def test_p_1_leaves_the_bias_of_the_output(need_weights):
    model = Model(dropout=1.0)
    x = itself(requires_grad=True)
    out, _ = model(x, x, x, need_weights=need_weights)
    assert torch.equal(out, model.attn.out_proj.bias.expand_as(out))
    out.sum().backward()
    assert not x.grad.any()


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("is_boolean", [True, False], ids=["boolean", "additive"])
def test_a_sample_of_padding_gives_zeros_and_finite_gradients(is_boolean, need_weights):
    model, _ = attached()
    padding = torch.zeros(B, T, dtype=torch.bool)
    padding[1] = True
    if not is_boolean:
        padding = torch.zeros(B, T).masked_fill(padding, -math.inf)
    x = itself(requires_grad=True)
    out, _ = model(x, x, x, key_padding_mask=padding, need_weights=need_weights)
    assert torch.equal(out[1], model.attn.out_proj.bias.expand_as(out[1]))
    assert not torch.equal(out[0], model.attn.out_proj.bias.expand_as(out[0]))
    out.square().sum().backward()
    grads = [x.grad, *(p.grad for p in model.parameters())]
    assert all(g.isfinite().all() for g in grads)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.filterwarnings(SLOW)
def test_other_dtypes(dtype, need_weights):
    model, state = attached()
    x = itself()
    mask = Transformer.generate_square_subsequent_mask(T, dtype=torch.float32)
    results = []
    for kind in (torch.float32, dtype):
        state.set_step(1)
        y = x.to(kind)
        out, _ = model.to(kind)(y, y, y, attn_mask=mask.to(kind), need_weights=need_weights)
        assert out.dtype == kind
        results.append(out)
    agree([results[1]], [results[0].to(dtype)], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("need_weights", [False, True])
def test_autocast(need_weights):
    model, state = attached(add_bias_kv=True)
    x = itself()
    results = []
    for enabled in (False, True):
        state.set_step(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            results.append(model(x, x, x, need_weights=need_weights)[0])
    assert results[1].dtype == torch.bfloat16
    torch.testing.assert_close(results[1].float(), results[0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("norm_first", [False, True])
def test_torchs_transformer_layers_take_it(norm_first):
    layer = torch.nn.TransformerEncoderLayer(
        C, H, 16, dropout=0.0, batch_first=True, norm_first=norm_first
    )
    twin = copy.deepcopy(layer)
    ours = MultiheadAttention(C, H, P, batch_first=True)
    ours.load_state_dict(layer.self_attn.state_dict())
    twin.self_attn = ours
    x = itself()
    for is_inference in (False, True):
        with torch.inference_mode(is_inference):
            assert torch.equal(layer.eval()(x), twin.eval()(x))
    attach(twin, seed=SEED).set_step(0)
    assert list(twin.self_attn.site.state.sites) == ["self_attn"]
    causal = Transformer.generate_square_subsequent_mask(T)
    y = twin.train()(x, src_mask=causal, is_causal=True)
    assert y.isfinite().all()
    assert not torch.allclose(y, layer.train()(x, src_mask=causal, is_causal=True))


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("is a hint about `attn_mask`", {"is_causal": True}),
        ("`attn_mask` must have shape", {"attn_mask": torch.zeros(T, T + 1)}),
        ("`attn_mask` must have shape", {"attn_mask": torch.zeros(B, T, T)}),
        ("`attn_mask` must be boolean", {"attn_mask": torch.zeros(T, T).int()}),
        ("`key_padding_mask` must have shape", {"key_padding_mask": torch.zeros(T, B)}),
        ("`key_padding_mask` must be boolean", {"key_padding_mask": torch.zeros(B, T).int()}),
        ("Check `batch_first`", {"query": torch.zeros(B + 1, T, C)}),
        ("Check `batch_first`", {"key": torch.zeros(B, T + 1, C)}),
        ("Check `batch_first`", {"value": torch.zeros(B, T, C + 1)}),
        ("Check `batch_first`", {"query": torch.zeros(T, C)}),
    ],
)
@pytest.mark.parametrize("need_weights", [False, True])
def test_what_cannot_be_honoured_is_refused(message, change, need_weights):
    x = itself()
    inputs = {"query": x, "key": x, "value": x, "need_weights": need_weights}
    with pytest.raises(UsageError, match=message):
        Model(batch_first=True)(**{**inputs, **change})


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype:UserWarning")  # once a process
def test_nested_tensors_are_for_eval_mode():
    model = Model(batch_first=True)
    x = torch.nested.nested_tensor([torch.randn(3, C), torch.randn(T, C)])
    with torch.inference_mode():
        assert model.eval()(x, x, x, need_weights=False)[0].is_nested
    with pytest.raises(UsageError, match="nested"):
        model.train()(x, x, x)


@pytest.mark.parametrize("p", [1.5, -0.1, math.nan])
def test_bad_p_is_refused_when_it_is_made_and_when_it_is_used(p):
    with pytest.raises(UsageError, match="`p` must lie in"):
        MultiheadAttention(C, H, dropout=p)
    model, x = Model(), itself()
    model.attn.dropout = p
    with pytest.raises(UsageError, match="`p` must lie in"):
        model(x, x, x)
