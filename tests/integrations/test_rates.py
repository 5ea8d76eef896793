import pytest
import torch
from torch import nn

import redrop
import redrop.nn
from redrop.errors import UsageError
from redrop.integrations import convert, find_sites, set_rates
from tests.integrations.networks import SITES, Calls, Net, example


def rates(model):
    return {info.name: info.p for info in find_sites(model, example())}


def test_patterns_name_sites_and_the_last_one_counts():
    model = Net(p=0.5)
    conversion = convert(model, example())
    change = set_rates(
        conversion,
        {"all": 0.1, "attention_weights": 0.2, "blocks.1.*": 0.3, "blocks.1.mlp.2": 0.4},
    )
    assert rates(model) == {
        "emb_drop": 0.1,
        "blocks.0.attn:scaled_dot_product_attention": 0.2,
        "blocks.0.attn:dropout": 0.1,
        "blocks.0.mlp.2": 0.1,
        "blocks.1.attn:scaled_dot_product_attention": 0.3,
        "blocks.1.attn:dropout": 0.3,
        "blocks.1.mlp.2": 0.4,
    }
    assert change.changed["emb_drop"] == (0.5, 0.1)
    change.restore()
    assert set(rates(model).values()) == {0.5}
    conversion.restore()
    assert model.emb_drop.p == 0.5


def test_a_rate_that_is_set_acts_in_training_and_not_in_eval():
    model = Net(p=0.0)
    conversion = convert(model, example())
    redrop.attach(model, seed=3)
    clean = model(example())
    with set_rates(conversion, {"attention_weights": 0.5}):
        assert not torch.equal(model(example()), clean)
        before = model.eval()(example())
    assert torch.equal(model(example()), before)
    assert torch.equal(model.train()(example()), clean)


def test_a_kind_that_needs_the_shape_is_known_after_a_look():
    model = Net(p=0.0)
    convert(model, example())
    change = set_rates(model, {"feed_forward_hidden": 0.5})
    assert list(change.changed) == ["blocks.0.mlp.2", "blocks.1.mlp.2"]


def test_calls_that_come_later_are_included():
    model = Net(p=0.0)
    conversion = convert(model)
    change = set_rates(conversion, {"all": 0.5, "blocks.0.*": 0.25})
    model(example())
    assert {name: site.p for name, site in conversion.sites.items()} == {
        name: 0.25 if name.startswith("blocks.0.") else 0.5 for name in SITES
    }
    change.restore()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"blocks.7.*": 0.1}, r"`blocks.7.\*` names no site. Sites: emb_drop \(embedding\), "),
        ({"drop_path": 0.1}, "`drop_path` is a kind that this model does not have"),
        ({"all": 1.5}, "`p` must lie in"),
    ],
)
def test_what_cannot_be_set_is_a_message_and_changes_nothing(asked, message):
    model = Net(p=0.5)
    convert(model, example())
    with pytest.raises(UsageError, match=message):
        set_rates(model, {"emb_drop": 0.3, **asked})
    assert set(rates(model).values()) == {0.5}


def test_all_leaves_whole_layers_alone():
    model = nn.Sequential(redrop.nn.LayerDrop(nn.Linear(2, 2), 0.1), redrop.nn.Dropout(0.1))
    assert list(set_rates(model, {"all": 0.5}).changed) == ["1"]
    assert list(set_rates(model, {"*": 0.5}).changed) == ["0", "1"]


def test_a_model_without_sites_is_a_message():
    with pytest.raises(UsageError, match="Linear has no dropout site"):
        set_rates(nn.Linear(2, 2), {"all": 0.1})
    model = Calls(lambda self, x: x)
    with pytest.raises(UsageError, match="has no dropout site"):
        set_rates(convert(model, torch.ones(2)), {"all": 0.1})
