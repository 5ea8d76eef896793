"""Designs are checked by what they promise: balance, orthogonality, resolution."""

from itertools import combinations

import numpy as np
import pytest

from redrop.errors import UsageError
from redrop.study.factorial import LETTERS, fitting_design, make_design

SIZES = range(2, 9)


@pytest.mark.parametrize("factors", SIZES)
@pytest.mark.parametrize("replicates", [1, 2, 3])
def test_every_factor_is_high_in_half_of_every_block(factors: int, replicates: int) -> None:
    design = make_design(factors, replicates)
    assert design.blocks == 2 * replicates
    for block in range(design.blocks):
        high = np.array([row.high for row in design.of_block(block)])
        assert (high.mean(axis=0) == 0.5).all()


@pytest.mark.parametrize("factors", SIZES)
def test_main_effects_are_orthogonal_to_each_other_and_to_interactions_of_two(factors: int) -> None:
    signs = make_design(factors).signs()
    main = signs.T @ signs
    assert (main == len(signs) * np.eye(factors)).all()
    pairs = [signs[:, i] * signs[:, j] for i, j in combinations(range(factors), 2)]
    assert not (signs.T @ np.array(pairs).T).any()


@pytest.mark.parametrize("factors", SIZES)
def test_the_generators_hold_in_every_run(factors: int) -> None:
    design = make_design(factors)
    signs = {letter: design.signs()[:, i] for i, letter in enumerate(LETTERS[:factors])}
    for generator in design.generators:
        made, _, product = generator.partition("=")
        expected = np.prod([signs[letter] for letter in product.lstrip("-")], axis=0)
        assert (signs[made] == (-expected if product.startswith("-") else expected)).all()


@pytest.mark.parametrize("factors", SIZES)
def test_interactions_of_one_group_coincide_and_those_of_two_do_not(factors: int) -> None:
    design = make_design(factors)
    signs = design.signs()

    def column(pair: str) -> np.ndarray:
        first, second = (LETTERS.index(letter) for letter in pair)
        return signs[:, first] * signs[:, second]

    groups = design.interactions()
    assert sum(len(group) for group in groups) == factors * (factors - 1) // 2
    for group in groups:
        assert all(abs(column(group[0]) @ column(pair)) == len(signs) for pair in group)
    for one, other in combinations(groups, 2):
        assert column(one[0]) @ column(other[0]) == 0
    assert (max(len(group) for group in groups) > 1) == (design.resolution == "IV")


@pytest.mark.parametrize("factors", SIZES)
def test_runs_differ_and_the_baseline_is_the_first(factors: int) -> None:
    design = make_design(factors)
    names = [row.name for row in design.rows]
    assert names[0] == "(1)"
    assert len(set(names)) == (4 if factors == 2 else len(names))


@pytest.mark.parametrize("factors", [-1, 0, 1, 9])
def test_other_numbers_of_factors_are_refused(factors: int) -> None:
    with pytest.raises(UsageError, match="2 to 8 factors"):
        make_design(factors)


@pytest.mark.parametrize("factors", range(13))
def test_a_design_that_fits_is_paid_for(factors: int) -> None:
    for runs in range(40):
        design = fitting_design(factors, runs)
        if design is None:
            assert factors < 2 or runs < 8
        else:
            assert len(design.rows) <= runs
            assert design.factors == min(factors, 8 if runs >= 16 else 4)
