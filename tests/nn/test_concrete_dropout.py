import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from redrop.errors import UsageError
from redrop.mask import Window, mask_key
from redrop.mask.reference import random_bits
from redrop.mask.window import coordinates
from redrop.nn import AttentionDropout, Dropout, attach, replay
from redrop.nn.concrete_dropout import ConcreteDropout, concrete_dropout, learn_rates
from redrop.ops.key import signed
from tests.nn.expected import reference

KEY = 0x8B1EF9904FBD598E
rates = st.floats(0.01, 0.99)


def logit(p):
    return torch.tensor(math.log(p / (1 - p)), dtype=torch.float64, requires_grad=True)


def factors(key, p, shape, temperature=0.1, window=None):
    """(1 − z) / (1 − p) by the paper's formula, from the reference's bits."""
    bits = np.broadcast_to(random_bits(key, *coordinates(shape, window, ())), shape)
    q = (bits.astype(np.float64) + 0.5) / 2**32
    z = 1 / (1 + np.exp(-(np.log(p / (1 - p)) - np.log(q / (1 - q))) / temperature))
    return torch.from_numpy((1 - z) / (1 - p))


def attached(p=0.3, seed=3):
    model = torch.nn.Sequential(ConcreteDropout(p))
    return model, attach(model, seed=seed)


@given(key=st.integers(0, 2**64 - 1), p=rates, shape=st.tuples(*[st.integers(0, 4)] * 2), t=rates)
def test_values_are_those_of_the_formula(key, p, shape, t):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = concrete_dropout(x, key, logit(p), temperature=t)
    # 1 − z loses what 1 has more digits than z; relative to the largest factor it is exact.
    torch.testing.assert_close(y, x * factors(key, p, shape, t), rtol=1e-6, atol=1e-9 / (1 - p))


@given(key=st.integers(0, 2**64 - 1), p=rates)
def test_more_than_half_is_dropped_where_dropout_with_the_same_key_drops(key, p):
    y = concrete_dropout(torch.ones(500, dtype=torch.float64), key, logit(p))
    assert torch.equal(y * (1 - p) > 0.5, reference(key, p, (500,)))


