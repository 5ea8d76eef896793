"""Sequences without padding: the bits, and nearly the values, of the padded call."""

import pytest
import torch

from redrop.errors import UsageError
from redrop.kernels.attention_plan import Packed
from redrop.mask import Window
from tests.kernels.attention_cases import ISA, Case, attention, attention_eager, case, run

QUERIES, KEYS = (5, 130, 0, 64, 1), (70, 129, 3, 0, 200)


def totals(lengths: tuple[int, ...]) -> torch.Tensor:
    return torch.tensor((0, *lengths)).cumsum(0)


def pack(x: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor:
    """(B, H, longest, D) -> (tokens, H, D)."""
    return torch.cat([x[b, :, :n].transpose(0, 1) for b, n in enumerate(lengths)])


def packed_and_padded(isa: str, dtype: torch.dtype, is_causal: bool) -> tuple[Case, Case]:
    longest_query, longest_key = max(QUERIES), max(KEYS)
    visible = torch.zeros(len(KEYS), 1, 1, longest_key, dtype=torch.bool)
    for b, n in enumerate(KEYS):
        visible[b, :, :, :n] = True
    padded = case(
        *(len(QUERIES), 4, longest_query, longest_key, 24),
        Hkv=2,
        dtype=dtype,
        is_causal=is_causal,
        attn_mask=visible,
        isa=isa,
    )
    for b, n in enumerate(QUERIES):
        padded.grad_out[b, :, n:] = 0
    plan = padded.with_plan(
        packed=Packed(
            queries=totals(QUERIES),
            keys=totals(KEYS),
            max_queries=longest_query,
            max_keys=longest_key,
        )
    ).plan
    packed = Case(
        query=pack(padded.query, QUERIES),
        key=pack(padded.key, KEYS),
        value=pack(padded.value, KEYS),
        grad_out=pack(padded.grad_out, QUERIES),
        plan=plan,
    )
    return packed, padded


@pytest.mark.parametrize("module", [attention, attention_eager], ids=["native", "eager"])
@pytest.mark.parametrize("is_causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("isa", ISA)
def test_packed_sequences_equal_the_padded_call(isa, dtype, is_causal, module):
    if module is attention_eager and isa != ISA[0]:
        pytest.skip("the eager kernel has no instruction sets")
    packed, padded = packed_and_padded(isa, dtype, is_causal)
    out, logsumexp, grad_query, grad_key, grad_value, _ = run(packed, module)
    right = run(padded, module)
    pairs = {
        "out": (out, pack(right[0], QUERIES)),
        "logsumexp": (logsumexp, pack(right[1].unsqueeze(-1), QUERIES).squeeze(-1)),
        "grad_query": (grad_query, pack(right[2], QUERIES)),
        "grad_key": (grad_key, pack(right[3], KEYS)),
        "grad_value": (grad_value, pack(right[4], KEYS)),
    }
    rounding = 1e-5 if dtype == torch.float32 else 0.02
    for name, (ours, theirs) in pairs.items():
        torch.testing.assert_close(
            ours, theirs, rtol=rounding, atol=rounding, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("isa", ISA)
def test_a_packed_sequence_has_the_bits_of_its_own_call(isa):
    packed, padded = packed_and_padded(isa, torch.float32, is_causal=True)
    out, logsumexp, *grads, _ = run(packed)
    b, queries, keys = 1, slice(5, 135), slice(70, 199)
    alone = Case(
        query=padded.query[b : b + 1, :, : QUERIES[b]],
        key=padded.key[b : b + 1, :, : KEYS[b]],
        value=padded.value[b : b + 1, :, : KEYS[b]],
        grad_out=padded.grad_out[b : b + 1, :, : QUERIES[b]],
        plan=padded.with_plan(window=Window((5, 4, 130, 200), (b, 0, 0, 0))).plan,
    )
    right = run(alone)
    assert torch.equal(out[queries].transpose(0, 1), right[0][0])
    assert torch.equal(logsumexp[queries].T, right[1][0])
    for ours, theirs, tokens in zip(grads, right[2:5], (queries, keys, keys), strict=True):
        assert torch.equal(ours[tokens].transpose(0, 1), theirs[0])


@pytest.mark.parametrize(
    "queries",
    [
        *(torch.tensor([0, 3, 2]), torch.tensor([1, 3]), torch.tensor([0, 9])),
        *(torch.tensor([0.0, 3.0]), torch.tensor(0), torch.tensor([0, 1, 2])[::2]),
        *(torch.tensor([2]), torch.tensor([], dtype=torch.int64)),
    ],
    ids=["falling", "not from 0", "too long", "float", "0-d", "strided", "one, not 0", "empty"],
)
def test_totals_that_are_none_are_refused(queries):
    with pytest.raises(UsageError, match="must be rising int64 totals from 0"):
        Packed(queries=queries, keys=torch.tensor([0, 3]), max_queries=4, max_keys=4)


def test_different_numbers_of_sequences_are_refused():
    with pytest.raises(UsageError, match="same number of sequences; got 2 and 1"):
        Packed(
            queries=torch.tensor([0, 1, 2]), keys=torch.tensor([0, 3]), max_queries=4, max_keys=4
        )


def test_totals_that_do_not_cover_the_tokens_are_refused():
    packed, _ = packed_and_padded("", torch.float32, is_causal=False)
    with pytest.raises(UsageError, match="must fit together"):
        attention.forward(packed.inputs._replace(query=packed.query[:-1]), packed.plan)
