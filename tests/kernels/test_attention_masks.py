"""attn_mask, dropout masks and windows of the native attention kernels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.mask import Window
from tests.kernels.attention_cases import (
    ISA,
    Case,
    attention,
    attention_eager,
    case,
    check,
    keep_of,
    run,
)

isa = pytest.mark.parametrize("isa", ISA)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
MASK_SHAPES = [(2, 3, 65, 140), (65, 140), (2, 1, 1, 140), (3, 65, 1), (1, 1, 1, 1), (140,)]


def boolean(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.7


def additive(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    return torch.where(values > 1.5, -torch.inf, values).to(dtype)


def dropped_weights(c: Case) -> torch.Tensor:
    """The weights after dropout themselves: attention to the unit vectors."""
    S = c.key.shape[2]
    value = torch.eye(S).expand(*c.key.shape[:2], S, S).to(c.query.dtype)
    out, _ = attention.forward(c.inputs._replace(value=value), c.plan)
    return out


@isa
@dtypes
@pytest.mark.parametrize("shape", MASK_SHAPES, ids=str)
def test_boolean_masks_agree_with_float64(shape, dtype, isa):
    check(case(2, 3, 65, 140, 16, attn_mask=boolean(shape), dtype=dtype, isa=isa))


@isa
@dtypes
@pytest.mark.parametrize("shape", MASK_SHAPES, ids=str)
def test_additive_masks_and_their_gradients_agree_with_float64(shape, dtype, isa):
    check(case(2, 3, 65, 140, 16, attn_mask=additive(shape, dtype), dtype=dtype, isa=isa))


@pytest.mark.parametrize("shape", MASK_SHAPES, ids=str)
def test_the_eager_kernel_takes_the_same_masks(shape):
    check(case(2, 3, 65, 140, 16, attn_mask=boolean(shape)), attention_eager)
    check(case(2, 3, 65, 140, 16, attn_mask=additive(shape, torch.float32)), attention_eager)


@isa
def test_masks_join_with_causal_grouped_and_strided(isa):
    wide = boolean((2, 4, 280, 65)).mT
    check(case(2, 4, 65, 280, 16, Hkv=2, attn_mask=wide, is_causal=True, isa=isa))
    every_other = additive((65, 560), torch.float32)[:, ::2]
    check(case(2, 4, 65, 280, 16, Hkv=2, attn_mask=every_other, is_causal=True, isa=isa))


@isa
@dtypes
def test_rows_that_see_nothing_give_zeros_and_pass_no_gradient(dtype, isa):
    mask = torch.ones(70, 140, dtype=torch.bool)
    mask[[0, 5, 69]] = False
    c = case(1, 2, 70, 140, 16, attn_mask=mask, dtype=dtype, isa=isa)
    out, logsumexp, grad_query, *_ = run(c)
    assert not out[:, :, [0, 5, 69]].any()
    assert not grad_query[:, :, [0, 5, 69]].any()
    assert logsumexp[:, :, [0, 5, 69]].isneginf().all()
    check(c)
    added = torch.zeros(70, 140, dtype=dtype).masked_fill(~mask, -torch.inf)
    check(case(1, 2, 70, 140, 16, attn_mask=added, dtype=dtype, isa=isa))


@isa
def test_the_lowest_finite_number_masks_without_making_a_row_blind(isa):
    low = torch.finfo(torch.float32).min
    mask = torch.zeros(8, 40)
    mask[3] = low
    mask[4, :20] = low
    check(case(1, 1, 8, 40, 16, attn_mask=mask, isa=isa))


@isa
@dtypes
@pytest.mark.parametrize("p", [2.0**-16, 0.1, 0.5, 0.999])
def test_dropped_weights_are_those_of_the_reference(p, dtype, isa):
    c = case(2, 2, 70, 300, 8, p=p, dtype=dtype, isa=isa)
    assert torch.equal(dropped_weights(c) != 0, keep_of(c))


@settings(max_examples=25)
@given(data=st.data())
def test_a_window_has_the_bits_of_its_place_in_the_whole(data):
    shape = data.draw(st.tuples(*(st.integers(1, n) for n in (2, 3, 70, 140))))
    offset = data.draw(st.tuples(*(st.integers(0, n) for n in (3, 5, 70, 300))))
    extra = data.draw(st.tuples(*(st.integers(0, 3) for _ in shape)))
    sizes = tuple(map(sum, zip(shape, offset, extra, strict=True)))
    c = case(*shape, 8, p=0.5, isa=data.draw(st.sampled_from(ISA)))
    c = c.with_plan(window=Window(sizes, offset))
    assert torch.equal(dropped_weights(c) != 0, keep_of(c))
    check(c)


def test_far_columns_and_planes_are_addressed_exactly():
    window = Window((2**16, 2**16, 2**32, 2**35), (2**16 - 1, 2**16 - 2, 2**32 - 5, 2**35 - 130))
    c = case(1, 2, 5, 130, 8, p=0.5).with_plan(window=window)
    assert torch.equal(dropped_weights(c) != 0, keep_of(c))


@isa
@dtypes
def test_bits_do_not_depend_on_threads_or_runs(dtype, isa):
    before = torch.get_num_threads()
    cases = [
        case(2, 4, 300, 700, 32, Hkv=2, is_causal=True, dtype=dtype, isa=isa),
        case(1, 2, 65, 300, 16, attn_mask=additive((300,), dtype), dtype=dtype, isa=isa),
    ]
    try:
        for c in cases:
            torch.set_num_threads(1)
            expected = run(c)
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                for result, first in zip(run(c), expected, strict=True):
                    assert result is first is None or torch.equal(result, first)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("module", [attention, attention_eager], ids=["native", "eager"])
def test_a_window_that_the_weights_leave_is_refused(module):
    c = case(2, 2, 8, 8).with_plan(window=Window((2, 2, 8, 8), (0, 1, 0, 0)))
    with pytest.raises(UsageError, match="must lie inside its whole"):
        run(c, module)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attn_mask": torch.ones(7, 8)}, "must broadcast to .B, H, T, S. = .2, 2, 8, 8."),
        ({"attn_mask": torch.ones(8, 8, dtype=torch.int64)}, "must be boolean or of query's dtype"),
        ({"key": torch.ones(2, 3, 8, 64)}, "must fit together"),
        ({"key": torch.ones(2, 2, 8, 63)}, "must fit together"),
        ({"value": torch.ones(2, 2, 9, 64)}, "must fit together"),
        ({"value": torch.ones(2, 2, 8, 64).double()}, "`value` must be a float32 or bfloat16"),
        ({"query": torch.ones(2, 8, 64)}, "`query` must be .* of 4 dimensions"),
    ],
    ids=lambda x: "" if isinstance(x, str) else next(iter(x)),
)
def test_what_does_not_fit_is_refused(changes, message):
    c = case(2, 2, 8, 8)
    with pytest.raises(UsageError, match=message):
        attention.forward(c.inputs._replace(**changes), c.plan)
