import inspect

import pytest
import torch
import torch.nn.functional as torchs
from torch.nn.attention.bias import causal_lower_right, causal_upper_left
from torch.utils.checkpoint import checkpoint

from redrop.errors import UsageError
from redrop.nn import functional as F
from tests.ops.attention_formula import KEY, SLOW, assert_no_worse, formula, reference_keep

sdpa = F.scaled_dot_product_attention
SHAPES = {
    "two dimensions": ((4, 5), (6, 5), (6, 7)),
    "three": ((2, 4, 5), (2, 6, 5), (2, 6, 7)),
    "four": ((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7)),
    "six": ((2, 1, 2, 3, 4, 5), (2, 1, 2, 3, 6, 5), (2, 1, 2, 3, 6, 7)),
    "fewer in the keys": ((2, 4, 5), (6, 5), (6, 7)),
    "broadcast batch": ((4, 3, 2, 4, 5), (1, 3, 2, 6, 5), (4, 1, 2, 6, 7)),
    "broadcast heads": ((2, 4, 4, 5), (2, 1, 6, 5), (1, 1, 6, 7)),
    "no query": ((2, 3, 0, 5), (2, 3, 6, 5), (2, 3, 6, 7)),
    "no key": ((2, 3, 4, 5), (2, 3, 0, 5), (2, 3, 0, 7)),
    "no sample": ((0, 3, 4, 5), (0, 3, 6, 5), (0, 3, 6, 7)),
    "no head size": ((2, 3, 4, 0), (2, 3, 6, 0), (2, 3, 6, 7)),
    "no value size": ((2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 0)),
    "long": ((1, 2, 300, 16), (1, 2, 257, 16), (1, 2, 257, 24)),
}
GROUPED = {
    "three": ((4, 4, 5), (2, 6, 5), (2, 6, 7)),
    "four": ((2, 4, 4, 5), (2, 2, 6, 5), (2, 2, 6, 7)),
    "five": ((3, 2, 6, 4, 5), (3, 2, 3, 6, 5), (3, 2, 3, 6, 7)),
    "one key head": ((2, 4, 4, 5), (2, 1, 6, 5), (2, 1, 6, 7)),
}


def tensors(shapes, dtype=torch.float32, grad=True):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_(grad) for s in shapes]


