import pytest
import torch
import torch.nn.functional as F
from torch import nn

import redrop.nn
from redrop.errors import UsageError
from redrop.integrations import SiteInfo, convert, find_sites
from redrop.models import DropoutRates, TransformerConfig
from redrop.models.transformer import Transformer
from redrop.nn import attach
from tests.integrations.networks import SITES, Calls, Net, example


def test_sites_come_in_the_order_of_the_forward_with_shape_and_elements():
    infos = find_sites(Net(p=0.25), example())
    assert [info.name for info in infos] == SITES
    assert infos[0] == SiteInfo("emb_drop", "embedding", 0.25, (4, 5, 8), 160, 1)
    assert infos[1] == SiteInfo(SITES[1], "attention_weights", 0.25, (4, 2, 5, 5), 200, 1)
    assert infos[2] == SiteInfo(SITES[2], "attention_residual", 0.25, (4, 5, 8), 160, 1)
    assert infos[3] == SiteInfo(SITES[3], "feed_forward_hidden", 0.25, (4, 5, 16), 320, 1)


def test_sites_of_rate_zero_are_listed_with_rate_zero():
    infos = find_sites(Net(p=0.0), example())
    assert [info.name for info in infos] == SITES
    assert {info.p for info in infos} == {0.0}
    assert all(info.calls == 1 for info in infos)


def state_of(model):
    return {
        "modes": [module.training for module in model.modules()],
        "tensors": {k: v.clone() for k, v in model.state_dict().items()},
        "identities": [id(v) for v in model.state_dict(keep_vars=True).values()],
        "rates": [m.p for m in model.modules() if hasattr(m, "p")],
        "generator": torch.get_rng_state(),
        "hooks": [len(m._forward_pre_hooks) for m in model.modules()],
    }


def same(a, b):
    tensors = a.pop("tensors"), b.pop("tensors")
    generators = a.pop("generator"), b.pop("generator")
    return (
        a == b
        and torch.equal(*generators)
        and all(torch.equal(x, y) for x, y in zip(*map(dict.values, tensors), strict=True))
    )


@pytest.mark.parametrize("is_converted", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_a_look_leaves_everything_as_it_was(is_converted, fails):
    model = Net(p=0.0)
    model.blocks[0].eval()
    if is_converted:
        convert(model, example())
        run = attach(model, seed=1)
        model(example())
    before = state_of(model)
    if fails:
        with pytest.raises(UsageError):
            find_sites(model, torch.ones(4, 5, 9))
    else:
        find_sites(model, example() + 1)
    assert same(before, state_of(model))
    if is_converted:
        assert run.step == 0
        assert {site.passes for site in run.sites.values()} <= {0, 1}
        model(example())
        assert run.step == 1
    else:
        assert "named_modules" not in model.__dict__


def test_buffers_that_a_forward_replaces_are_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.seen = self.seen + 1
            return F.dropout(x)

    model = Counting()
    before = model.seen
    find_sites(model, torch.ones(3))
    assert model.seen is before
    assert float(before) == 0.0


def test_a_site_that_is_used_twice_counts_twice():
    drop = nn.Dropout(0.5)
    (info,) = find_sites(nn.Sequential(drop, nn.Linear(8, 3), drop), torch.ones(2, 8))
    assert (info.calls, info.shape, info.elements) == (2, (2, 8), 2 * 8 + 2 * 3)


def test_a_place_of_two_shapes_is_of_no_kind():
    class Mlp(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down, self.drop = nn.Linear(8, 16), nn.Linear(16, 8), nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(self.down(self.drop(self.up(x))))

    (info,) = find_sites(Mlp(), torch.ones(2, 8))
    assert (info.kind, info.shape, info.elements) == ("other", (2, 16), 48)


def test_a_site_that_is_not_called_is_listed_last():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.idle, self.used = nn.Dropout(0.5), nn.Dropout(0.1)

        def forward(self, x):
            return self.used(x)

    used, idle = find_sites(Idle(), torch.ones(2))
    assert used.name == "used"
    assert idle == SiteInfo("idle", "other", 0.5, None, 0, 0)


def test_inputs_by_position_by_keyword_and_alone():
    model = Calls(lambda self, x, y=None: F.dropout(x))
    for inputs in (torch.ones(3), (torch.ones(3),), [torch.ones(3), None]):
        assert find_sites(model, inputs)[0].shape == (3,)

    class Named(nn.Module):
        def forward(self, *, ids):
            return F.dropout(ids)

    assert find_sites(Named(), {"ids": torch.ones(3)})[0].shape == (3,)


def test_a_model_that_is_one_layer_has_the_name_that_attach_gives_it():
    model = nn.Dropout(0.5)
    convert(model)
    (info,) = find_sites(model, torch.ones(4))
    run = attach(model, seed=1)
    assert [info.name] == [site.name for site in run.sites.values()] == ["Dropout"]


def test_a_model_without_sites_has_none():
    assert find_sites(nn.Linear(2, 2), torch.ones(1, 2)) == ()


def test_the_networks_of_redrop_have_the_kinds_of_their_config():
    rates = DropoutRates(attention_weights=0.1, layer_drop=1.0, drop_path=1.0)
    model = Transformer(TransformerConfig(vocab_size=11, layers=2, dropout=rates))
    infos = find_sites(model, torch.zeros(2, 6, dtype=torch.int64))
    kinds = {info.kind for info in infos}
    assert {"layer_drop", "drop_path", "attention_weights"} <= kinds
    assert "other" not in kinds
    assert all(info.calls == 1 for info in infos), "no layer was skipped"
    weights = [info for info in infos if info.kind == "attention_weights"]
    assert [info.shape for info in weights] == [(2, 4, 6, 6)] * 2


def test_layers_of_redrop_without_a_window_are_seen():
    model = nn.Sequential(redrop.nn.DropConnect(8, 3, p=0.5), redrop.nn.GaussianDropout(0.5))
    connect, gaussian = find_sites(model, torch.ones(2, 8))
    assert connect.shape == (3, 8)
    assert gaussian.shape == (2, 3)


def test_attention_layers_have_the_shape_of_their_weights():
    model = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    infos = {i.name: i for i in find_sites(model, (torch.ones(3, 4, 8), torch.ones(3, 7, 8)))}
    assert infos["self_attn"].shape == (3, 2, 4, 4)
    assert infos["multihead_attn"].shape == (3, 2, 4, 7)
    kinds = {name: info.kind for name, info in infos.items()}
    assert kinds["dropout3"] == "feed_forward_residual"
    assert kinds["dropout2"] == kinds["dropout1"] == "attention_residual"


def test_a_forward_that_fails_is_one_message():
    with pytest.raises(UsageError, match=r"Linear must run on the example, a torch.float32 tensor"):
        find_sites(nn.Linear(2, 2), torch.ones(1, 3))


def test_lazy_layers_are_not_initialised():
    model = nn.Sequential(nn.LazyLinear(4), nn.Dropout(0.5))
    with pytest.raises(UsageError, match="`0.weight` has no shape yet"):
        find_sites(model, torch.ones(2, 3))
    model(torch.ones(2, 3))
    assert find_sites(model, torch.ones(2, 3))[0].shape == (2, 4)


def test_dropout_written_by_hand_is_named():
    class ByHand(nn.Module):
        def forward(self, x):
            return x * x.new_empty(x.shape).bernoulli_(0.5)

    model = nn.Sequential(ByHand())
    with pytest.warns(UserWarning, match="`0` stays outside the run: it calls bernoulli_"):
        assert find_sites(model, torch.ones(3)) == ()
