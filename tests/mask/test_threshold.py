import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.mask.threshold import scale, threshold


@given(st.floats(0, 1))
def test_threshold_is_the_floor(p):
    assert threshold(p) == math.floor(Fraction(p) * 2**32)


@given(st.integers(0, 2**32 - 1))
def test_scale_keeps_the_expectation_of_the_realised_rate(t):
    kept_share = 1 - Fraction(t, 2**32)
    assert float(kept_share) * scale(t) == pytest.approx(1, rel=1e-15)


def test_edges():
    assert threshold(0.0) == 0
    assert threshold(1.0) == 2**32
    assert threshold(math.nextafter(1.0, 0.0)) == 2**32 - 1
    assert threshold(math.nextafter(0.0, 1.0)) == 0
    assert scale(0) == 1.0


@pytest.mark.parametrize("p", [1.5, -0.1, math.nan, math.inf, -math.inf])
def test_bad_p_says_the_rule_and_what_came_in(p):
    with pytest.raises(UsageError, match=rf"`p` must lie in \[0, 1\]; got {p}\."):
        threshold(p)


@pytest.mark.parametrize(("p", "share"), [(15, "0.15"), (2, "0.02"), (100, "1")])
def test_a_percentage_is_recognised(p, share):
    with pytest.raises(UsageError, match=rf"A percentage\? Pass {share}\."):
        threshold(p)


@pytest.mark.parametrize("p", [1.0001, 1.5, 1.99, 101])
def test_a_slip_is_no_percentage(p):
    with pytest.raises(UsageError, match=rf"in \[0, 1\]; got {p}\. Pass the share of elements"):
        threshold(p)


@pytest.mark.parametrize("p", ["0.1", None, 1j])
def test_what_is_no_number_is_refused(p):
    with pytest.raises(UsageError, match="`p` must be a number"):
        threshold(p)
