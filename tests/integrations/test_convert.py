import copy
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import redrop
from redrop.errors import UsageError
from redrop.integrations import conversion_of, convert
from redrop.nn import replay
from tests.integrations.networks import SITES, Calls, Net, example


def seeded(make, *args, **kwargs):
    torch.manual_seed(0)
    return make(*args, **kwargs)


def encoder(p=0.5):
    layer = nn.TransformerEncoderLayer(8, 2, 16, p, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


class Wrapped(nn.Module):
    """torch's encoder inside a module of the user's."""

    def __init__(self, p=0.5):
        super().__init__()
        self.encoder = encoder(p)

    def forward(self, x):
        return self.encoder(x)


MODELS = {"functions": Net, "torch's encoder": encoder, "wrapped encoder": Wrapped}


def outputs_and_gradients(model, x):
    model.zero_grad()
    y = model(x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad.clone() for p in model.parameters())]


@pytest.mark.parametrize("name", MODELS)
def test_without_dropout_training_is_bit_identical(name):
    model = seeded(MODELS[name], p=0.0)
    before = outputs_and_gradients(model, example())
    with convert(model, example()):
        redrop.attach(model, seed=1)
        after = outputs_and_gradients(model, example())
    for want, got in zip(before, after, strict=True):
        assert torch.equal(want, got)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no grad"])
def test_eval_is_bit_identical_also_on_the_fast_path(name, grad):
    model = seeded(MODELS[name], p=0.5).eval()
    with torch.set_grad_enabled(grad):
        before = model(example())
        with convert(model, example()):
            assert torch.equal(model(example()), before)


@pytest.mark.parametrize("name", MODELS)
def test_every_site_of_a_training_step_is_repeatable_and_acts(name):
    model = seeded(MODELS[name])
    with convert(model, example()):
        state = redrop.attach(model, seed=1)
        state.set_step(3)
        first = model(example())
        state.set_step(3)
        assert torch.equal(model(example()), first)
        state.set_step(4)
        assert not torch.equal(model(example()), first)


def snapshot(model):
    return {
        name: (type(module), {k: id(v) for k, v in module.__dict__.items() if k != "training"})
        for name, module in model.named_modules()
    }


@pytest.mark.parametrize("name", MODELS)
def test_restore_leaves_no_trace(name):
    model = seeded(MODELS[name])
    before = snapshot(model)
    torch.manual_seed(5)
    want = model(example())
    conversion = convert(model, example())
    redrop.attach(model, seed=1)
    for site in conversion.sites.values():
        site.p = 0.25
    model(example())
    conversion.restore()
    conversion.restore()  # twice is once
    assert snapshot(model) == before
    torch.manual_seed(5)
    assert torch.equal(model(example()), want)
    assert conversion_of(model) is None
    assert not model._forward_pre_hooks


def test_parameters_and_optimizer_stay():
    model = seeded(encoder)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    keys = list(model.state_dict())
    parameters = list(model.parameters())
    convert(model)
    assert list(model.state_dict()) == keys
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    model(example()).sum().backward()
    before = parameters[0].clone()
    optimizer.step()
    assert not torch.equal(parameters[0], before)


def test_sites_are_named_attached_and_replayed():
    model = seeded(Net)
    conversion = convert(model, example())
    assert sorted(conversion.sites) == sorted(SITES)
    state = redrop.attach(model, seed=2)
    assert sorted(state.sites) == sorted(SITES)
    name = "blocks.1.attn:scaled_dot_product_attention"
    got = replay(model, name, step=6, shape=(4, 2, 5, 5))
    want = redrop.replay(seed=2, step=6, site=name, p=0.5, shape=(4, 2, 5, 5))
    assert torch.equal(got, torch.from_numpy(want))


def test_a_model_around_it_finds_the_sites_below_its_own_name():
    inner = seeded(Net)
    convert(inner, example())
    outer = nn.Sequential(inner)
    state = redrop.attach(outer, seed=2)
    assert sorted(state.sites) == sorted(f"0.{name}" for name in SITES)


def test_calls_that_come_later_join_the_run():
    model = seeded(Net)
    convert(model)
    outer = nn.Sequential(model)
    state = redrop.attach(outer, seed=2)
    assert sorted(state.sites) == ["0.blocks.0.mlp.2", "0.blocks.1.mlp.2", "0.emb_drop"]
    outer(example())
    assert sorted(state.sites) == sorted(f"0.{name}" for name in SITES)


