"""Attention under torch.func: the bits of ordinary autograd, and the derivatives of the formula."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.kernels.attention_plan import Packed
from redrop.mask import Window
from redrop.ops.attention import attention
from tests.ops.attention_formula import KEY, SLOW, formula

KINDS = ("none", "boolean", "additive", "causal")


def inputs(B=2, H=4, T=5, S=7, D=8, *, G=2, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = ((B, H, T, D), (B, G, S, D), (B, G, S, 6))
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes
    ]


def masked(kind, T=5, S=7, dtype=torch.float32):
    numbers = torch.randn(T, S, generator=torch.Generator().manual_seed(1)).to(dtype)
    return {"boolean": numbers > -0.5, "additive": numbers}.get(kind)


def attended(kind, mask, p=0.3, **where):
    """Attention as a function of its differentiable tensors alone."""

    def f(query, key, value, add=mask):
        return attention(
            *(query, key, value, add, p, kind == "causal"), enable_gqa=True, mask_key=KEY, **where
        )

    return f


def weighted(f):
    """A number of it whose gradient is not the same everywhere."""

    def loss(*tensors):
        out = f(*tensors)
        numbers = torch.arange(out.numel(), dtype=torch.float64).cos().reshape(out.shape)
        return (out * numbers.to(torch.bfloat16).to(out)).sum()

    return loss


def ordinary(f, tensors):
    at = [x.clone().requires_grad_() for x in tensors]
    return torch.autograd.grad(f(*at), at)


def all_of(f, tensors):
    return torch.func.grad(f, argnums=tuple(range(len(tensors))))(*tensors)


def assert_same_bits(ours, expected):
    for a, b in zip(ours, expected, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@given(
    sizes=st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(0, 40)] * 2),
    p=st.floats(0, 1),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_gradients_have_the_bits_of_ordinary_autograd(sizes, p, kind, dtype):
    B, G, T, S = sizes
    tensors, mask = inputs(B, 2 * G, T, S, G=G, dtype=dtype), masked(kind, T, S, dtype)
    if kind == "additive":
        tensors.append(mask)
    f = weighted(attended(kind, mask, p))
    assert_same_bits(all_of(f, tensors), ordinary(f, tensors))


def test_a_window_stays_where_it_is():
    f = weighted(attended("none", None, window=Window((9, 12, 9, 20), (3, 8, 4, 11))))
    assert_same_bits(all_of(f, inputs()), ordinary(f, inputs()))
    anywhere = weighted(attended("none", None))
    assert not torch.equal(all_of(f, inputs())[2], all_of(anywhere, inputs())[2])


def test_packed_sequences_have_the_bits_of_ordinary_autograd():
    totals = torch.tensor([0, 2, 5])
    packed = Packed(queries=totals, keys=totals, max_queries=3, max_keys=3)
    tensors = [x[0].transpose(0, 1) for x in inputs(1, T=5, S=5)]
    f = weighted(attended("causal", None, packed=packed))
    assert_same_bits(all_of(f, tensors), ordinary(f, tensors))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["func of func", "ordinary of func", "func of vjp"])
def test_second_derivatives_are_those_of_the_formula(kind, order):
    tensors, mask = inputs(), masked(kind)
    wide = [x.double() for x in tensors]
    exact_mask = mask.double() if kind == "additive" else mask

    def exact(query, key, value):
        return formula(query, key, value, exact_mask, p=0.3, is_causal=kind == "causal")

    def length(f):
        if order == "func of vjp":
            return lambda *x: sum(
                g.square().sum() for g in torch.func.vjp(f, *x)[1](torch.ones(()))
            )
        return lambda *x: sum(g.square().sum() for g in all_of(f, x))

    outer = ordinary if order == "ordinary of func" else all_of
    ours = outer(length(weighted(attended(kind, mask))), tensors)
    at = [x.requires_grad_() for x in wide]
    first = torch.autograd.grad(weighted(exact)(*at), at, create_graph=True)
    expected = torch.autograd.grad(sum(g.square().sum() for g in first), at)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4 * b.abs().max().item())


@pytest.mark.filterwarnings(SLOW)
def test_jacobians_and_hessians_are_those_of_the_formula():
    tensors = inputs(1, 2, 3, 4, 2, G=1, dtype=torch.float64)
    f = attended("none", None)

    def exact(*tensors):
        return formula(*tensors, p=0.3)

    for of in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(of(f)(*tensors), of(exact)(*tensors))
    ours, theirs = (torch.func.hessian(weighted(g))(*tensors) for g in (f, exact))
    torch.testing.assert_close(ours, theirs)


def test_gradients_of_single_samples_share_a_mask():
    tensors = inputs(1)
    f = weighted(attended("none", None))
    several = torch.func.vmap(torch.func.grad(f))(*(torch.stack([x, x]) for x in tensors))
    expected = ordinary(f, tensors)[0]
    torch.testing.assert_close(several, expected.expand_as(several))
