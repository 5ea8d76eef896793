import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.data import batch, build_tokenizer
from redrop.data.char_tokenizer import CharTokenizer
from redrop.errors import UsageError
from redrop.mask import Window, mask_key
from redrop.mask.reference import keep_mask, random_bits
from redrop.mask.window import coordinates
from redrop.regularize.text.token_noise import (
    DRAW_SITE,
    MASK_SITE,
    REPLACE_SITE,
    mask_tokens,
    replace_tokens,
    unseen_id,
)

SEEDS = st.integers(0, 2**64 - 1)
STEPS = st.integers(0, 2**32 - 1)
SHAPES = st.tuples(st.integers(0, 5), st.integers(0, 9))
RATES = st.floats(0, 1)
POOL = torch.arange(100, 117)


@given(seed=SEEDS, step=STEPS, p=RATES, shape=SHAPES)
def test_the_mask_is_the_one_of_the_definition(seed, step, p, shape):
    inputs = torch.randint(50, shape)
    keep = torch.from_numpy(keep_mask(mask_key(seed, step, MASK_SITE), p, shape))
    assert torch.equal(
        mask_tokens(inputs, p, 99, seed=seed, step=step), torch.where(keep, inputs, 99)
    )


@given(seed=SEEDS, step=STEPS, p=RATES, shape=SHAPES, size=st.integers(1, 17))
def test_replacements_are_those_of_the_definition(seed, step, p, shape, size):
    inputs, pool = torch.randint(50, shape), POOL[:size]
    keep = torch.from_numpy(keep_mask(mask_key(seed, step, REPLACE_SITE), p, shape))
    bits = random_bits(mask_key(seed, step, DRAW_SITE), *coordinates(shape))
    places = (np.broadcast_to(bits, shape) * np.uint64(size) >> np.uint64(32)).astype(np.int64)
    expected = torch.where(keep, inputs, pool[torch.from_numpy(places)])
    assert torch.equal(replace_tokens(inputs, p, pool, seed=seed, step=step), expected)


@given(seed=SEEDS, step=STEPS, low=RATES, high=RATES)
def test_noise_grows_with_p_and_keeps_what_was_there(seed, step, low, high):
    low, high = min(low, high), max(low, high)
    inputs = torch.zeros(3, 20, dtype=torch.int64)
    for noise in (
        lambda p: mask_tokens(inputs, p, 99, seed=seed, step=step),
        lambda p: replace_tokens(inputs, p, POOL, seed=seed, step=step),
    ):
        less, more = noise(low), noise(high)
        assert torch.equal(more[less != 0], less[less != 0])


@given(p=RATES, first=st.integers(0, 5), seed=SEEDS)
def test_a_rank_with_its_window_makes_its_rows_of_the_whole(p, first, seed):
    inputs = torch.randint(50, (6, 7))
    window = Window(sizes=(6, 7), offset=(first, 0))
    for noise in (
        lambda x, **where: mask_tokens(x, p, 99, seed=seed, step=1, **where),
        lambda x, **where: replace_tokens(x, p, POOL, seed=seed, step=1, **where),
    ):
        assert torch.equal(noise(inputs[first:], window=window), noise(inputs)[first:])


def test_p_0_returns_the_inputs_themselves_and_p_1_hides_all():
    inputs = torch.arange(6).reshape(2, 3)
    assert mask_tokens(inputs, 0.0, 99, seed=0, step=0) is inputs
    assert replace_tokens(inputs, 0.0, POOL, seed=0, step=0) is inputs
    assert (mask_tokens(inputs, 1.0, 99, seed=0, step=0) == 99).all()
    assert torch.isin(replace_tokens(inputs, 1.0, POOL, seed=0, step=0), POOL).all()
    assert torch.equal(inputs, torch.arange(6).reshape(2, 3))


def test_targets_and_the_batch_itself_are_not_touched():
    tokens = torch.arange(1000)
    inputs, targets = batch(tokens, seed=0, step=7, batch_size=8, context=16)
    noised = mask_tokens(inputs, 0.5, -1, seed=0, step=7)
    again, same_targets = batch(tokens, seed=0, step=7, batch_size=8, context=16)
    assert torch.equal(inputs, again)
    assert torch.equal(targets, same_targets)
    assert torch.equal(targets[noised >= 0], noised[noised >= 0] + 1)


@pytest.mark.parametrize("p", [0.05, 0.3])
def test_rates_lie_within_the_limits_of_the_binomial(p):
    inputs = torch.zeros(400, 500, dtype=torch.int64)
    # 5.5 standard errors: a false alarm in 2.6e7 comparisons
    limit = 5.5 * math.sqrt(p * (1 - p) / inputs.numel())
    masked = mask_tokens(inputs, p, 99, seed=4, step=2) == 99
    replaced = replace_tokens(inputs, p, POOL, seed=4, step=2) != 0
    assert abs(float(masked.double().mean()) - p) < limit
    assert abs(float(replaced.double().mean()) - p) < limit
    both = p * p  # two sites decide independently of each other
    both_limit = 5.5 * math.sqrt(both * (1 - both) / inputs.numel())
    assert abs(float((masked & replaced).double().mean()) - both) < both_limit


def test_tokens_are_drawn_as_often_as_they_stand_in_the_pool():
    pool = torch.tensor([7] * 6 + [8] * 3 + [9])
    inputs = torch.zeros(400, 500, dtype=torch.int64)
    drawn = replace_tokens(inputs, 1.0, pool, seed=1, step=0)
    for token, share in ((7, 0.6), (8, 0.3), (9, 0.1)):
        limit = 5.5 * math.sqrt(share * (1 - share) / inputs.numel())
        assert abs(float((drawn == token).double().mean()) - share) < limit


def test_each_step_draws_anew():
    inputs = torch.zeros(8, 64, dtype=torch.int64)
    steps = [mask_tokens(inputs, 0.5, 1, seed=0, step=step) for step in range(3)]
    assert not torch.equal(steps[0], steps[1])
    assert not torch.equal(steps[1], steps[2])


@pytest.mark.parametrize("p", [-0.1, 1.5, math.nan])
def test_a_rate_outside_its_range_is_refused(p):
    inputs = torch.zeros(1, 1, dtype=torch.int64)
    with pytest.raises(UsageError, match=r"`p` must lie in \[0, 1\]"):
        mask_tokens(inputs, p, 0, seed=0, step=0)
    with pytest.raises(UsageError, match=r"`p` must lie in \[0, 1\]"):
        replace_tokens(inputs, p, POOL, seed=0, step=0)


def test_an_empty_pool_is_refused():
    with pytest.raises(UsageError, match="`pool` holds the tokens to draw from.*; got 0. Pass the"):
        replace_tokens(torch.zeros(1, 1, dtype=torch.int64), 0.5, POOL[:0], seed=0, step=0)


@pytest.mark.parametrize("specification", ["char", "byte", "bpe:300"])
def test_no_text_holds_the_unseen_id(specification):
    if specification.startswith("bpe"):
        pytest.importorskip("tokenizers", reason="the extra bpe is not installed")
    text = "the quick brown fox jumps over the lazy dog, naïvely. " * 9
    tokenizer = build_tokenizer(specification, text)
    hidden = unseen_id(tokenizer)
    assert 0 <= hidden < tokenizer.vocab_size
    assert hidden not in tokenizer.encode(text)


def test_a_generated_language_has_no_id_to_spare():
    with pytest.raises(UsageError, match="uses all its 3. Use `replace` instead of `mask`"):
        unseen_id(CharTokenizer("abc"))
