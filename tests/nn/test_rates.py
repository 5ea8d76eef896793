import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop import nn
from redrop.errors import UsageError
from redrop.mask import keep_mask, mask_key
from redrop.models.config import DropoutRates
from redrop.nn.rates import Rates
from tests.models.tiny import tiny, tokens

FACTORS = st.floats(0.0, 1.0)


def attached(p, shape_of=torch.nn.Identity):
    model = torch.nn.Sequential(nn.Dropout(p), shape_of())
    return model, nn.attach(model, seed=3)


def kept(model, state, step=5):
    state.set_step(step)
    return model(torch.ones(7, 33)) != 0


@given(FACTORS, st.floats(0.0, 1.0))
def test_a_scaled_rate_acts_in_the_next_forward(factor, p):
    model, state = attached(p)
    Rates(model).scale(factor)
    expected = torch.from_numpy(keep_mask(mask_key(3, 5, "0"), factor * p, (7, 33)))
    assert torch.equal(kept(model, state), expected)
    if factor * p < 1.0:
        assert model(torch.ones(9)).max().item() in (0.0, pytest.approx(1 / (1 - factor * p)))


@given(FACTORS, FACTORS, st.floats(0.0, 1.0))
def test_masks_nest(one, other, p):
    low, high = sorted((one, other))
    model, state = attached(p)
    rates = Rates(model)
    rates.scale(high)
    fewer = kept(model, state)
    rates.scale(low)
    assert not (fewer & ~kept(model, state)).any()


def test_a_scaled_rate_acts_in_a_compiled_model():
    model, state = attached(0.5)
    rates, compiled = Rates(model), torch.compile(model, backend="aot_eager")
    for step, factor in enumerate((1.0, 0.0, 0.5, 1.0)):
        rates.scale(factor)
        expected = torch.from_numpy(keep_mask(mask_key(3, step, "0"), 0.5 * factor, (7, 33)))
        assert torch.equal(kept(compiled, state, step), expected)


def every_kind():
    """A model with each way in which a layer holds its rate; two rates are 0."""
    return torch.nn.ModuleDict(
        {
            "dropout": nn.Dropout(0.3),
            "off": nn.Dropout(0.0),
            "attention": nn.MultiheadAttention(4, 2, dropout=0.1),
            "connect": nn.DropConnect(3, 3, p=0.25),
            "layer": nn.LayerDrop(torch.nn.Sequential(nn.DropPath(0.7)), p=0.9),
            "weights": nn.AttentionDropout(),
            "noise": nn.GaussianDropout(0.6),
        }
    )


def rates_of(model):
    return {n: m.p for n, m in model.named_modules() if isinstance(m, nn.SiteModule)}


@given(st.lists(FACTORS, max_size=4))
def test_restoring_gives_each_site_its_rate_back_to_the_bit(factors):
    model = every_kind()
    before = rates_of(model)
    rates = Rates(model)
    assert rates.base == before
    for factor in factors:
        rates.scale(factor)
        assert rates_of(model) == {name: factor * p for name, p in before.items()}
        assert rates.factor == factor
    rates.restore()
    assert rates_of(model) == before
    assert model["attention"].dropout == 0.1


def test_nothing_but_the_rates_changes():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), nn.Dropout(0.5), torch.nn.Dropout(0.5))
    model[0].eval()
    with pytest.warns(UserWarning, match="torch's own"):
        state = nn.attach(model, seed=1)
    state.set_step(4)
    model(torch.ones(2, 4))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    generator = torch.get_rng_state()
    Rates(model).scale(0.5)
    assert (model[1].p, model[2].p) == (0.25, 0.5)
    assert [module.training for module in model] == [False, True, True]
    assert (state.step, state.sites["1"].passes, model[1].site) == (4, 1, state.sites["1"])
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(weight, before[n]) for n, weight in model.state_dict().items())


def test_the_same_factor_again_touches_no_module(monkeypatch):
    model = every_kind()
    rates = Rates(model)
    rates.scale(0.5)
    written = []
    original = torch.nn.Module.__setattr__
    note = lambda module, name, value: (written.append(name), original(module, name, value))  # noqa: E731
    monkeypatch.setattr(torch.nn.Module, "__setattr__", note)
    rates.scale(0.5)
    assert written == []
    rates.scale(0.25)
    assert written.count("p") == 8


@pytest.mark.parametrize("factor", [-0.1, 1.1, float("nan")])
def test_a_factor_out_of_range_is_refused_and_changes_nothing(factor):
    model = every_kind()
    before = rates_of(model)
    with pytest.raises(UsageError, match=r"`factor` must lie in \[0, 1\]; got"):
        Rates(model).scale(factor)
    assert rates_of(model) == before


def test_a_model_without_sites_has_no_rates():
    rates = Rates(torch.nn.Linear(2, 2))
    rates.scale(0.5)
    assert rates.base == {}


def test_a_scaled_transformer_is_the_one_built_with_the_scaled_rates():
    scaled = tiny(dropout=DropoutRates.everywhere(0.4))
    built = tiny(dropout=DropoutRates.everywhere(0.5 * 0.4))
    Rates(scaled).scale(0.5)
    outputs, gradients = [], []
    for model in (scaled, built):
        nn.attach(model, seed=2).set_step(1)
        logits = model(tokens())
        logits.square().sum().backward()
        outputs.append(logits)
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert torch.equal(*outputs)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_factor_of_0_is_a_model_without_dropout():
    model = tiny(dropout=DropoutRates.everywhere(0.4))
    nn.attach(model, seed=2)
    Rates(model).scale(0.0)
    trained = model(tokens())
    assert torch.equal(trained, model.eval()(tokens()))
