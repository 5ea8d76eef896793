import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from redrop.data.batch import batch, eval_batches
from redrop.errors import UsageError

u64 = st.integers(0, 2**64 - 1)
steps = st.integers(0, 2**63 - 1)


def philox4x64_10(counter: list[int], key: list[int]) -> list[int]:
    """The generator as its paper states it, to check what the batch takes from NumPy."""
    low = 2**64 - 1
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(b >> 64) ^ c[1] ^ k[0], b & low, (a >> 64) ^ c[3] ^ k[1], a & low]
        k = [(k[0] + 0x9E3779B97F4A7C15) & low, (k[1] + 0xBB67AE8584CAA73B) & low]
    return c


def test_the_oracle_gives_the_published_answer():
    # Random123, file kat_vectors, line "philox4x64 10" with counter and key zero
    assert philox4x64_10([0, 0, 0, 0], [0, 0]) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]


@settings(deadline=None)
@given(seed=u64, step=steps, context=st.integers(1, 20), spare=st.integers(0, 500))
def test_start_positions_follow_the_stated_formula(seed: int, step: int, context: int, spare: int):
    tokens = torch.arange(context + 1 + spare)
    inputs, _ = batch(tokens, seed=seed, step=step, batch_size=11, context=context)

    words = [philox4x64_10([1 + row // 4, 0, 0, 0], [seed, step])[row % 4] for row in range(11)]
    assert inputs[:, 0].tolist() == [word * (1 + spare) >> 64 for word in words]


@settings(deadline=None)
@given(seed=u64, step=steps, total=st.integers(1, 40), data=st.data())
def test_any_part_of_the_global_batch_has_exactly_its_rows(
    seed: int, step: int, total: int, data: st.DataObject
):
    tokens = torch.arange(1000)
    offset = data.draw(st.integers(0, total - 1))
    rows = data.draw(st.integers(1, total - offset))
    draw = {"seed": seed, "step": step, "context": 7}

    whole = batch(tokens, batch_size=total, **draw)
    part = batch(tokens, batch_size=rows, offset=offset, total=total, **draw)

    assert torch.equal(part[0], whole[0][offset : offset + rows])
    assert torch.equal(part[1], whole[1][offset : offset + rows])


@settings(deadline=None)
@given(seed=u64, step=steps, context=st.integers(1, 50), spare=st.integers(0, 50))
def test_rows_are_windows_and_targets_are_the_next_tokens(
    seed: int, step: int, context: int, spare: int
):
    tokens = torch.arange(context + 1 + spare) * 3
    inputs, targets = batch(tokens, seed=seed, step=step, batch_size=5, context=context)

    assert inputs.shape == targets.shape == (5, context)
    assert inputs.is_contiguous()
    assert targets.is_contiguous()
    assert torch.equal(inputs - inputs[:, :1], (torch.arange(context) * 3).expand(5, -1))
    assert torch.equal(targets, inputs + 3)


def test_seed_and_step_both_change_the_batch():
    tokens = torch.arange(100_000)
    draws = [
        batch(tokens, seed=seed, step=step, batch_size=8, context=4)[0]
        for seed, step in [(0, 0), (1, 0), (0, 1), (1, 1), (2**32, 0), (0, 2**32)]
    ]

    assert len({tuple(draw[:, 0].tolist()) for draw in draws}) == len(draws)


def test_start_positions_are_uniform_from_the_first_to_the_last():
    choices, rows = 50, 20_000
    inputs, targets = batch(torch.arange(choices + 9), seed=3, step=5, batch_size=rows, context=9)
    counts = torch.bincount(inputs[:, 0], minlength=choices).double()

    assert counts.numel() == choices
    assert targets.max() == choices + 8  # the last token is somebody's target
    statistic = ((counts - rows / choices) ** 2 / (rows / choices)).sum().item()
    # both tails, false alarm 2e-6: too regular is wrong too
    assert chi2.ppf(1e-6, choices - 1) < statistic < chi2.isf(1e-6, choices - 1)


def test_drawing_touches_no_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = batch(torch.arange(99), seed=1, step=1, batch_size=4, context=8)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    second = batch(torch.arange(99), seed=1, step=1, batch_size=4, context=8)

    assert torch.equal(before, after)
    assert torch.equal(first[0], second[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, r"`seed` must be at least 0 and at most 18446744073709551615; got -1"),
        ({"seed": 2**64}, "`seed` must be at least 0"),
        ({"step": 2**63}, "`step` must be at least 0"),
        ({"offset": -1}, "`offset` must be at least 0; got -1"),
        ({"batch_size": 0}, "`batch_size` must be at least 1; got 0"),
        ({"context": 0}, "`context` must be at least 1; got 0"),
        ({"context": 10}, "`context` 10 needs at least 11 tokens; got 10"),
        ({"offset": 3, "batch_size": 6, "total": 8}, "`total` = 8 rows; got rows 3 to 9"),
        ({"tokens": torch.zeros(2, 9)}, r"one dimension; got shape \(2, 9\)"),
    ],
)
def test_a_batch_that_cannot_be_drawn_is_refused(change: dict[str, object], message: str):
    arguments = {"tokens": torch.arange(10), "seed": 0, "step": 0, "batch_size": 2, "context": 3}

    with pytest.raises(UsageError, match=message):
        batch(**(arguments | change))


def test_the_shortest_text_gives_its_only_window():
    inputs, targets = batch(torch.arange(4), seed=9, step=9, batch_size=2, context=3)

    assert inputs.tolist() == [[0, 1, 2]] * 2
    assert targets.tolist() == [[1, 2, 3]] * 2


@given(
    length=st.integers(2, 400),
    context=st.integers(1, 30),
    rows=st.integers(1, 9),
    limit=st.none() | st.integers(1, 500),
)
def test_evaluation_windows_never_share_a_target(
    length: int, context: int, rows: int, limit: int | None
):
    context = min(context, length - 1)
    batches = list(eval_batches(torch.arange(length), context, rows, limit))
    inputs = torch.cat([pair[0] for pair in batches])
    targets = torch.cat([pair[1] for pair in batches])
    flat = targets.flatten().tolist()

    assert torch.equal(targets, inputs + 1)
    assert flat == sorted(set(flat))  # in order, each token once
    assert all(pair[0].shape == (rows, context) for pair in batches[:-1])
    assert 1 <= batches[-1][0].shape[0] <= rows
    everything = (length - 1) // context * context
    wanted = everything if limit is None else min(everything, max(limit, context))
    assert wanted - context < len(flat) <= wanted


def test_a_limit_keeps_windows_from_the_whole_text():
    kept = [inputs[0, 0].item() for inputs, _ in eval_batches(torch.arange(1001), 10, 1, limit=100)]

    assert kept == [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 0, None), "`batch_size` must be at least 1"),
        ((3, 1, 0), "`limit` must be at least 1"),
        ((10, 1, None), "`context` 10 needs at least 11 tokens; got 10"),
    ],
)
def test_an_evaluation_that_cannot_be_made_is_refused_at_the_call(
    arguments: tuple[int, int, int | None], message: str
):
    with pytest.raises(UsageError, match=message):
        eval_batches(torch.arange(10), *arguments)