def test_calls_of_the_model_itself_are_named_alike_early_and_late():
    def twice(self, x):
        x = F.dropout(self.drop(x), 0.5)
        return F.dropout(x, 0.5) if self.is_late else x

    names = {}
    for order in ("early", "late", "one of each"):
        model = Calls(twice)
        model.drop = nn.Dropout(0.5)
        model.is_late = order == "early"
        convert(model, None if order == "late" else torch.ones(4))
        state = redrop.attach(nn.Sequential(model), seed=1)
        model.is_late = True
        model(torch.ones(4))
        names[order] = set(state.sites)
    assert names["early"] == {"0.drop", "0:dropout", "0:dropout.2"}
    assert names["early"] == names["late"] == names["one of each"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_a_conversion_of_its_own(copied):
    model = seeded(Net)
    convert(model, example())
    redrop.attach(model, seed=2).set_step(3)
    twin = copied(model)
    conversion = conversion_of(twin)
    assert conversion.model is twin
    twin_state = conversion.sites[SITES[1]].site.state
    twin_state.set_step(3)
    model.train()
    assert torch.equal(twin(example()), model(example()))
    assert set(map(id, conversion.sites.values())).isdisjoint(
        map(id, conversion_of(model).sites.values())
    )
    conversion.restore()
    assert conversion_of(twin) is None
    assert conversion_of(model) is not None


class Doubled(nn.MultiheadAttention):
    """A subclass with a forward of its own: it cannot change class, but its calls are seen."""

    def forward(self, x, need_weights):
        return super().forward(x, x, x, need_weights=need_weights)


@pytest.mark.parametrize("need_weights", [True, False])
def test_the_dropout_inside_multi_head_attention_forward_is_seen(need_weights):
    model = nn.Sequential(seeded(Doubled, 8, 2, dropout=0.5, batch_first=True))
    x = example()
    call = Calls(lambda self, x: self.layers[0](x, need_weights))
    call.layers = model
    convert(call, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # attach counts layers of torch's own, see the docstring
        state = redrop.attach(call, seed=4)
    function = "dropout" if need_weights else "scaled_dot_product_attention"
    assert list(state.sites) == [f"layers.0:{function}"]
    state.set_step(1)
    y, weights = call(x)
    state.set_step(1)
    again, _ = call(x)
    assert torch.equal(y, again)
    if need_weights:
        site = "layers.0:dropout"
        keep = redrop.replay(seed=4, step=1, site=site, p=0.5, shape=(8, 5, 5))
        kept_twice = torch.from_numpy(keep).view(4, 2, 5, 5).sum(1)
        assert torch.equal(weights == 0, kept_twice == 0)


def test_alpha_dropout_ignores_inplace_as_torch_does():
    model = nn.Sequential(nn.Linear(8, 8), nn.SELU(), nn.AlphaDropout(0.5, inplace=True))
    with convert(model):
        model(example()).sum().backward()
    assert model[2].inplace


def test_what_cannot_be_converted_is_refused_by_name():
    scripted = nn.Sequential(nn.Linear(2, 2), nn.Identity())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted[1] = torch.jit.script(nn.Dropout(0.5))
    with pytest.raises(UsageError, match="scripted module .* `1` is one"):
        convert(scripted)
    compiled = nn.Sequential(nn.Linear(2, 2))
    compiled[0].compile(backend="eager")
    with pytest.raises(UsageError, match="compiled module .* `0` is one"):
        convert(compiled)
    with pytest.raises(UsageError, match="the model is one"):
        convert(torch.compile(nn.Linear(2, 2), backend="eager"))
    with pytest.raises(UsageError, match="DataParallel"):
        convert(nn.DataParallel(nn.Linear(2, 2)))


def test_converting_twice_is_refused():
    model = seeded(Net)
    with convert(model), pytest.raises(UsageError, match="converted already"):
        convert(model)


def test_recurrent_dropout_is_named_and_stays():
    model = nn.Sequential(nn.LSTM(8, 8, num_layers=2, dropout=0.5))
    with pytest.warns(UserWarning, match="`0` stays outside the run: the dropout between"):
        conversion = convert(model)
    assert list(conversion.outside) == ["0"]


def test_recurrent_layers_that_drop_nothing_are_not_named():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that one layer has nothing between
        single = nn.GRU(8, 8, dropout=0.5)
    assert convert(nn.Sequential(single, nn.LSTM(8, 8, num_layers=2))).outside == {}


def test_a_compiled_conversion_has_the_masks_of_the_plain_one():
    model = seeded(Net)
    convert(model, example())
    state = redrop.attach(model, seed=2)
    fast = torch.compile(model, backend="eager")
    for step in (3, 4):
        state.set_step(step)
        want = model(example())
        state.set_step(step)
        torch.testing.assert_close(fast(example()), want, rtol=0, atol=0)
