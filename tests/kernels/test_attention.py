"""The native attention kernels: values and gradients against float64, every instruction set."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.attention_cases import ISA, attention, attention_eager, case, check, run

LENGTHS = (1, 3, 63, 64, 65, 127, 129, 257)
HEAD_SIZES = (8, 16, 32, 33, 64, 80, 128)
DTYPES = (torch.float32, torch.bfloat16)

isa = pytest.mark.parametrize("isa", ISA)
# In float32 the set with bfloat16 products is the one without them.
kernels = pytest.mark.parametrize(
    ("isa", "dtype"),
    [(i, d) for i in ISA for d in DTYPES if (i, d) != ("avx512bf16", torch.float32)],
    ids=lambda x: str(x).removeprefix("torch."),
)


@kernels
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])
def test_every_length_agrees_with_float64(length, is_causal, dtype, isa):
    check(case(1, 2, length, length, 64, is_causal=is_causal, dtype=dtype, isa=isa))


@kernels
@pytest.mark.parametrize("head_size", HEAD_SIZES)
def test_every_head_size_agrees_with_float64(head_size, dtype, isa):
    check(case(1, 2, 65, 129, head_size, is_causal=True, dtype=dtype, isa=isa))


@kernels
@pytest.mark.parametrize(("T", "S"), [(65, 257), (257, 65), (129, 1), (1, 129)])
def test_causal_masks_of_unequal_lengths_start_top_left(T, S, dtype, isa):
    check(case(2, 1, T, S, 32, is_causal=True, dtype=dtype, isa=isa))


@kernels
def test_long_sequences_use_several_tasks_and_shares_of_keys(dtype, isa):
    check(case(1, 1, 700, 690, 32, is_causal=True, dtype=dtype, isa=isa))


@kernels
@pytest.mark.parametrize(("H", "Hkv"), [(4, 2), (6, 1), (3, 3)])
def test_grouped_heads_sum_into_their_key_head(H, Hkv, dtype, isa):
    check(case(2, H, 65, 129, 16, Hkv=Hkv, Dv=24, is_causal=True, dtype=dtype, isa=isa))


@settings(max_examples=40)
@given(data=st.data())
def test_any_shape_agrees_with_float64(data):
    draw = data.draw
    Hkv, group = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    check(
        case(
            draw(st.integers(1, 2)),
            Hkv * group,
            draw(st.integers(1, 140)),
            draw(st.integers(1, 270)),
            draw(st.integers(1, 80)),
            Hkv=Hkv,
            Dv=draw(st.integers(1, 80)),
            dtype=draw(st.sampled_from(DTYPES)),
            p=draw(st.sampled_from([0.0, 0.1, 0.5, 0.9])),
            is_causal=draw(st.booleans()),
            isa=draw(st.sampled_from(ISA)),
            seed=draw(st.integers(0, 99)),
        )
    )


@isa
@pytest.mark.parametrize("p", [0.0, 2.0**-32, 0.5, 1.0 - 2.0**-20, 1.0])
def test_every_rate_agrees_with_float64(p, isa):
    check(case(p=p, isa=isa))


def test_rate_one_gives_zeros_and_zero_gradients():
    out, _, *grads, grad_mask = run(case(p=1.0))
    assert grad_mask is None
    assert all(not x.any() for x in (out, *grads))


@isa
@pytest.mark.parametrize(
    "shape", [(0, 2, 5, 7), (2, 0, 5, 7), (2, 2, 0, 7), (2, 2, 5, 0), (2, 2, 0, 0)], ids=str
)
def test_empty_tensors_give_empty_results_or_zeros(shape, isa):
    B, H, T, S = shape
    out, logsumexp, *grads, _ = run(case(B, H, T, S, 16, isa=isa))
    assert out.shape == (B, H, T, 16)
    assert logsumexp.shape == (B, H, T)
    assert logsumexp.isneginf().all() or S > 0
    assert not any(x.any() for x in grads)
    assert S > 0 or not out.any()


@kernels
def test_heads_of_size_zero_attend_evenly(dtype, isa):
    c = case(1, 1, 3, 4, 0, Dv=8, p=0.0, dtype=dtype, isa=isa)
    out, *_ = run(c)
    assert torch.allclose(out[0, 0, 0].float(), c.value[0, 0].float().mean(0), atol=0.01)


@isa
@pytest.mark.parametrize("scale", [0.0, -0.3, 2.0])
def test_any_scale_agrees_with_float64(scale, isa):
    check(case(1, 1, 65, 65, 16, isa=isa).with_plan(scale=scale))


@isa
def test_large_scores_do_not_overflow(isa):
    check(case(1, 1, 65, 257, 16, isa=isa).with_plan(scale=200.0))


@isa
def test_nan_and_infinity_stay_visible(isa):
    c = case(1, 1, 8, 40, 16, p=0.0, isa=isa)
    c.query[0, 0, 3, 5] = torch.nan
    c.key[0, 0, 7] = torch.inf
    out, *_ = run(c)
    assert out.isnan().all()
    c.key[0, 0, 7] = 0.0
    out, *_ = run(c)
    assert out[0, 0, 3].isnan().all()
    assert out[0, 0, 4].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, *DTYPES], ids=str)
def test_the_eager_kernel_agrees_with_float64(dtype):
    check(case(2, 4, 65, 70, 33, Hkv=2, Dv=16, is_causal=True, dtype=dtype), attention_eager)


def test_packed_qkv_is_read_and_its_gradient_written_with_any_strides():
    B, T, H, D = 2, 70, 3, 33
    c = case(B, H, T, T, D, is_causal=True)
    qkv = torch.stack([c.query, c.key, c.value]).permute(1, 3, 0, 2, 4).contiguous()
    query, key, value = (qkv[:, :, i].transpose(1, 2) for i in range(3))
    assert not query.is_contiguous()
    strided = type(c)(query=query, key=key, value=value, grad_out=c.grad_out, plan=c.plan)
    for ours, dense in zip(run(strided), run(c), strict=True):
        assert ours is dense is None or torch.equal(ours, dense)


def test_a_strided_last_dimension_is_copied_first():
    c = case(1, 2, 20, 30, 16)
    turned = type(c)(
        query=c.query.mT.contiguous().mT,
        key=c.key.mT.contiguous().mT,
        value=c.value.mT.contiguous().mT,
        grad_out=c.grad_out.mT.contiguous().mT,
        plan=c.plan,
    )
    assert turned.query.stride(-1) != 1
    for ours, dense in zip(run(turned), run(c), strict=True):
        assert ours is dense is None or torch.equal(ours, dense)


def test_broadcast_gradients_are_read():
    c = case(1, 2, 20, 30, 16)
    ones = torch.ones(()).expand(1, 2, 20, 16)
    expanded = type(c)(query=c.query, key=c.key, value=c.value, grad_out=ones, plan=c.plan)
    check(expanded)


def test_joining_the_heads_of_the_result_copies_nothing():
    c = case()
    out, _ = attention.forward(c.inputs, c.plan)
    assert out.transpose(1, 2).is_contiguous()
