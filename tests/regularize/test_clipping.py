import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from redrop.regularize.clipping import clip_by_norm, clip_by_value

VALUES = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=12)
BOUNDS = st.floats(1 / 1024, 1024, width=32)


def parameters(*gradients):
    made = []
    for gradient in gradients:
        parameter = torch.nn.Parameter(torch.zeros(len(gradient)))
        parameter.grad = torch.tensor(gradient)
        made.append(parameter)
    made.append(torch.nn.Parameter(torch.zeros(3)))  # one that the loss does not reach
    return made


def gradients(made):
    return np.concatenate([p.grad.double().numpy() for p in made if p.grad is not None])


@given(VALUES, VALUES, BOUNDS)
def test_by_norm_it_is_the_formula(first, second, bound):
    made = parameters(first, second)
    before = gradients(made)
    norm = clip_by_norm(made, bound)
    expected = math.sqrt((before**2).sum())
    assert norm.item() == pytest.approx(expected, rel=1e-5, abs=1e-15)
    after = before * min(1.0, bound / (expected + 1e-6))
    np.testing.assert_allclose(gradients(made), after, rtol=1e-5, atol=1e-15)
    assert np.sqrt((gradients(made) ** 2).sum()) <= bound * (1 + 1e-5)


@given(VALUES, BOUNDS)
def test_by_value_it_clamps_each_element_and_counts_those_beyond(values, bound):
    made = parameters(values, [2 * bound, bound, -bound])
    before = gradients(made)
    share = clip_by_value(made, bound)
    np.testing.assert_array_equal(gradients(made), np.clip(before, -bound, bound))
    assert share.item() == pytest.approx(np.mean(np.abs(before) > bound))
    assert share.item() > 0.0


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
def test_a_bound_of_0_leaves_every_gradient_as_it_is(clip):
    for values in ([3.0, -4.0], [math.inf, 1.0], [math.nan, 1.0]):
        made = parameters(values)
        clip(made, 0.0)
        np.testing.assert_array_equal(gradients(made), np.array(values))
    assert clip_by_norm(parameters([3.0, -4.0]), 0.0).item() == 5.0
    assert clip_by_value(parameters([3.0, -4.0]), 0.0).item() == 0.0


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
@pytest.mark.parametrize("bound", [0.0, 1.0])
def test_without_gradients_there_is_nothing_to_clip(clip, bound):
    assert clip([torch.nn.Parameter(torch.ones(2))], bound).item() == 0.0
    assert clip([], bound).item() == 0.0


def test_by_norm_a_gradient_that_is_not_finite_shows_in_the_norm():
    made = parameters([math.nan, 1.0])
    assert math.isnan(clip_by_norm(made, 1.0).item())
    assert np.isnan(gradients(made)).all()
    made = parameters([math.inf, 1.0])
    assert clip_by_norm(made, 1.0).item() == math.inf
    np.testing.assert_array_equal(gradients(made), [math.nan, 0.0])


def test_by_value_infinity_is_clamped_and_nan_stays():
    made = parameters([math.inf, -math.inf, math.nan, 0.5])
    assert clip_by_value(made, 1.0).item() == 0.5
    np.testing.assert_array_equal(gradients(made), [1.0, -1.0, math.nan, 0.5])


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
def test_neither_waits_for_a_number(clip):
    # A fake tensor has no numbers: whatever read one would raise.
    with FakeTensorMode():
        result = clip(parameters([3.0, -4.0], [0.5]), 1.0)
        assert (result.shape, result.dtype) == ((), torch.float32)
        with pytest.raises(DataDependentOutputException):
            result.item()


@given(VALUES, BOUNDS)
def test_by_norm_keeps_the_direction_and_by_value_the_order(values, bound):
    made = parameters(values)
    before = gradients(made)
    clip_by_norm(made, bound)
    after = gradients(made)
    norms = np.linalg.norm(before) * np.linalg.norm(after)
    assert before @ after == pytest.approx(norms, rel=1e-5, abs=1e-20)
    made = parameters(values)
    clip_by_value(made, bound)
    assert (np.diff(gradients(made)[np.argsort(before)]) >= 0).all()
