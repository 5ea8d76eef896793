import hashlib
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.data.markov import ONE, MarkovSource
from redrop.errors import UsageError

small = st.builds(
    lambda seed, classes, more: MarkovSource.draw(seed, symbols=classes + more, classes=classes),
    seed=st.integers(0, 2**64 - 1),
    classes=st.integers(1, 3),
    more=st.integers(0, 2),
)


def chances_by_enumeration(source: MarkovSource, length: int) -> dict[tuple[int, ...], float]:
    """P(each word of this length) in the long run, by brute force over all pairs of symbols.

    Uses the definition P(x | a, b) alone: no stationary equation, no classes as states.
    """
    rows, classes, symbols = source.rows, source.classes, source.symbols
    moves = np.zeros((symbols**2, symbols**2))
    for a, b, x in itertools.product(range(symbols), repeat=3):
        moves[a * symbols + b, b * symbols + x] = rows[a % classes * classes + b % classes, x]
    # 2^40 steps: a chain whose escape has the least chance, 2^-16, has long forgotten its start
    for _ in range(40):
        moves = moves @ moves
        moves /= moves.sum(axis=1, keepdims=True)
    words: dict[tuple[int, ...], float] = {
        divmod(pair, symbols): chance for pair, chance in enumerate(moves[0].tolist())
    }
    while len(next(iter(words))) < length:
        words = {
            (*word, x): chance * rows[word[-2] % classes * classes + word[-1] % classes, x]
            for word, chance in words.items()
            for x in range(symbols)
        }
    return words


def entropy(chances: list[float]) -> float:
    return -sum(chance * math.log(chance) for chance in chances)


@settings(deadline=None, max_examples=15)
@given(small)
def test_entropies_agree_with_enumeration(source: MarkovSource):
    threes = chances_by_enumeration(source, 3)
    twos: dict[tuple[int, ...], float] = {}
    ones: dict[tuple[int, ...], float] = {}
    for word, chance in threes.items():
        twos[word[:2]] = twos.get(word[:2], 0) + chance
        ones[word[:1]] = ones.get(word[:1], 0) + chance
    of_one, of_two, of_three = (entropy(list(of.values())) for of in (ones, twos, threes))

    assert source.entropy_rate == pytest.approx(of_three - of_two, abs=1e-9)
    assert source.opening_loss == pytest.approx(of_two - of_one, abs=1e-9)