def test_a_lower_temperature_is_nearer_to_dropout():
    x = torch.ones(20_000, dtype=torch.float64)
    kept = reference(KEY, 0.3, (20_000,))
    distances = [
        (concrete_dropout(x, KEY, logit(0.3), temperature=t) - kept / 0.7).abs().mean()
        for t in (1.0, 0.3, 0.1, 0.01)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.01


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_gradients_of_input_and_rate_are_right(p):
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.autograd.gradcheck(
        lambda x, a: concrete_dropout(x, KEY, a), (x.requires_grad_(), logit(p))
    )
    weight = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    drop = ConcreteDropout(p).double()

    def penalty(a, w):
        return torch.func.functional_call(Penalty(drop), {"drop.logit": a}, (w,))

    torch.autograd.gradcheck(penalty, (logit(p), weight))


class Penalty(torch.nn.Module):
    def __init__(self, drop):
        super().__init__()
        self.drop = drop

    def forward(self, weight):
        return self.drop.penalty(weight, length_scale=0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_dtypes_round_once(dtype):
    x = torch.randn(2000, generator=torch.Generator().manual_seed(0)).to(dtype)
    drop = ConcreteDropout(0.3)
    y = concrete_dropout(x, KEY, drop.logit)
    assert y.dtype == dtype
    exact = x.double() * factors(KEY, 0.3, (2000,))
    error = (y.double() - exact).abs().max().item()
    # Half a unit in the last place of numbers below 8, and float32's errors on the way.
    assert error <= 4 * torch.finfo(dtype).eps + 1e-5
    y.float().sum().backward()
    assert drop.logit.grad.dtype == torch.float32


def test_the_extremes_of_the_bits_give_finite_gradients():
    for p in (1e-6, 1 - 1e-6):
        drop = ConcreteDropout(p)
        concrete_dropout(torch.ones(100_000), KEY, drop.logit).sum().backward()
        assert torch.isfinite(drop.logit.grad)
        assert torch.isfinite(drop.penalty(torch.ones(2, 3)))


def test_in_eval_mode_it_is_the_identity():
    model, _ = attached()
    x = torch.randn(4, 5)
    assert model.eval()(x) is x


def test_attached_it_gets_the_mask_of_its_name_step_and_pass_and_replays_it():
    model, state = attached()
    x = torch.randn(4, 5, dtype=torch.float64)
    for step in (0, 7):
        state.set_step(step)
        for pass_ in (0, 1):
            y = model(x)
            expected = factors(mask_key(3, step, "0", pass_), model[0].p, (4, 5))
            torch.testing.assert_close(y, x * expected, rtol=1e-6, atol=1e-9)
            again = replay(model, "0", step=step, shape=x.shape, pass_=pass_)
            torch.testing.assert_close(x * again, y.detach(), rtol=1e-6, atol=1e-9)


def test_a_micro_batch_gets_its_part_of_the_whole():
    model, state = attached()
    x = torch.randn(5, 4)
    state.set_step(2)
    whole = model(x)
    state.set_step(2, sample_offset=3)
    assert torch.equal(model(x[3:]), whole[3:])
    window = Window((5, 4), (3, 0))
    part = concrete_dropout(x[3:], mask_key(3, 2, "0"), model[0].logit, window=window)
    assert torch.equal(part, whole[3:])


def test_a_recomputation_meets_its_mask_and_gives_the_same_gradients():
    gradients = []
    for is_checkpointed in (False, True):
        model, state = attached()
        state.set_step(2)
        x = torch.ones(50, requires_grad=True)
        y = checkpoint(model, x, use_reentrant=False) if is_checkpointed else model(x)
        y.square().sum().backward()
        gradients.append((x.grad, model[0].logit.grad))
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_compiled_equals_eager_step_by_step():
    model, state = attached()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(6, 5)
    for step in range(3):
        state.set_step(step)
        y = compiled(x)
        expected = concrete_dropout(x, signed(mask_key(3, step, "0")) % 2**64, model[0].logit)
        torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_its_own_rate(copied):
    model, _ = attached(0.25)
    twin = copied(model)
    twin[0].p = 0.5
    assert (model[0].p, twin[0].p) == pytest.approx((0.25, 0.5))
    assert twin[0].logit.item() == 0.0


def test_the_penalty_is_the_papers():
    weight = torch.randn(7, 5, dtype=torch.float64)
    drop = ConcreteDropout(0.2).double()
    p = drop.p
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    unscaled = weight / (1 - p)
    expected = 0.3**2 * (1 - p) / 2 * unscaled.square().sum().item() - 5 * entropy
    assert drop.penalty(weight, length_scale=0.3).item() == pytest.approx(expected)
    assert drop.penalty(features=5).item() == pytest.approx(-5 * entropy)
    assert drop.penalty().item() == pytest.approx(-entropy)


@pytest.mark.parametrize(("start", "p"), [(0.05, 0.5), (0.9, 0.5)])
def test_the_entropy_alone_draws_the_rate_to_one_half(start, p):
    drop = ConcreteDropout(start)
    optimizer = torch.optim.Adam(drop.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        drop.penalty().backward()
        optimizer.step()
    assert drop.p == pytest.approx(p, abs=0.02)


def test_the_rate_falls_where_dropping_costs_and_more_so_with_more_data():
    """Least squares through a site: noise costs in each sample, the penalty once in all of them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 8, generator=generator)
    target = x.sum(1, keepdim=True)
    learned = []
    for samples in (1, 3, 1000):
        model = torch.nn.Sequential(ConcreteDropout(0.3), torch.nn.Linear(8, 1))
        state = attach(model, seed=0)
        torch.nn.init.ones_(model[1].weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
        for step in range(150):
            state.set_step(step)
            optimizer.zero_grad()
            loss = (model(x) - target).square().mean() + model[0].penalty(features=8) / samples
            loss.backward()
            optimizer.step()
        learned.append(model[0].p)
    assert learned == sorted(learned, reverse=True)
    assert learned[0] > 0.1
    assert learned[-1] < 0.02


def test_every_elementwise_site_that_drops_learns_its_rate():
    model = torch.nn.ModuleDict(
        {
            "a": Dropout(0.25),
            "b": torch.nn.Sequential(AttentionDropout(0.5).eval(), Dropout(0.0), Dropout(1.0)),
            "c": torch.nn.Dropout(0.25),
        }
    )
    sites = learn_rates(model, temperature=0.2)
    assert {name: round(site.p, 6) for name, site in sites.items()} == {"a": 0.25, "b.0": 0.5}
    assert model["a"] is sites["a"]
    assert not model["b"][0].training
    assert sites["a"].temperature == 0.2
    assert [type(layer) for layer in model["b"]] == [ConcreteDropout, Dropout, Dropout]
    assert type(model["c"]) is torch.nn.Dropout


def test_a_layer_in_two_places_stays_one_layer():
    drop = Dropout(0.25)
    sites = learn_rates(model := torch.nn.Sequential(drop, torch.nn.ReLU(), drop))
    assert list(sites) == ["0", "2"]
    assert model[0] is model[2]


@pytest.mark.parametrize("model", [torch.nn.Linear(2, 2), Dropout(0.5)])
def test_a_model_without_a_layer_to_replace_is_refused(model):
    with pytest.raises(UsageError, match=f"{type(model).__name__} has none"):
        learn_rates(model)


@pytest.mark.parametrize("p", [0.0, 1.0, -0.5, float("nan")])
def test_a_rate_that_cannot_be_learned_is_refused(p):
    with pytest.raises(UsageError, match=f"got {p}"):
        ConcreteDropout(p)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_the_temperature_is_positive(temperature):
    with pytest.raises(UsageError, match=f"`temperature` must be positive.*got {temperature}"):
        ConcreteDropout(0.5, temperature)


def test_integers_are_refused():
    with pytest.raises(UsageError, match="got torch.int64"):
        ConcreteDropout(0.5)(torch.ones(3, dtype=torch.int64))
