import pytest
import torch

from redrop.errors import UsageError
from redrop.mask import keep_mask, mask_key, scale, threshold
from redrop.models import MLPConfig
from redrop.models.mlp import ModernMLP, OldMLP
from redrop.nn import attach
from tests.models import plain
from tests.models.networks import built, configured, inputs
from tests.models.plain import gelu


def dense(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def drop(x, name, p, step=3):
    """Dropout by its formula, in the run of seed 8."""
    kept = keep_mask(mask_key(8, step, name), p, tuple(x.shape))
    return torch.where(torch.from_numpy(kept), x * scale(threshold(p)), 0.0)


def exact(model):
    return {name: w.detach() for name, w in model.named_parameters()}


@pytest.mark.parametrize("activation", [torch.relu, torch.tanh])
def test_the_old_network_is_dense_dropout_activation_dropout_dense(activation):
    p, q = 0.5, 0.3
    changes = {"pre_activation": p, "feed_forward_hidden": q, "activation": activation.__name__}
    model = built("old", **changes).double()
    attach(model, seed=8).set_step(3)
    w, x = exact(model), inputs("old").double()
    for block in ("blocks.0", "blocks.1"):
        x = drop(dense(x, w, f"{block}.dense"), f"{block}.pre_activation", p)
        x = drop(activation(x), f"{block}.hidden", q)
    torch.testing.assert_close(model(inputs("old").double()), dense(x, w, "output"))


@pytest.mark.parametrize("norm_layer", ["layernorm", "rmsnorm", "none"])
@pytest.mark.parametrize("has_residual", [True, False])
def test_the_modern_network_is_norm_feed_forward_residual_add(norm_layer, has_residual):
    p, q = 0.2, 0.4
    model = built(
        "modern",
        residual=has_residual,
        norm_layer=norm_layer,
        feed_forward_hidden=p,
        feed_forward_residual=q,
    ).double()
    attach(model, seed=8).set_step(3)
    w, x = exact(model), dense(inputs("modern").double(), exact(model), "input")
    for block in ("blocks.0", "blocks.1"):
        name = f"{block}.feed_forward"
        hidden = dense(plain.norm(x, w, f"{block}.norm"), w, f"{name}.expand")
        branch = dense(drop(gelu(hidden), f"{name}.hidden", p), w, f"{name}.contract")
        x = (x if has_residual else 0) + drop(branch, f"{name}.residual", q)
    expected = dense(plain.norm(x, w, "final_norm"), w, "output")
    torch.testing.assert_close(model(inputs("modern").double()), expected)


def test_stochastic_depth_grows_with_depth_and_leaves_the_stream():
    model = built("modern", layers=4, drop_path=0.8)
    assert [block.drop_path.p for block in model.blocks] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    attach(model, seed=8).set_step(3)
    x = torch.randn(50, 12, generator=torch.Generator().manual_seed(2))
    kept = torch.from_numpy(keep_mask(mask_key(8, 3, "blocks.3.drop_path"), 0.8, (50, 1)))
    assert 0 < kept.sum() < 50
    y = model.blocks[3](x)
    assert torch.equal((y != x).any(1, keepdim=True), kept)


def test_layer_drop_skips_a_block_for_all_samples():
    model = built("modern", layer_drop=0.5)
    state = attach(model, seed=8)
    x = torch.randn(50, 12, generator=torch.Generator().manual_seed(2))
    for step in range(12):
        state.set_step(step)
        kept = bool(keep_mask(mask_key(8, step, "blocks.1.layer_drop"), 0.5, ()))
        assert (model.blocks[1](x) is not x) == kept


@pytest.mark.parametrize(("network", "other"), [(OldMLP, "modern"), (ModernMLP, "old")])
def test_a_class_refuses_the_config_of_the_other(network, other):
    with pytest.raises(UsageError, match=f'got "{other}"'):
        network(MLPConfig(features=4, outputs=3, network=other))


@pytest.mark.parametrize("name", ["old", "modern"])
@pytest.mark.parametrize("shape", [(3, 8), (7,), (3, 7, 1)])
def test_other_features_are_refused(name, shape):
    with pytest.raises(UsageError, match=r"reads \(batch, 7\); got shape"):
        built(name)(torch.zeros(shape))


@pytest.mark.parametrize("name", ["old", "modern"])
def test_one_layer_and_one_feature_are_enough(name):
    model = built(name, layers=1, features=1, outputs=1, width=1)
    assert model(torch.ones(5, 1)).shape == (5, 1)
    assert configured(name).layers == 2