def agree(ours, theirs, inputs):
    """Values and gradients agree as far as float32 goes."""
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    upstream = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, upstream),
        torch.autograd.grad(theirs, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_without_dropout_it_is_torchs_function(shapes, is_causal):
    inputs = tensors(shapes)
    agree(sdpa(*inputs, is_causal=is_causal), torchs_sdpa(*inputs, is_causal=is_causal), inputs)


def torchs_sdpa(*args, **kwargs):
    return torchs.scaled_dot_product_attention(*args, **kwargs)


@pytest.mark.parametrize("shapes", GROUPED.values(), ids=GROUPED)
def test_groups_of_heads_share_a_key_head(shapes):
    inputs = tensors(shapes)
    agree(sdpa(*inputs, enable_gqa=True), torchs_sdpa(*inputs, enable_gqa=True), inputs)


@pytest.mark.parametrize("factor", [0.0, -0.7, 3.0])
def test_scale(factor):
    inputs = tensors(SHAPES["four"])
    agree(sdpa(*inputs, scale=factor), torchs_sdpa(*inputs, scale=factor), inputs)


@pytest.mark.parametrize("is_boolean", [True, False], ids=["boolean", "additive"])
@pytest.mark.parametrize(
    ("shapes", "mask"),
    [
        ("two dimensions", (4, 6)),
        ("three", (4, 6)),
        ("three", (2, 1, 6)),
        ("four", (1, 6)),
        ("four", (4, 1)),
        ("four", (3, 4, 6)),
        ("four", (2, 1, 1, 6)),
        ("four", (1, 3, 4, 6)),
        ("six", (4, 6)),
        ("six", (2, 3, 4, 6)),
        ("six", (2, 1, 1, 1, 4, 6)),
        ("broadcast batch", (1, 3, 1, 4, 6)),
    ],
    ids=str,
)
def test_masks_broadcast_from_the_right(shapes, mask, is_boolean):
    inputs = tensors(SHAPES[shapes])
    mask = torch.randn(mask, generator=torch.Generator().manual_seed(1))
    if is_boolean:
        mask = mask > -0.5
    else:
        inputs.append(mask.requires_grad_())
    agree(sdpa(*inputs[:3], mask), torchs_sdpa(*inputs[:3], mask), inputs)


@pytest.mark.parametrize("lengths", [(4, 6), (4, 4)], ids=str)
@pytest.mark.parametrize("bias", [causal_upper_left, causal_lower_right])
def test_torchs_causal_biases_mean_what_they_say(bias, lengths):
    T, S = lengths
    inputs = tensors(((2, 3, T, 8), (2, 3, S, 8), (2, 3, S, 8)))
    agree(sdpa(*inputs, bias(T, S)), torchs_sdpa(*inputs, bias(T, S)), inputs)
    with pytest.raises(UsageError, match="one of the two"):
        sdpa(*inputs, bias(T, S), is_causal=True)


@pytest.mark.parametrize("name", ["two dimensions", "three", "four", "six", "broadcast batch"])
def test_the_dropout_mask_is_that_of_the_weights_as_a_whole(name):
    inputs = tensors(SHAPES[name], grad=False)
    inputs[2] = torch.eye(6).expand(*inputs[2].shape[:-2], 6, 6)
    dropped = sdpa(*inputs, dropout_p=0.4, mask_key=KEY)
    assert torch.equal(dropped != 0, reference_keep(0.4, dropped.shape))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shapes", GROUPED.values(), ids=GROUPED)
@pytest.mark.filterwarnings(SLOW)
def test_with_dropout_it_is_the_formula(shapes, dtype):
    inputs = tensors(shapes, dtype, grad=False)
    exact = formula(*(x.double() for x in inputs), p=0.3)
    ours = sdpa(*inputs, dropout_p=0.3, enable_gqa=True, mask_key=KEY)
    assert ours.dtype == dtype
    assert_no_worse(ours, formula(*inputs, p=0.3), exact)


def test_p_1_gives_zeros_as_torchs_does():
    inputs = tensors(SHAPES["three"])
    out = sdpa(*inputs, dropout_p=1.0)
    assert torch.equal(out, torchs_sdpa(*inputs, dropout_p=1.0))
    assert not any(x.any() for x in torch.autograd.grad(out.sum(), inputs))


def test_a_float32_mask_of_a_narrow_query_is_not_rounded():
    inputs = tensors(SHAPES["four"], torch.bfloat16, grad=False)
    mask = 200 + torch.randn(4, 6)  # rounded to bfloat16, it would be off by up to 0.5
    ours = sdpa(*inputs, mask, dropout_p=0.3, mask_key=KEY)
    assert ours.dtype == torch.bfloat16
    exact = formula(*(x.double() for x in inputs), mask.double(), p=0.3)
    torch.testing.assert_close(ours.double(), exact, rtol=0.02, atol=0.02)


def test_autocast_casts_what_torchs_function_casts():
    inputs = tensors(SHAPES["four"])
    mixed = [inputs[0].bfloat16(), *inputs[1:]]
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (f(*mixed, attn_mask=torch.zeros(4, 6)) for f in (sdpa, torchs_sdpa))
        boolean = sdpa(*inputs, torch.ones(4, 6, dtype=torch.bool))
    assert ours.dtype == theirs.dtype == boolean.dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)
    torch.testing.assert_close(boolean, theirs, rtol=0.02, atol=0.02)