@settings(deadline=None, max_examples=15)
@given(small, st.integers(1, 4))
def test_losses_of_a_word_add_up_to_its_surprise(source: MarkovSource, length: int):
    whole = chances_by_enumeration(source, max(length, 2))
    words = np.array(list(itertools.product(range(source.symbols), repeat=length)))

    for word, losses in zip(words.tolist(), source.losses(words), strict=True):
        chance = sum(p for longer, p in whole.items() if longer[:length] == tuple(word))
        assert losses.sum() == pytest.approx(-math.log(chance), abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(small)
def test_probabilities_are_whole_units_and_none_is_zero(source: MarkovSource):
    assert source.counts.shape == (source.classes**2, source.symbols)
    assert (source.counts >= 1).all()
    assert (source.counts.sum(axis=1) == ONE).all()
    assert source.stationary.sum() == pytest.approx(1, abs=1e-12)
    assert (source.stationary > 0).all()


@settings(deadline=None, max_examples=20)
@given(small, st.integers(0, 300), st.integers(0, 300), st.integers(0, 9))
def test_a_longer_sample_begins_with_the_shorter(
    source: MarkovSource, first: int, second: int, stream: int
):
    short, long = sorted((first, second))

    assert (
        source.sample(short, stream=stream).tolist()
        == source.sample(long, stream=stream)[:short].tolist()
    )


def test_the_language_and_its_streams_never_change():
    # golden values: they may only move with an entry in CHANGELOG.md, for old records name them
    source = MarkovSource.draw()
    table = source.counts.astype("<i8").tobytes()
    stream = source.sample(100_000, stream=0).tobytes()

    assert (
        hashlib.sha256(table).hexdigest()
        == "d0f1176d011d3b31820579be4362fa468ae182cd9c6029ae016514c763eb669e"
    )
    assert (
        hashlib.sha256(stream).hexdigest()
        == "f133d0cbac6820354303cec20c79de592ded91d2e1e5ec5cf338954b1a8fd7eb"
    )
    assert source.entropy_rate == pytest.approx(2.1790417423814774, abs=1e-12)
    assert source.opening_loss == pytest.approx(2.914456117396347, abs=1e-12)


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_the_long_run_loss_of_a_sample_is_the_entropy_rate(stream: int):
    source = MarkovSource.draw()
    losses = source.losses(source.sample(400_000, stream=stream))[2:]

    # Neighbouring losses depend on each other, so the error comes from the means of 400 blocks,
    # which do not, a thousand times the memory of the chain. 4.9 standard errors: false alarm 1e-6.
    blocks = np.array([block.mean() for block in np.array_split(losses, 400)])
    error = blocks.std(ddof=1) / math.sqrt(len(blocks))
    assert abs(losses.mean() - source.entropy_rate) < 4.9 * error
    assert error < 0.002  # the bound would notice a wrong entropy of 0.01


def test_windows_begin_with_the_opening_loss():
    source = MarkovSource.draw()
    # far apart, so that the windows are independent; 4.9 standard errors: false alarm 1e-6 each
    windows = source.sample(1_000_000, stream=7).reshape(-1, 50)[:, :4]
    losses = source.losses(windows)
    errors = losses.std(axis=0, ddof=1) / math.sqrt(len(losses))
    expected = [source.opening_loss, source.entropy_rate, source.entropy_rate]

    assert (np.abs(losses.mean(axis=0)[1:] - expected) < 4.9 * errors[1:]).all()
    assert source.opening_loss - source.entropy_rate > 50 * errors[1]


def test_transition_frequencies_are_the_table():
    source = MarkovSource.draw()
    tokens = source.sample(500_000, stream=3).astype(np.int64)
    row = tokens[:-2] % 6 * 6 + tokens[1:-1] % 6
    seen = np.zeros((36, 24))
    np.add.at(seen, (row, tokens[2:]), 1)
    visits = seen.sum(axis=1, keepdims=True)

    expected = visits * source.rows
    common = expected > 20
    z = (seen - expected)[common] / np.sqrt((expected * (1 - source.rows))[common])
    # the normal bound for all of at most 864 cells together: false alarm 864 * 6e-9 = 5e-6
    assert np.abs(z).max() < 5.8
    # and not too good either: z has variance 1 within 8 standard errors
    assert abs(z.var() - 1) < 8 * math.sqrt(2 / z.size)


def test_streams_are_independent():
    source = MarkovSource.draw()
    one, other = (source.sample(100_000, stream=stream) for stream in (0, 1))
    share = np.bincount(one, minlength=24) / one.size
    chance = float((share**2).sum())

    # symbols meet as often as strangers do; 8 binomial errors leave room for the chains' memory
    assert abs((one == other).mean() - chance) < 8 * math.sqrt(chance * (1 - chance) / one.size)


def test_another_seed_is_another_language():
    assert (MarkovSource.draw(1).counts != MarkovSource.draw(0).counts).any()


def test_dirichlet_rows_have_the_entropy_of_their_concentration():
    # E[H] = ψ(24·0.3 + 1) − ψ(0.3 + 1) = 2.20; 3600 rows of standard deviation 0.31
    from scipy.special import digamma

    rows = np.concatenate([MarkovSource.draw(seed).rows for seed in range(100)])
    entropies = -(rows * np.log(rows)).sum(axis=1)
    error = entropies.std(ddof=1) / math.sqrt(len(entropies))

    assert abs(entropies.mean() - (digamma(8.2) - digamma(1.3))) < 4.9 * error + 1e-3


def test_empty_and_short_rows_have_losses():
    source = MarkovSource.draw()

    assert source.losses(np.zeros((3, 0), dtype=np.int64)).shape == (3, 0)
    assert source.losses(np.array([5])) == pytest.approx(source.losses(np.array([5, 1]))[:1])


@pytest.mark.parametrize("tokens", [[24], [-1, 3]])
def test_a_strange_symbol_is_refused(tokens: list[int]):
    with pytest.raises(UsageError, match="Symbols of this language are 0 to 23; got"):
        MarkovSource.draw().losses(np.array(tokens))


@pytest.mark.parametrize(
    "counts",
    [
        np.full((4, 2), ONE),  # adds up to twice too much
        np.array([[ONE, 0]] * 4),  # an impossible symbol
        np.full((3, 2), ONE // 2),  # three pairs of classes
        np.full((9, 2), ONE // 2),  # more classes than symbols
        np.full(4, ONE),
    ],
    ids=["sum", "zero", "rows", "symbols", "dimensions"],
)
def test_a_table_that_is_none_is_refused(counts: np.ndarray):
    with pytest.raises(UsageError, match="`counts` needs classes² rows"):
        MarkovSource(counts)


@pytest.mark.parametrize("concentration", [0.0, 1.0, -1.0, float("nan")])
def test_a_concentration_out_of_range_is_refused(concentration: float):
    with pytest.raises(UsageError, match="between 0 and 1, both excluded; got"):
        MarkovSource.draw(concentration=concentration)


@pytest.mark.parametrize(
    ("length", "stream", "name"), [(-1, 0, "length"), (1, -1, "stream"), (1, 2**33, "stream")]
)
def test_a_sample_that_cannot_be_drawn_is_refused(length: int, stream: int, name: str):
    with pytest.raises(UsageError, match=f"`{name}` must be at least 0"):
        MarkovSource.draw().sample(length, stream=stream)


def test_a_negative_seed_is_refused():
    with pytest.raises(UsageError, match="`seed` must be at least 0"):
        MarkovSource.draw(-1)
