import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from redrop.data.table_encoding import encode_column
from redrop.data.table_source import Column

TRAIN = np.arange(6)


def numbers(*values: float) -> Column:
    return Column(name="x", kind="number", values=np.array(values, dtype=np.float64))


def texts(*values: str | None) -> Column:
    filled = np.empty(len(values), dtype=object)
    filled[:] = values
    return Column(name="x", kind="text", values=filled)


@given(
    values=hnp.arrays(np.float64, 12, elements=st.floats(-1e6, 1e6).map(lambda x: round(x, 3))),
    held_out=st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=6),
)
def test_numbers_are_standardised_by_training_alone(values: np.ndarray, held_out: list[float]):
    assume(values[:6].std() > 1e-2)
    encoded = encode_column(Column(name="x", kind="number", values=values), TRAIN)
    assert encoded.names == ("x",)
    np.testing.assert_allclose(
        encoded.values[:, 0], (values - values[:6].mean()) / values[:6].std(), rtol=1e-9, atol=1e-9
    )
    changed = values.copy()
    changed[6:] = held_out
    again = encode_column(Column(name="x", kind="number", values=changed), TRAIN)
    assert np.array_equal(encoded.values[:6], again.values[:6])


def test_a_missing_number_becomes_the_training_median_and_is_flagged():
    encoded = encode_column(numbers(1, np.nan, 3, 100, 2, 4, np.nan, 1000), TRAIN)
    filled = np.array([1, 3, 3, 100, 2, 4, 3, 1000])
    assert encoded.names == ("x", "x missing")
    np.testing.assert_allclose(
        encoded.values[:, 0], (filled - filled[:6].mean()) / filled[:6].std()
    )
    assert encoded.values[:, 1].tolist() == [0, 1, 0, 0, 0, 0, 1, 0]
    assert encoded.notes == (
        "2 missing values of 'x' became the training median 3, and a column flags them.",
    )


def test_what_is_missing_in_held_out_rows_only_gets_no_flag():
    # training could learn nothing about the flag
    encoded = encode_column(numbers(1, 2, 3, 4, 5, 6, np.nan), TRAIN)
    assert encoded.names == ("x",)
    assert encoded.values[6, 0] == 0  # the median is the mean here


@pytest.mark.parametrize(
    "column",
    [
        numbers(5, 5, 5, 5, 5, 5, 1, 2),
        numbers(*[0.1] * 6, 0.2),
        numbers(*[np.nan] * 6, 1),
        texts("a", "a", "a", "a", "a", "a", "b"),
        texts(*[None] * 6, "a", "b"),
    ],
)
def test_a_column_constant_in_training_is_left_out(column: Column):
    encoded = encode_column(column, TRAIN)
    assert encoded.names == ()
    assert encoded.values.shape == (len(column.values), 0)
    assert encoded.notes == ("Column 'x' was left out: it is constant in training.",)


@pytest.mark.parametrize(
    "column", [numbers(5, np.nan, 5, 5, 5, 5, 5), texts("a", None, "a", "a", "a", "a", "b")]
)
def test_a_constant_that_is_sometimes_missing_leaves_its_flag(column: Column):
    encoded = encode_column(column, TRAIN)
    assert encoded.names == ("x missing",)
    assert encoded.values[:, 0].tolist() == [0, 1, 0, 0, 0, 0, 0]


def test_categories_are_those_of_training():
    encoded = encode_column(texts("b", "a", None, "b", "a", "a", "c", None), TRAIN)
    assert encoded.names == ("x=a", "x=b", "x missing")
    assert encoded.values.tolist() == [
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
        [0, 1, 0],
        [1, 0, 0],
        [1, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
    ]
    assert encoded.notes == ("1 held-out rows have a category of 'x' that training never saw.",)