def test_without_a_key_torchs_generator_decides():
    inputs = tensors(SHAPES["four"])
    torch.manual_seed(3)
    first, second = (sdpa(*inputs, dropout_p=0.5) for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(sdpa(*inputs, dropout_p=0.5), first)
    torch.manual_seed(3)
    key = int(torch.empty((), dtype=torch.int64).random_())
    assert torch.equal(sdpa(*inputs, dropout_p=0.5, mask_key=key), first)


def test_p_0_draws_nothing():
    before = torch.get_rng_state()
    sdpa(*tensors(SHAPES["four"]))
    assert torch.equal(before, torch.get_rng_state())


def test_a_checkpointed_region_meets_its_masks_again():
    grads = []
    for region in (lambda f, *x: f(*x), lambda f, *x: checkpoint(f, *x, use_reentrant=False)):
        inputs = tensors(SHAPES["four"])
        torch.manual_seed(0)
        out = region(lambda *x: sdpa(*x, dropout_p=0.5).tanh(), *inputs)
        grads.append(torch.autograd.grad(out.sum(), inputs))
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("function", ["scaled_dot_product_attention", "dropout"])
def test_compiled_each_call_has_its_own_mask(function):
    def f(x):
        if function == "dropout":
            return F.dropout(x, 0.5)
        return sdpa(x, x, x, dropout_p=0.5, is_causal=True)

    x = torch.randn(2, 3, 16, 8)
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    torch.manual_seed(0)
    first, second = compiled(x), compiled(x)
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(compiled(x), first)


def test_compiled_with_a_key_it_equals_eager():
    def f(*inputs):
        return sdpa(*inputs, torch.zeros(1, 4, 6), 0.5, mask_key=KEY)

    inputs = tensors(SHAPES["six"])
    ours = torch.compile(f, fullgraph=True, backend="aot_eager")(*inputs)
    assert torch.equal(ours, f(*inputs))


def test_positional_arguments_stand_where_torchs_stand():
    names = list(inspect.signature(sdpa).parameters)
    tensors = ["query", "key", "value", "attn_mask"]
    assert names == [*tensors, "dropout_p", "is_causal", "scale", "enable_gqa", "mask_key"]
    torchs_doc = " ".join(torchs.scaled_dot_product_attention.__doc__.split())
    assert "query, key, value, attn_mask=None" in torchs_doc
    assert "dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False" in torchs_doc


@pytest.mark.parametrize(
    ("message", "shapes", "arguments"),
    [
        ("at least 2 dimensions", ((5,), (5,), (5,)), {}),
        ("must fit together", ((4, 5), (6, 6), (6, 7)), {}),
        ("must fit together", ((4, 5), (6, 5), (7, 7)), {}),
        ("must broadcast; got", ((2, 4, 5), (3, 6, 5), (3, 6, 5)), {}),
        ("enable_gqa=True", ((1, 4, 4, 5), (1, 2, 6, 5), (1, 2, 6, 5)), {}),
        ("a multiple of G", ((4, 4, 5), (3, 6, 5), (3, 6, 5)), {"enable_gqa": True}),
        ("must broadcast to", SHAPES["four"], {"attn_mask": torch.zeros(2, 4, 6)}),
        ("must broadcast to", SHAPES["three"], {"attn_mask": torch.zeros(1, 2, 4, 6)}),
        ("float32 or of query's", SHAPES["four"], {"attn_mask": torch.zeros(6).double()}),
        ("boolean", SHAPES["four"], {"attn_mask": torch.ones(4, 6).int()}),
        ("exclude each other", SHAPES["four"], {"attn_mask": torch.zeros(6), "is_causal": True}),
        ("A percentage", SHAPES["four"], {"dropout_p": 10}),
        ("must lie in", SHAPES["four"], {"dropout_p": float("nan")}),
    ],
)
def test_what_cannot_be_honoured_is_refused(message, shapes, arguments):
    with pytest.raises(UsageError, match=message):
        sdpa(*tensors(shapes), **arguments)


def test_mixed_and_integer_dtypes_are_refused():
    query, key, value = tensors(SHAPES["four"], grad=False)
    for inputs in ((query, key.double(), value), (query.int(), key.int(), value.int())):
        with pytest.raises(UsageError, match="one floating dtype"):
            sdpa(*inputs)
