import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redrop.data.split import sizes, split, sufficient_length
from redrop.errors import UsageError

shares = st.tuples(st.floats(0.001, 0.9), st.floats(0.001, 0.9)).filter(lambda s: sum(s) <= 0.9)


@given(length=st.integers(0, 5000), share=shares)
def test_the_parts_put_together_are_the_whole_in_order(length: int, share: tuple[float, float]):
    items = list(range(length))
    parts = split(length, *share)

    assert items[parts.train] + items[parts.validation] + items[parts.test] == items


@given(length=st.integers(0, 5000), share=shares)
def test_a_held_out_part_is_its_share_rounded_down(length: int, share: tuple[float, float]):
    _, validation, test = sizes(split(length, *share))

    assert 0 <= length * share[0] - validation < 1
    assert 0 <= length * share[1] - test < 1


@given(part=st.integers(1, 3000), share=shares)
@example(part=29, share=(0.29, 0.29))  # 29 / 0.29 is 100.0 but 100 * 0.29 is below 29
def test_a_sufficient_length_suffices_and_wastes_little(part: int, share: tuple[float, float]):
    length = sufficient_length(part, *share)

    assert min(sizes(split(length, *share))) >= part
    assert length <= part / min(*share, 1 - sum(share)) + 2


@pytest.mark.parametrize("share", [0.0, -0.1, float("nan"), 0.0009])
@pytest.mark.parametrize("name", ["validation", "test"])
def test_a_share_that_leaves_a_part_empty_is_refused(name: str, share: float):
    with pytest.raises(UsageError, match=rf"`{name}` is a share .* got {share}\. Pass 0\.1"):
        split(1000, **{name: share})


@pytest.mark.parametrize("share", [(0.5, 0.5), (10.0, 10.0), (0.8, 0.11)])
def test_shares_that_leave_too_little_training_are_refused(share: tuple[float, float]):
    with pytest.raises(UsageError, match=r"together may take 0\.9 of the data; got .* Pass"):
        split(1000, *share)
