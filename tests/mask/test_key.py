import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.mask.key import mask_key, site_id
from tests.vectors import definition

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
names = st.text(min_size=1, max_size=20)


@given(seed=u64, step=u32, pass_=u32, name=names)
def test_key_is_what_the_specification_says(seed, step, pass_, name):
    assert mask_key(seed, step, name, pass_) == definition.key_of_mask(seed, step, pass_, name)


@given(name=names)
def test_site_is_named_or_numbered_alike(name):
    assert mask_key(1, 2, name) == mask_key(1, 2, site_id(name))


@given(seed=u64, step=u32, name=names)
def test_each_integer_changes_the_key(seed, step, name):
    key = mask_key(seed, step, name)
    assert key != mask_key(seed ^ 1 << 63, step, name)
    assert key != mask_key(seed, step ^ 1, name)
    assert key != mask_key(seed, step, name + "x")
    assert key != mask_key(seed, step, name, 1)


@pytest.mark.parametrize(
    ("integers", "named"),
    [
        ((2**64, 0, 0, 0), "seed"),
        ((-1, 0, 0, 0), "seed"),
        ((0, 2**32, 0, 0), "step"),
        ((0, 0, 2**64, 0), "site"),
        ((0, 0, 0, 2**32), "pass"),
    ],
)
def test_out_of_range_is_an_error_and_never_wraps(integers, named):
    with pytest.raises(UsageError, match=rf"`{named}` must lie in \[0, 2\^"):
        mask_key(*integers)


def test_a_site_needs_a_name():
    with pytest.raises(UsageError, match="A site needs a name"):
        site_id("")
