import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.kernels.dispatch import BackendWarning
from redrop.mask import Window, threshold
from redrop.ops.attention import attention
from redrop.ops.key import signed
from tests.ops.attention_formula import (
    KEY,
    SLOW,
    assert_no_worse,
    formula,
    left_by_rounding_the_output,
    reference_keep,
    weights_of,
)

slow = pytest.mark.filterwarnings(SLOW)
MASKS = ["none", "boolean", "additive", "causal"]
DTYPES = [torch.float32, torch.bfloat16]


def inputs(B=2, H=4, T=5, S=7, D=8, *, G=None, Dv=6, dtype=torch.float32, grad=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    G = H if G is None else G
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)
        for shape in ((B, H, T, D), (B, G, S, D), (B, G, S, Dv))
    ]


def masked(kind, T=5, S=7, dtype=torch.float32, seed=1):
    """The two arguments that say who sees whom."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(T, S, generator=generator, dtype=torch.float64).to(dtype)
    mask = {"boolean": numbers > -0.5, "additive": numbers}.get(kind)
    return {"attn_mask": mask, "is_causal": kind == "causal"}


def upstream_of(out):
    generator = torch.Generator().manual_seed(2)
    # Numbers that every dtype can hold.
    return torch.randn(out.shape, generator=generator).to(torch.bfloat16).to(out.dtype)


def gradients(out, tensors):
    return torch.autograd.grad(out, tensors, upstream_of(out))


@given(
    sizes=st.tuples(st.integers(0, 3), st.integers(1, 2), *[st.integers(0, 40)] * 2),
    group=st.integers(1, 3),
    D=st.integers(1, 40),
    p=st.floats(0, 1),
    kind=st.sampled_from(MASKS),
    dtype=st.sampled_from(DTYPES),
    factor=st.sampled_from([None, 0.0, -0.7, 1.3]),
)
def test_values_and_gradients_are_those_of_the_formula(sizes, group, D, p, kind, dtype, factor):
    B, G, T, S = sizes
    tensors = inputs(B, G * group, T, S, D, G=G, dtype=dtype)
    mask, is_causal = masked(kind, T, S, dtype).values()
    ours = attention(*tensors, mask, p, is_causal, factor, enable_gqa=group > 1, mask_key=KEY)

    def plain_mask(dtype):
        return mask.to(dtype) if kind == "additive" else mask

    def plain(dtype):
        at = [x.detach().to(dtype).requires_grad_() for x in tensors]
        return at, formula(*at, plain_mask(dtype), p=p, is_causal=is_causal, factor=factor)

    (wide, exact), (narrow, theirs) = plain(torch.float64), plain(dtype)
    assert_no_worse(ours, theirs, exact)
    with torch.no_grad():
        weights = weights_of(
            *wide[:2], plain_mask(torch.float64), is_causal=is_causal, factor=factor
        )
        slacks = left_by_rounding_the_output(
            *(wide, exact, upstream_of(exact), weights),
            *(D**-0.5 if factor is None else factor, torch.finfo(dtype).eps),
        )
    for one, other, right, slack in zip(
        *(gradients(ours, tensors), gradients(theirs, narrow), gradients(exact, wide)),
        slacks,
        strict=True,
    ):
        assert one.dtype == dtype
        assert_no_worse(one, other, right, slack)


@pytest.mark.parametrize("kind", MASKS)
@slow
def test_gradients_and_their_gradients(kind):
    tensors = inputs(1, 2, 3, 4, 3, G=1, Dv=2, dtype=torch.float64)
    where = masked(kind, 3, 4, torch.float64)
    mask = where.pop("attn_mask")
    if kind == "additive":
        tensors.append(mask.requires_grad_())

    def f(query, key, value, add=mask):
        return attention(
            query, key, value, add, 0.3, where["is_causal"], enable_gqa=True, mask_key=KEY
        )

    assert torch.autograd.gradcheck(f, tensors)
    assert torch.autograd.gradgradcheck(f, tensors)


@pytest.mark.parametrize("kind", MASKS)
def test_second_derivatives_of_the_fast_kernels_are_those_of_the_formula(kind):
    # gradgradcheck would accept any formula that agrees with its own derivative.
    tensors = inputs(1, 2, 5, 7, 8, G=1)
    wide = [x.detach().double().requires_grad_() for x in tensors]
    mask, is_causal = masked(kind).values()
    fast = attention(*tensors, mask, 0.3, is_causal, enable_gqa=True, mask_key=KEY)
    exact_mask = mask.double() if kind == "additive" else mask
    seconds = []
    for out, at in (
        (fast, tensors),
        (formula(*wide, exact_mask, p=0.3, is_causal=is_causal), wide),
    ):
        first = torch.autograd.grad(out.square().sum(), at, create_graph=True)
        seconds.append(torch.autograd.grad(sum(x.square().sum() for x in first), at))
    for ours, exact in zip(*seconds, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wanted", [0, 1, 2, 3])
def test_only_what_needs_a_gradient_gets_one(wanted):
    tensors = [*inputs(grad=False), masked("additive")["attn_mask"]]
    tensors[wanted].requires_grad_()
    attention(*tensors, dropout_p=0.3, mask_key=KEY).sum().backward()
    wide = [x.detach().double().requires_grad_() for x in tensors]
    formula(*wide, p=0.3).sum().backward()
    torch.testing.assert_close(tensors[wanted].grad, wide[wanted].grad.float())
    assert [x.grad is None for x in tensors] == [i != wanted for i in range(4)]


@pytest.mark.parametrize("shape", [(7,), (5, 1), (4, 5, 7), (2, 1, 1, 7), (2, 4, 1, 1)], ids=str)
def test_a_mask_gradient_is_summed_over_what_the_mask_was_broadcast_over(shape):
    tensors = inputs()
    add = torch.randn(shape, requires_grad=True)
    (ours,) = gradients(attention(*tensors, add, 0.3, mask_key=KEY), [add])
    wide = [x.detach().double().requires_grad_() for x in (*tensors, add)]
    (exact,) = gradients(formula(*wide, p=0.3), wide[3:])
    torch.testing.assert_close(ours, exact.float(), rtol=1e-4, atol=1e-5)


def test_the_mask_is_the_references_bit_for_bit():
    query, key, _ = inputs(3, 4, 70, 130, grad=False)
    value = torch.eye(130).expand(3, 4, 130, 130)
    dropped = attention(query, key, value, dropout_p=0.4, mask_key=KEY)
    assert torch.equal(dropped != 0, reference_keep(0.4, (3, 4, 70, 130)))


def test_no_weight_matrix_is_kept_for_backward():
    saved = []

    def pack(x):
        saved.append(x)
        return x

    tensors = inputs(T=64, S=96)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = attention(*tensors, dropout_p=0.3, mask_key=KEY)
    sizes = sorted(x.numel() for x in saved)
    # The three inputs, the output, and two numbers per query.
    assert sizes == sorted(x.numel() for x in (*tensors, out, torch.empty(2, 4, 64, 2)))


def test_p_0_asks_for_no_key():
    tensors = inputs()
    first, second = (attention(*tensors, mask_key=key) for key in (1, 2))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, torch.nn.functional.scaled_dot_product_attention(*tensors))


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64], ids=str)
@slow
def test_p_1_gives_zeros_and_zero_gradients(dtype):
    tensors = inputs(dtype=dtype)
    out = attention(*tensors, dropout_p=1.0, mask_key=KEY)
    assert not out.any()
    assert not any(gradient.any() for gradient in gradients(out, tensors))


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["boolean", "additive"])
@slow
def test_a_query_that_sees_nothing_gives_zeros_and_finite_gradients(kind, dtype):
    tensors = inputs(dtype=dtype)
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[2] = False
    if kind == "additive":
        mask = torch.zeros(5, 7, dtype=dtype).masked_fill(~mask, -math.inf)
    out = attention(*tensors, mask, 0.3, mask_key=KEY)
    assert not out[:, :, 2].any()
    assert out[:, :, 3].all()
    first = torch.autograd.grad(out.square().sum(), tensors, create_graph=True)
    assert all(x.isfinite().all() for x in first)
    assert not first[0][:, :, 2].any()
    seconds = torch.autograd.grad(sum(x.square().sum() for x in first), tensors)
    assert all(x.isfinite().all() for x in seconds)


@pytest.mark.parametrize(
    "window",
    [Window((6, 4, 5, 7), (2, 0, 0, 0)), Window((9, 12, 9, 20), (3, 8, 4, 11))],
    ids=["samples", "all four"],
)
def test_a_window_says_where_the_weights_stand_in_the_whole(window):
    query, key, _ = inputs(grad=False)
    value = torch.eye(7).expand(2, 4, 7, 7)
    dropped = attention(query, key, value, dropout_p=0.4, mask_key=KEY, window=window)
    expected = reference_keep(0.4, (2, 4, 5, 7), window=window)
    assert torch.equal(dropped != 0, expected)
    again = attention(query, key, value, dropout_p=0.4, mask_key=key_tensor(), window=window)
    assert torch.equal(again, dropped)


def test_strides_change_nothing():
    dense = inputs(2, 4, 33, 33, 16, Dv=16, grad=False)
    packed = torch.stack(dense).permute(1, 3, 0, 2, 4).contiguous()
    views = [x.transpose(1, 2) for x in packed.unbind(2)]
    turned = [x.mT.contiguous().mT for x in dense]
    for strided in (views, turned):
        assert not strided[0].is_contiguous()
        for ours, expected in zip(run(strided), run(dense), strict=True):
            assert torch.equal(ours, expected)


def run(tensors):
    tensors = [x.detach().requires_grad_() for x in tensors]
    out = attention(*tensors, dropout_p=0.3, is_causal=True, mask_key=KEY)
    return out, *gradients(out, tensors)


def test_the_answer_is_the_same_each_time_and_for_any_number_of_threads():
    tensors = inputs(3, 4, 65, 129, 16, G=2, grad=False)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            at = [x.detach().requires_grad_() for x in tensors]
            out = attention(*at, dropout_p=0.3, enable_gqa=True, mask_key=KEY)
            results.append((out, *gradients(out, at)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def key_tensor():
    return torch.tensor(signed(KEY))


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_operator_passes_opcheck(kind, requires_grad):
    tensors = inputs(G=2, grad=requires_grad)
    where = masked(kind)
    mask = where["attn_mask"]
    if mask is not None and mask.is_floating_point():
        mask.requires_grad_(requires_grad)
    for sizes, offset in [(None, None), ([8, 8, 5, 9], [2, 4, 0, 1])]:
        arguments = (*tensors, mask, key_tensor(), threshold(0.3), where["is_causal"], 0.4)
        result = torch.library.opcheck(
            torch.ops.redrop.attention.default, (*arguments, sizes, offset, None, None, 0, 0)
        )
        assert set(result.values()) == {"SUCCESS"}


@pytest.mark.parametrize("needs_mask_gradient", [False, True])
def test_backward_operator_passes_opcheck(needs_mask_gradient):
    tensors = inputs(G=2, grad=False)
    mask = masked("additive")["attn_mask"]
    where = (mask, key_tensor(), threshold(0.3), False, 0.4, None, None, None, None, 0, 0)
    out, normalizer = torch.ops.redrop.attention(*tensors, *where)
    # A gradient that is not dense, as that of a sum.
    upstream = torch.ones(()).expand(out.shape)
    result = torch.library.opcheck(
        torch.ops.redrop.attention_backward.default,
        (upstream, out, normalizer, needs_mask_gradient, *tensors, *where),
    )
    assert set(result.values()) == {"SUCCESS"}


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64], ids=str)
@slow
def test_operator_and_direct_call_agree_in_both_directions(dtype):
    add = masked("additive", dtype=dtype)["attn_mask"].requires_grad_()
    tensors = [*inputs(G=2, dtype=dtype), add]
    results = []
    for key in (KEY, key_tensor()):
        out = attention(*tensors, 0.3, enable_gqa=True, mask_key=key)
        results.append((out, *gradients(out, tensors)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@slow
def test_operator_has_second_derivatives():
    tensors = inputs(1, 2, 3, 4, 3, dtype=torch.float64)

    def f(*tensors):
        return attention(*tensors, dropout_p=0.3, mask_key=key_tensor())

    assert torch.autograd.gradgradcheck(f, tensors)


def test_compiled_equals_eager_in_both_directions_for_any_length():
    def f(query, key, value, mask_key):
        out = attention(
            query.sin(), key, value, None, 0.3, True, enable_gqa=True, mask_key=mask_key
        )
        return out.cos()

    compiled = torch.compile(f, fullgraph=True, backend="aot_eager", dynamic=True)
    for T in (5, 33, 64):
        tensors = inputs(T=T, S=T + 2, G=2)
        ours, eager = (g(*tensors, key_tensor()) for g in (compiled, f))
        assert torch.equal(ours, eager)
        for a, b in zip(gradients(ours, tensors), gradients(eager, tensors), strict=True):
            assert torch.equal(a, b)


def test_torch_func_transforms():
    tensors = inputs(grad=False)

    def f(*tensors):
        return attention(*tensors, dropout_p=0.3, mask_key=KEY)

    at = [x.clone().requires_grad_() for x in tensors]
    expected = torch.autograd.grad(f(*at).sum(), at)
    ours = torch.func.grad(lambda *tensors: f(*tensors).sum(), argnums=(0, 1, 2))(*tensors)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b)
    one = [x[:1] for x in tensors]
    several = torch.func.vmap(f)(*(torch.stack([x, x]) for x in one))
    torch.testing.assert_close(several, f(*one).expand_as(several))
    _, tangent = torch.func.jvp(lambda value: f(*tensors[:2], value), (tensors[2],), (tensors[2],))
    torch.testing.assert_close(tangent, f(*tensors))


def test_meta_tensors_have_shape_and_no_data():
    query, key, value = (x.to("meta") for x in inputs(G=2))
    out = attention(query, key, value, dropout_p=0.3, enable_gqa=True, mask_key=KEY)
    assert out.is_meta
    assert out.shape == (2, 4, 5, 6)


def test_a_slow_kernel_says_so():
    tensors = inputs(dtype=torch.float64, grad=False)
    with pytest.warns(BackendWarning, match=r"portable kernel for torch\.float64 on cpu"):
        attention(*tensors)


def test_what_cannot_be_honoured_is_refused():
    query, key, value = inputs(G=2)
    with pytest.raises(UsageError, match="exclude each other"):
        attention(query, query, query, torch.ones(5, 5, dtype=torch.bool), is_causal=True)
    with pytest.raises(UsageError, match="got 4 and 2.*enable_gqa=True"):
        attention(query, key, value)
    with pytest.raises(UsageError, match="A percentage"):
        attention(query, query, query, dropout_p=10)
    with pytest.raises(UsageError, match="window"):
        attention(query, query, query, dropout_p=0.1, window=Window((1, 4, 5, 5), (0, 0, 0, 0)))
