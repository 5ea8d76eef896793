import numpy as np
import pytest

from redrop.errors import UsageError
from redrop.mask.key import mask_key
from redrop.mask.reference import keep_mask
from redrop.mask.replay import replay


def test_it_is_the_reference_under_the_key_of_the_step():
    named = {"seed": 7, "step": 3, "site": "blocks.0.hidden"}
    for pass_ in (0, 2):
        key = mask_key(7, 3, "blocks.0.hidden", pass_)
        found = replay(**named, p=0.4, shape=(3, 5), pass_=pass_)
        assert np.array_equal(found, keep_mask(key, 0.4, (3, 5)))
    assert replay(**named, p=0.4, shape=()).shape == ()


@pytest.mark.parametrize("shape", [5, None, 2.0])
def test_a_shape_has_a_size_for_each_dimension(shape):
    with pytest.raises(UsageError, match="`shape` needs a size for each dimension"):
        replay(seed=0, step=0, site="a", p=0.1, shape=shape)
