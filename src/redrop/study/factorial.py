"""Two-level fractional factorial designs: the effects of up to eight factors from 16 runs.

Every factor is high in half of the runs and low in the other half, and every pair of factors meets
in all four combinations equally often. So each main effect is a difference between two halves of
all runs: it is known as well as if the whole experiment had been about this factor alone. What a
fraction gives up is told by its generators: columns that coincide ("aliases") cannot be separated.
All designs here have resolution IV or more: main effects coincide with no two-factor interaction.

References:
    Box, Hunter, Hunter: Statistics for Experimenters, 2nd edition, 2005, chapters 5 and 6.
    NIST/SEMATECH e-Handbook of Statistical Methods, section 5.3.3.4.
    https://www.itl.nist.gov/div898/handbook/pri/section3/pri334.htm
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from redrop.errors import UsageError

LETTERS = "ABCDEFGH"
MOST_FACTORS = len(LETTERS)

# Per number of factors: the letters of the basic factors, which run through all combinations, and
# the products that the others are set to. The sign of E = -ABCD puts the run with everything low,
# which is the baseline, into the fraction; products of three letters do so by themselves.
_DESIGNS: dict[int, tuple[str, tuple[str, ...]]] = {
    2: ("AB", ()),
    3: ("ABC", ()),
    4: ("ABC", ("D=ABC",)),
    5: ("ABCD", ("E=-ABCD",)),
    6: ("ABCD", ("E=ABC", "F=BCD")),
    7: ("ABCD", ("E=ABC", "F=BCD", "G=ACD")),
    8: ("ABCD", ("E=BCD", "F=ACD", "G=ABC", "H=ABD")),
}

Levels = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One run of a design: which factors are high, and in which block it stands."""

    high: Levels
    block: int

    @property
    def name(self) -> str:
        """The letters of the factors that are high, as statisticians write a run; "(1)" for none.

        >>> Row((True, False, False, True), 0).name
        'ad'
        """
        pairs = zip(LETTERS.lower(), self.high, strict=False)
        return "".join(letter for letter, is_high in pairs if is_high) or "(1)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """A two-level design in blocks.

    Args:
        factors: How many.
        generators: The rules of the fraction, such as "E=BCD"; none for a full factorial.
        rows: In the order of their blocks.
        blocks: Number of blocks; the runs of one block share a seed.
        lost: For each block split the interaction column that was given up for it.
    """

    factors: int
    generators: tuple[str, ...]
    rows: tuple[Row, ...]
    blocks: int
    lost: tuple[str, ...]

    @property
    def resolution(self) -> str:
        """The length of the shortest word of the defining relation, or "full"."""
        if not self.generators:
            return "full"
        return "V" if self.factors == 5 else "IV"

    def of_block(self, block: int) -> tuple[Row, ...]:
        """Return the runs of one block."""
        return tuple(row for row in self.rows if row.block == block)

    def signs(self) -> NDArray[np.float64]:
        """Return -1 and +1 per run and factor.

        Shape:
            (runs, factors)
        """
        return np.array([[1.0 if high else -1.0 for high in row.high] for row in self.rows])

    def interactions(self) -> tuple[tuple[str, ...], ...]:
        """Return the two-factor interactions, those that coincide in one tuple.

        >>> make_design(4).interactions()
        (('AB', 'CD'), ('AC', 'BD'), ('AD', 'BC'))
        """
        masks, _ = _masks(self.factors)
        groups: dict[int, list[str]] = {}
        for (i, mask), (j, other) in combinations(enumerate(masks), 2):
            groups.setdefault(mask ^ other, []).append(LETTERS[i] + LETTERS[j])
        return tuple(tuple(group) for group in groups.values())


def make_design(factors: int, replicates: int = 1) -> Design:
    """Return the design for so many factors: 8 runs for 2 to 4, 16 for 5 to 8.

    A single replicate is split into two blocks, each with a seed of its own, along an interaction
    column: half of the runs of every factor's high level stand in each block, so the difference
    between seeds falls out of every main effect, and each effect is seen at two seeds. A further
    replicate has two new seeds and gives up another column. Two factors make only four
    combinations: they run whole at each of two seeds.

    Args:
        factors: 2 to 8.
        replicates: How often the design is run, at new seeds each time.

    Raises:
        UsageError: Another number of factors.

    >>> design = make_design(8)
    >>> len(design.rows), design.blocks, design.generators, design.resolution
    (16, 2, ('E=BCD', 'F=ACD', 'G=ABC', 'H=ABD'), 'IV')
    >>> [row.name for row in make_design(4).rows]
    ['(1)', 'ab', 'cd', 'abcd', 'ad', 'bd', 'ac', 'bc']
    """
    if factors not in _DESIGNS:
        raise UsageError(f"A screening has 2 to {MOST_FACTORS} factors; got {factors}.")
    basic, generators = _DESIGNS[factors]
    masks, signs = _masks(factors)
    runs = range(1 << len(basic))
    levels = [_levels(run, masks, signs) for run in runs]
    rows: list[Row] = []
    lost: list[str] = []
    splits = _splitting_columns(masks, len(basic))
    for replicate in range(replicates):
        for half in range(2):
            block = 2 * replicate + half
            if not splits:
                rows += [Row(each, block) for each in levels]
                continue
            split = splits[replicate % len(splits)]
            # The run with everything low has no letter of the split: it opens the first block.
            chosen = [run for run in runs if (run & split).bit_count() % 2 == half]
            rows += [Row(levels[run], block) for run in chosen]
        lost += [_coinciding(splits[replicate % len(splits)], masks)] if splits else []
    return Design(
        factors=factors,
        generators=generators,
        rows=tuple(rows),
        blocks=2 * replicates,
        lost=tuple(lost),
    )


def fitting_design(factors: int, runs: int) -> Design | None:
    """Return the largest design for the first of so many factors that so many runs pay for.

    Two replicates where they fit; fewer factors where one does not; None below 8 runs, and for
    fewer than 2 factors, which need no screening.

    >>> [design and (design.factors, len(design.rows)) for design in
    ...     (fitting_design(8, 33), fitting_design(8, 16), fitting_design(8, 15),
    ...      fitting_design(8, 7), fitting_design(1, 99))]
    [(8, 32), (8, 16), (4, 8), None, None]
    """
    if factors < min(_DESIGNS):
        return None
    for kept in sorted({min(factors, MOST_FACTORS), min(factors, 4)}, reverse=True):
        for replicates in (2, 1):
            design = make_design(kept, replicates)
            if len(design.rows) <= runs:
                return design
    return None


def _masks(factors: int) -> tuple[list[int], list[int]]:
    """Return for each factor which basic factors it is the product of, as bits, and its sign."""
    basic, generators = _DESIGNS[factors]
    masks, signs = [1 << place for place in range(len(basic))], [1] * len(basic)
    for generator in generators:
        product = generator.partition("=")[2]
        signs.append(-1 if product.startswith("-") else 1)
        masks.append(sum(1 << basic.index(letter) for letter in product.lstrip("-")))
    return masks, signs


def _levels(run: int, masks: list[int], signs: list[int]) -> Levels:
    """Return which factors are high in a run; bit i of `run` is the level of basic factor i."""
    lows = [mask.bit_count() - (run & mask).bit_count() for mask in masks]
    return tuple((-1) ** low * sign > 0 for low, sign in zip(lows, signs, strict=True))


def _splitting_columns(masks: list[int], basic: int) -> list[int]:
    """Return the columns that may part a replicate into blocks, the least missed one first.

    Least missed is the column with the fewest two-factor interactions, then the longest product.
    """
    interactions = [one ^ other for one, other in combinations(masks, 2)]
    free = [column for column in range(1, 1 << basic) if column not in masks]
    if len(masks) == 2:  # two factors have one interaction, and it is worth more than a split
        return []
    return sorted(free, key=lambda column: (interactions.count(column), -column.bit_count()))


def _coinciding(column: int, masks: list[int]) -> str:
    """Return the two-factor interactions in a column, or the product of basic factors it is."""
    pairs = [
        LETTERS[i] + LETTERS[j]
        for (i, one), (j, other) in combinations(enumerate(masks), 2)
        if one ^ other == column
    ]
    basic = "".join(letter for place, letter in enumerate(LETTERS) if column >> place & 1)
    return "+".join(pairs) or basic
