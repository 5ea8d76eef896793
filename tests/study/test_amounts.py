import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.study.amounts import parse_amount, say_amount


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("124M", 124_000_000),
        ("10b", 10**10),
        ("2G", 2 * 10**9),
        ("3e8", 3 * 10**8),
        ("25_000", 25000),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, number: int) -> None:
    assert parse_amount(text, "tokens") == number


@pytest.mark.parametrize("text", ["", "M", "-3", "0", "0.4", "1e999", "nan", "inf", "12 apples"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"`tokens` must be a number of at least 1"):
        parse_amount(text, "tokens")


@given(st.integers(1, 10**15))
def test_what_is_said_can_be_read_again(number: int) -> None:
    assert parse_amount(say_amount(number), "n") == pytest.approx(number, rel=6e-3)
