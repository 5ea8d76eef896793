"""Sequences without padding: called directly, through the operator, and traced."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from redrop.errors import UsageError
from redrop.kernels.attention_plan import Packed
from redrop.mask import threshold
from redrop.ops.attention import attention
from redrop.ops.attention_operator import AttentionCall
from redrop.ops.key import signed
from tests.ops.attention_formula import KEY, SLOW, assert_no_worse, formula, reference_keep

H, G, D, DV = 4, 2, 8, 6
QUERIES, KEYS = (5, 33, 0, 4), (7, 2, 3, 0)
LENGTHS = ((QUERIES, KEYS), ((5, 70, 1, 4), (7, 2, 90, 4)), ((40, 9), (33, 4)))
KINDS = ("none", "boolean", "additive", "causal")


def totals(lengths):
    return torch.tensor((0, *lengths)).cumsum(0)


def packed_of(queries=QUERIES, keys=KEYS):
    return Packed(
        queries=totals(queries), keys=totals(keys), max_queries=max(queries), max_keys=max(keys)
    )


def inputs(queries=QUERIES, keys=KEYS, *, dtype=torch.float32, grad=True):
    generator = torch.Generator().manual_seed(0)
    shapes = ((sum(queries), H, D), (sum(keys), G, D), (sum(keys), G, DV))
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)
        for shape in shapes
    ]


def masked(kind, queries=QUERIES, keys=KEYS, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    shape = (len(queries), 1, max(queries), max(keys))
    numbers = torch.randn(shape, generator=generator).to(dtype)
    return {"boolean": numbers > -0.5, "additive": numbers}.get(kind)


def key_tensor():
    return torch.tensor(signed(KEY))


def attend(tensors, packed, mask_key=KEY, *, p=0.3, mask=None, is_causal=False):
    return attention(
        *tensors, mask, p, is_causal, enable_gqa=True, mask_key=mask_key, packed=packed
    )


def gradients(out, tensors):
    generator = torch.Generator().manual_seed(2)
    return torch.autograd.grad(out, tensors, torch.randn(out.shape, generator=generator).to(out))


lengths = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=4)


@given(
    lengths=lengths,
    p=st.floats(0, 1),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_the_operator_has_the_bits_of_the_direct_call_in_both_directions(lengths, p, kind, dtype):
    queries, keys = zip(*lengths, strict=True)
    tensors = inputs(queries, keys, dtype=dtype)
    mask = masked(kind, queries, keys, dtype)
    wanted = [*tensors, mask.requires_grad_()] if kind == "additive" else tensors
    results = []
    for key in (KEY, key_tensor()):
        out = attend(
            tensors, packed_of(queries, keys), key, p=p, mask=mask, is_causal=kind == "causal"
        )
        results.append((out, *gradients(out, wanted)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.filterwarnings(SLOW)
def test_each_sequence_is_the_formula_with_its_part_of_the_mask(kind, dtype):
    tensors, mask = inputs(grad=False, dtype=dtype), masked(kind, dtype=dtype)
    out = attend(tensors, packed_of(), key_tensor(), mask=mask, is_causal=kind == "causal")
    keep = reference_keep(0.3, (len(QUERIES), H, max(QUERIES), max(KEYS)))
    begin_q = begin_k = 0
    for b, (T, S) in enumerate(zip(QUERIES, KEYS, strict=True)):
        query, key, value = (
            x[begin : begin + n].transpose(0, 1).unsqueeze(0)
            for x, begin, n in zip(tensors, (begin_q, begin_k, begin_k), (T, S, S), strict=True)
        )
        part = None if mask is None else mask[b : b + 1, :, :T, :S]
        where = {"keep": keep[b : b + 1, :, :T, :S], "is_causal": kind == "causal", "p": 0.3}
        wide = part.double() if kind == "additive" else part
        exact = formula(query.double(), key.double(), value.double(), wide, **where)
        theirs = formula(query, key, value, part, **where)
        ours = out[begin_q : begin_q + T].transpose(0, 1).unsqueeze(0)
        assert_no_worse(ours, theirs, exact)
        begin_q, begin_k = begin_q + T, begin_k + S


def arguments(kind, grad):
    mask = masked(kind)
    if kind == "additive":
        mask.requires_grad_(grad)
    packed = packed_of()
    return (
        *(*inputs(grad=grad), mask, key_tensor(), threshold(0.3), kind == "causal", 0.4),
        *([8, 8, 40, 9], [2, 4, 0, 1]),
        *(packed.queries, packed.keys, packed.max_queries, packed.max_keys),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_operator_passes_opcheck(kind, requires_grad):
    result = torch.library.opcheck(
        torch.ops.redrop.attention.default, arguments(kind, requires_grad)
    )
    assert set(result.values()) == {"SUCCESS"}


@pytest.mark.parametrize("needs_mask_gradient", [False, True])
def test_backward_operator_passes_opcheck(needs_mask_gradient):
    call = arguments("additive", grad=False)
    out, normalizer = torch.ops.redrop.attention(*call)
    # A gradient that is not dense, as that of a sum.
    upstream = torch.ones(()).expand(out.shape)
    result = torch.library.opcheck(
        torch.ops.redrop.attention_backward.default,
        (upstream, out, normalizer, needs_mask_gradient, *call),
    )
    assert set(result.values()) == {"SUCCESS"}


@pytest.mark.parametrize("operator", ["attention", "attention_backward"])
def test_the_schema_names_what_a_call_names(operator):
    names = [x.name for x in getattr(torch.ops.redrop, operator).default._schema.arguments]
    assert tuple(names[-len(AttentionCall._fields) :]) == AttentionCall._fields


@pytest.mark.parametrize("is_built_inside", [True, False], ids=["built inside", "an argument"])
@pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])
def test_one_compiled_graph_has_the_bits_of_eager_for_any_lengths(is_built_inside, is_causal):
    def f(tensors, packed, mask_key):
        if is_built_inside:
            packed = Packed(
                queries=packed.queries.clone(),
                keys=packed.keys.clone(),
                max_queries=packed.max_queries,
                max_keys=packed.max_keys,
            )
        query, *others = tensors
        return attend([query.sin(), *others], packed, mask_key, is_causal=is_causal).cos()

    compiled = torch.compile(f, fullgraph=True, backend="aot_eager", dynamic=True)
    for number, (queries, keys) in enumerate(LENGTHS):
        tensors, packed = inputs(queries, keys), packed_of(queries, keys)
        with torch._dynamo.config.patch(error_on_recompile=number > 0):
            ours = compiled(tensors, packed, key_tensor())
        eager = f(tensors, packed, KEY)
        assert torch.equal(ours, eager)
        for a, b in zip(gradients(ours, tensors), gradients(eager, tensors), strict=True):
            assert torch.equal(a, b)


def test_a_compiled_graph_refuses_totals_when_it_runs():
    def f(tensors, queries, keys):
        return attend(tensors, Packed(queries=queries, keys=keys, max_queries=5, max_keys=5), KEY)

    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    tensors, keys = inputs((5, 3), (2, 4), grad=False), torch.tensor([0, 2, 6])
    assert torch.equal(
        compiled(tensors, torch.tensor([0, 5, 8]), keys), f(tensors, torch.tensor([0, 5, 8]), keys)
    )
    with pytest.raises(UsageError, match=r"rising int64 totals.*\[0, 9, 8\]"):
        compiled(tensors, torch.tensor([0, 9, 8]), keys)


@pytest.mark.filterwarnings(SLOW)
def test_totals_that_changed_since_they_were_looked_at_are_refused():
    for dtype in (torch.float32, torch.float64):
        tensors, packed = inputs(dtype=dtype, grad=False), packed_of()
        packed.queries[1] = 99
        with pytest.raises(UsageError, match="rising int64 totals"):
            attend(tensors, packed)


def test_totals_that_crossed_a_graph_break_are_looked_at():
    def f(tensors, queries, keys):
        packed = Packed(queries=queries, keys=keys, max_queries=5, max_keys=5)
        torch._dynamo.graph_break()
        return attend(tensors, packed)

    compiled = torch.compile(f, backend="aot_eager")
    tensors, keys = inputs((5, 3), (2, 4), grad=False), torch.tensor([0, 2, 6])
    with pytest.raises(UsageError, match=r"rising int64 totals.*\[0, 9, 8\]"):
        compiled(tensors, torch.tensor([0, 9, 8]), keys)


def test_fake_and_meta_tensors_have_shape_and_no_data():
    with FakeTensorMode() as mode:
        fake = [mode.from_tensor(x) for x in inputs()]
        at = Packed(
            queries=mode.from_tensor(totals(QUERIES)),
            keys=mode.from_tensor(totals(KEYS)),
            max_queries=33,
            max_keys=7,
        )
        out = attend(fake, at)
        assert out.shape == (sum(QUERIES), H, DV)
        assert [x.shape for x in torch.autograd.grad(out.sum(), fake)] == [x.shape for x in fake]
    out = attend([x.to("meta") for x in inputs()], packed_of())
    assert out.is_meta
    assert out.shape == (sum(QUERIES), H, DV)


def test_second_derivatives_are_refused():
    for key in (KEY, key_tensor()):
        tensors = inputs()
        out = attend(tensors, packed_of(), key)
        with pytest.raises(UsageError, match="first derivatives only"):
            torch.autograd.grad(out.sum(), tensors, create_graph=True)
