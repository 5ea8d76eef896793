import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.regularize.weight_average import WeightAverage
from redrop.train.checkpoint import Snapshot, read_checkpoint, write_checkpoint

DECAYS = st.floats(0.0, 1.0, exclude_max=True)


def weights(step, dtype=torch.float64):
    generator = torch.Generator().manual_seed(step)
    return {
        "matrix": torch.randn(3, 2, generator=generator, dtype=dtype),
        "bias": torch.randn(5, generator=generator, dtype=dtype),
    }


@given(DECAYS, st.integers(1, 60))
def test_it_is_the_weighted_sum_of_all_weights_so_far(decay, steps):
    average = WeightAverage(decay)
    for step in range(steps):
        average.update(weights(step))
    # d_t written out as the share of each step in the end: (1 - d_t) Π later d.
    decays = [0.0] + [min(decay, (1 + t) / (10 + t)) for t in range(1, steps)]
    shares = [(1 - d) * np.prod(decays[t + 1 :]) for t, d in enumerate(decays)]
    assert sum(shares) == pytest.approx(1.0)
    for name, value in average.weights.items():
        expected = sum(s * weights(t)[name].numpy() for t, s in enumerate(shares))
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-9, atol=1e-12)


@given(st.integers(2, 80))
def test_the_warm_up_is_polynomial_decay_averaging(steps):
    average = WeightAverage(decay=1 - 1e-12)
    for step in range(steps):
        average.update(weights(step))
    # Shamir and Zhang: w̄_t = (1 - (η + 1)/(t + η)) w̄_{t-1} + (η + 1)/(t + η) w_t with η = 8;
    # their t is ours plus 2.
    eta, expected = 8, weights(0)["matrix"].numpy()
    for step in range(1, steps):
        share = (eta + 1) / (step + 2 + eta)
        expected = (1 - share) * expected + share * weights(step)["matrix"].numpy()
    np.testing.assert_allclose(average.weights["matrix"].numpy(), expected, rtol=1e-9)


@given(DECAYS, st.integers(1, 30))
def test_equal_weights_average_to_themselves_to_the_bit(decay, steps):
    average = WeightAverage(decay)
    for _ in range(steps):
        average.update(weights(0, torch.float32))
    for name, value in weights(0, torch.float32).items():
        assert torch.equal(average.weights[name], value)


def test_a_decay_of_0_is_the_last_weights():
    average = WeightAverage(0.0)
    for step in range(5):
        average.update(weights(step))
    assert torch.equal(average.weights["matrix"], weights(4)["matrix"])


def test_after_the_warm_up_it_agrees_with_torchs_average():
    average = WeightAverage(0.9)
    for step in range(100):  # the warm-up ends at t = 10 · 0.8 / 0.1 = 80
        average.update(weights(step))
    model = torch.nn.ParameterDict(average.weights)
    multi = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    theirs = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=multi)
    theirs.update_parameters(model)
    for step in range(100, 120):
        average.update(weights(step))
        theirs.update_parameters(torch.nn.ParameterDict(weights(step)))
    for name, value in theirs.module.items():
        torch.testing.assert_close(average.weights[name], value.detach())


def test_it_copies_and_takes_no_gradient():
    parameter = torch.nn.Parameter(torch.ones(2))
    average = WeightAverage(0.5)
    average.update({"w": parameter})
    with torch.no_grad():
        parameter.fill_(7.0)
    assert average.weights["w"].tolist() == [1.0, 1.0]
    assert not average.weights["w"].requires_grad
    average.update({"w": parameter})
    assert not average.weights["w"].requires_grad
    assert parameter.tolist() == [7.0, 7.0]


@pytest.mark.parametrize("done", [0, 1, 7])
def test_a_resumed_average_goes_on_to_the_same_bits(tmp_path, done):
    whole = WeightAverage(0.9)
    for step in range(20):
        if step == done:
            snapshot = Snapshot({"ema": whole.to_json()}, {"ema": whole.to_tensors()})
            write_checkpoint(tmp_path, "step-00000000", snapshot)
        whole.update(weights(step, torch.float32))
    read = read_checkpoint(tmp_path / "step-00000000")
    resumed = WeightAverage(0.9)
    resumed.load(read.state["ema"], read.tensors["ema"])
    for step in range(done, 20):
        resumed.update(weights(step, torch.float32))
    assert resumed.updates == whole.updates == 20
    assert resumed.weights.keys() == whole.weights.keys()
    for name, value in whole.weights.items():
        assert torch.equal(resumed.weights[name], value)


def test_loading_copies():
    average, other = WeightAverage(0.5), WeightAverage(0.5)
    average.update(weights(0))
    other.load(average.to_json(), average.to_tensors())
    other.update(weights(1))
    assert torch.equal(average.weights["matrix"], weights(0)["matrix"])


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(UsageError, match=r"`decay` must lie in \[0, 1\); got"):
        WeightAverage(decay)


def test_other_weights_are_refused():
    average = WeightAverage(0.5)
    average.update(weights(0))
    with pytest.raises(UsageError, match="`bias` is there once"):
        average.update({"matrix": torch.zeros(3, 2)})
