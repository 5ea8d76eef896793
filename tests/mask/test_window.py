import pytest

from redrop.errors import UsageError
from redrop.mask.window import Window, check_shared, coordinates


def test_four_dimensions_are_sample_head_query_key():
    plane, row, col = coordinates((2, 3, 4, 5))
    assert plane[1, 2, 0, 0] == 1 * 3 + 2
    assert row[0, 0, 3, 0] == 3
    assert col[0, 0, 0, 4] == 4


def test_three_dimensions_are_sample_token_channel():
    plane, row, col = coordinates((2, 3, 4))
    assert (plane[1, 0, 0], row[0, 2, 0], col[0, 0, 3]) == (1, 2, 3)


def test_few_dimensions_have_coordinates_zero():
    plane, row, col = coordinates((4,))
    assert (int(plane[0]), int(row[0]), int(col[3])) == (0, 0, 3)
    assert [int(c) for c in coordinates(())] == [0, 0, 0]


def test_offset_counts_in_global_sizes():
    plane, row, col = coordinates((1, 2, 2, 2), Window((4, 6, 8, 8), (3, 4, 5, 6)))
    assert plane[0, 1, 0, 0] == 3 * 6 + 5
    assert (row[0, 0, 1, 0], col[0, 0, 0, 1]) == (6, 7)


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((4, 4), Window((4, 4), (1, 0))),
        ((4,), Window((4, 4), (0, 0))),
    ],
    ids=["reaches beyond", "dimensions differ"],
)
def test_window_must_lie_inside_its_whole(shape, window):
    with pytest.raises(UsageError, match="A window must lie inside its whole"):
        coordinates(shape, window)


@pytest.mark.parametrize(
    "sizes", [(2**32 + 1, 1, 1), (2**16, 2**17, 1, 1), (2**32 + 1, 1), (2**35 + 1,)]
)
def test_coordinates_never_wrap_around(sizes):
    window = Window(sizes, tuple(size - 1 for size in sizes))
    with pytest.raises(UsageError, match="at most 2\\^32 planes"):
        coordinates((1,) * len(sizes), window)


def test_window_refuses_nonsense():
    with pytest.raises(UsageError, match="one size and one offset"):
        Window((4, 4), (0,))
    with pytest.raises(UsageError, match="one size and one offset"):
        Window((4,), (-1,))


def test_shared_dimensions_may_count_from_the_end():
    assert check_shared((-1, 0, 2), 3) == (0, 2)
    with pytest.raises(UsageError, match="A shared dimension must exist"):
        check_shared((3,), 3)
