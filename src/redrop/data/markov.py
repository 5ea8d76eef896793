"""A language of known entropy: a second-order Markov source over latent classes.

24 symbols fall into 6 classes (symbol mod 6). The classes a, b of the last two symbols choose one
of 36 distributions over the next symbol, each drawn once from Dirichlet(0.3):

    P(x_t = x | past) = rows[6 a + b, x],   a = class(x_{t−2}),  b = class(x_{t−1})

A network has to find the classes and the order of the source. The least loss possible is the
entropy rate H = Σ_s π(s) H(rows[s]), with π the stationary distribution of the 36 pairs of classes;
loss − H is then exactly what the network has not learned, or has learned wrongly.

All probabilities are multiples of 2^−16 and a symbol is one look-up with 16 random bits: no
rounding enters, and every machine generates the same symbols.

References:
    Brown et al.: Class-Based n-gram Models of Natural Language. Computational Linguistics 1992.
    Cover, Thomas: Elements of Information Theory, 2nd ed., section 4.2 (entropy rate).
    Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3. SC 2011 (Philox).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import isqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from redrop.data.ranges import SEED_MOST, check_range
from redrop.errors import UsageError

SYMBOLS = 24
CLASSES = 6
CONCENTRATION = 0.3
LANGUAGE_SEED = 0

ONE = 2**16
"""Probabilities are counts out of this many."""

BURN_IN = 256
"""Symbols thrown away before a stream begins, so that it begins in the stationary state: what is
left of the start shrinks by the second eigenvalue (here 0.44) with each symbol."""

LANGUAGE_KEY = 2**63
"""Second key word of the generator for the table; the streams count up from it. Training batches
use the same generator with the step as second key word, which stays below."""


@dataclass(frozen=True, eq=False)
class MarkovSource:
    """One language: its table of next-symbol probabilities, its streams, its exact losses.

    Args:
        counts: Next-symbol probabilities in units of 2^−16, shape (classes², symbols); each row
            holds no zero and adds up to 2^16. Symbol x belongs to class x mod classes.
        seed: Keys the streams, 0 <= seed < 2^64.

    Raises:
        UsageError: The counts do not have this form.

    >>> source = MarkovSource.draw()
    >>> source.counts.shape, round(source.entropy_rate, 3)
    ((36, 24), 2.179)
    """

    counts: NDArray[np.int64]
    seed: int = LANGUAGE_SEED

    def __post_init__(self) -> None:
        if (
            self.counts.ndim != 2
            or len(self.counts) != self.classes**2
            or not self.classes <= self.symbols <= 256
            or (self.counts < 1).any()
            or (self.counts.sum(axis=1) != ONE).any()
        ):
            raise UsageError(
                f"`counts` needs classes² rows of `symbols` positive counts that add up to {ONE},"
                f" with classes <= symbols <= 256; got shape {self.counts.shape}."
                " Draw one with MarkovSource.draw(seed)."
            )

    @classmethod
    def draw(
        cls,
        seed: int = LANGUAGE_SEED,
        *,
        symbols: int = SYMBOLS,
        classes: int = CLASSES,
        concentration: float = CONCENTRATION,
    ) -> Self:
        """Draw a language from its seed; the defaults give the language of the source `markov`.

        Args:
            seed: Of the table and of the streams.
            symbols: Size of the vocabulary.
            classes: Number of latent classes, at most `symbols`.
            concentration: Of the Dirichlet distribution, between 0 and 1, both excluded; small
                values leave few symbols likely, and so a low entropy.
        """
        states = classes**2
        gammas = _gamma(concentration, states * symbols, seed).reshape(states, symbols)
        shares = gammas / gammas.sum(axis=1, keepdims=True)
        # every symbol keeps one unit, so that no stream whatsoever has an infinite loss
        counts = 1 + np.floor(shares * (ONE - symbols)).astype(np.int64)
        counts[np.arange(states), counts.argmax(axis=1)] += ONE - counts.sum(axis=1)
        return cls(counts, seed)

    @property
    def symbols(self) -> int:
        """Size of the vocabulary."""
        return int(self.counts.shape[1])

    @property
    def classes(self) -> int:
        """Number of latent classes."""
        return isqrt(len(self.counts))

    @property
    def entropy_rate(self) -> float:
        """Least expected loss in nats per symbol, once two symbols of context are known."""
        return float(self.stationary @ _entropy(self.rows))

    @property
    def opening_loss(self) -> float:
        """Least expected loss in nats where one symbol of context is known: a window's first."""
        return float(self._after_none @ _entropy(self._after_one))

    @cached_property
    def rows(self) -> NDArray[np.float64]:
        """Next-symbol distribution after each pair of classes, shape (classes², symbols)."""
        return self.counts / ONE

    @cached_property
    def stationary(self) -> NDArray[np.float64]:
        """Long-run share of each pair of classes, shape (classes²,): π M = π and Σ π = 1."""
        states = len(self.counts)
        moves = np.zeros((states, states))
        for symbol in range(self.symbols):
            moves[np.arange(states), self._row_after[:, symbol]] += self.rows[:, symbol]
        # π (M − 1) = 0 has rank states − 1; one more equation sets the sum
        equations = np.vstack([moves.T - np.eye(states), np.ones(states)])
        known = np.append(np.zeros(states), 1.0)
        return np.asarray(np.linalg.lstsq(equations, known, rcond=None)[0], dtype=np.float64)

    def losses(self, tokens: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return −ln P(token | the tokens before it in its row): the loss of the best predictor.

        Args:
            tokens: Symbols, shape (..., T). Each row begins with nothing known, as a network's
                window does. To compare with a network that is fed a window and scored on the
                token after each, pass window and last target together and drop the first loss.

        Returns:
            Losses in nats, shape (..., T).

        Raises:
            UsageError: A token is no symbol of this language.

        >>> source = MarkovSource.draw()
        >>> losses = source.losses(source.sample(100_000, stream=0))
        >>> abs(losses.mean() - source.entropy_rate) < 0.02
        np.True_
        """
        tokens = np.asarray(tokens, dtype=np.int64)
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self.symbols:
            raise UsageError(
                f"Symbols of this language are 0 to {self.symbols - 1}; got {tokens.min()} to"
                f" {tokens.max()}. Pass tokens of the source `markov`."
            )
        classes = tokens % self.classes
        chances = np.empty(tokens.shape)
        chances[..., :1] = self._after_none[tokens[..., :1]]
        chances[..., 1:2] = self._after_one[tokens[..., :-1][..., :1], tokens[..., 1:2]]
        row = classes[..., :-2] * self.classes + classes[..., 1:-1]
        chances[..., 2:] = self.rows[row, tokens[..., 2:]]
        return -np.log(chances)

    def sample(self, length: int, *, stream: int) -> NDArray[np.uint8]:
        """Return the first `length` symbols of an endless stream; streams are independent.

        Randomness:
            (seed, stream) decide it; a longer sample begins with the shorter one.

        >>> source = MarkovSource.draw()
        >>> source.sample(8, stream=0).tolist() == source.sample(99, stream=0)[:8].tolist()
        True
        """
        check_range("length", length, 0)
        check_range("stream", stream, 0, 2**32)
        # one byte string a row: position = 16 random bits, content = symbol. Each symbol waits for
        # the one before, so nothing vectorises; indexing bytes and lists is the fastest plain loop
        symbol_of = [
            np.repeat(np.arange(self.symbols, dtype=np.uint8), row).tobytes() for row in self.counts
        ]
        row_after = self._row_after.tolist()
        row, drawn = 0, bytearray()
        numbers = _random_bits(self.seed, LANGUAGE_KEY + 1 + stream)
        for bits in islice(numbers, length + BURN_IN):
            symbol = symbol_of[row][bits]
            row = row_after[row][symbol]
            drawn.append(symbol)
        return np.frombuffer(drawn, dtype=np.uint8)[BURN_IN:].copy()

    @cached_property
    def _row_after(self) -> NDArray[np.int64]:
        """The pair of classes after a pair and a symbol, shape (classes², symbols)."""
        rows, symbols = np.arange(self.classes**2)[:, None], np.arange(self.symbols)
        after: NDArray[np.int64] = rows % self.classes * self.classes + symbols % self.classes
        return after

    @cached_property
    def _joint(self) -> NDArray[np.float64]:
        """P(class of one symbol, the symbol after it) in the long run, (classes, symbols)."""
        weighted = self.stationary[:, None] * self.rows
        return np.asarray(weighted.reshape(self.classes, self.classes, self.symbols).sum(axis=0))

    @cached_property
    def _after_none(self) -> NDArray[np.float64]:
        """P(symbol) in the long run, shape (symbols,)."""
        return np.asarray(self._joint.sum(axis=0))

    @cached_property
    def _after_one(self) -> NDArray[np.float64]:
        """P(next symbol | one symbol), shape (symbols, symbols)."""
        before = self._joint / self._after_none  # P(class of the symbol before | symbol)
        classes = np.arange(self.symbols) % self.classes
        rows = self.rows.reshape(self.classes, self.classes, self.symbols)[:, classes]
        return np.asarray(np.einsum("as,ast->st", before, rows))


def _entropy(distributions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy in nats along the last dimension; no probability may be 0."""
    return np.asarray(-(distributions * np.log(distributions)).sum(axis=-1))


def _random_bits(seed: int, stream_key: int) -> Iterator[int]:
    """Numbers of 16 random bits: Philox4x64-10 words under (seed, stream_key), low bits first."""
    generator = _philox(seed, stream_key)
    while True:  # in pieces: as Python integers, all of a long stream would fill the memory
        yield from generator.random_raw(4096).astype("<u8").view("<u2").tolist()


def _gamma(shape: float, count: int, seed: int) -> NDArray[np.float64]:
    """Gamma(shape) variates, shape < 1, by Jöhnk's method.

    With U, V uniform, x = U^(1/shape), y = V^(1/(1−shape)) and x + y <= 1, x / (x + y) is
    Beta(shape, 1 − shape); times an Exp(1) variate it is Gamma(shape). NumPy's own
    `Generator.dirichlet` may change its stream between versions; Philox words may not.

    References:
        Devroye: Non-Uniform Random Variate Generation, 1986, chapter IX (gamma and beta).
    """
    if not 0 < shape < 1:
        raise UsageError(
            f"`concentration` must lie between 0 and 1, both excluded; got {shape}. Pass 0.3."
        )
    words = _philox(seed, LANGUAGE_KEY).random_raw((2 * count + 64) * 3)
    # 53 bits fill a double's fraction; more would round up to 1, whose logarithm below is infinite
    u, v, w = (words >> np.uint64(11)).reshape(-1, 3).T * 2.0**-53
    x, y = u ** (1 / shape), v ** (1 / (1 - shape))
    accepted = (x + y <= 1) & (x + y > 0)  # at least pi / 4 of them
    variates = x[accepted] / (x + y)[accepted] * -np.log1p(-w[accepted])
    return np.asarray(variates[:count], dtype=np.float64)


def _philox(seed: int, stream_key: int) -> np.random.Philox:
    check_range("seed", seed, 0, SEED_MOST)
    return np.random.Philox(key=np.array([seed, stream_key], dtype=np.uint64))
