import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.data.ranges import check_range
from redrop.errors import UsageError


@given(
    value=st.integers(-20, 20), smallest=st.integers(-9, 9), largest=st.none() | st.integers(-9, 9)
)
def test_exactly_the_values_in_the_range_pass(value: int, smallest: int, largest: int | None):
    if value >= smallest and (largest is None or value <= largest):
        check_range("n", value, smallest, largest)
    else:
        with pytest.raises(UsageError, match=rf"`n` must be at least {smallest}.*; got {value}\."):
            check_range("n", value, smallest, largest)
