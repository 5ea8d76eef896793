"""What holds for every network: its sites, its weights, and what PyTorch can do with it."""

import copy
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from redrop.errors import UsageError
from redrop.models import DropoutRates, build_model
from redrop.models.mlp import ModernMLP, OldMLP
from redrop.models.transformer import Transformer
from redrop.models.vision_transformer import VisionTransformer
from redrop.nn import SiteModule, attach, replay
from redrop.nn.concrete_dropout import learn_rates
from tests.models.networks import NETWORKS, built, configured, inputs

KINDS = [(name, kind) for name, config in NETWORKS.items() for kind in config.kinds]
each_network = pytest.mark.parametrize("name", NETWORKS)
each_kind = pytest.mark.parametrize(("name", "kind"), KINDS)


ELEMENTWISE = (*DropoutRates.sites(), "pre_activation")
SLOW = pytest.mark.slow
EVERY = DropoutRates.kinds()
each_choice = pytest.mark.parametrize("choice", [EVERY, ELEMENTWISE], ids=len)
"""All kinds at once; and without those that drop branches, where dropout and addition are one."""


def all_kinds(name, p, choice=EVERY):
    return {kind: p for kind in NETWORKS[name].kinds if kind in choice}


def step_of(model, name, step, seed=1):
    """The output and the gradients of a step."""
    attach(model, seed=seed).set_step(step)
    model.zero_grad()
    y = model(inputs(name))
    y.square().sum().backward()
    return y.detach(), [p.grad for p in model.parameters()]


def test_each_config_builds_its_network():
    built_types = {name: type(build_model(config)) for name, config in NETWORKS.items()}
    assert built_types == {
        "decoder": Transformer,
        "decoder-post": Transformer,
        "vision": VisionTransformer,
        "old": OldMLP,
        "modern": ModernMLP,
    }


def test_another_config_is_refused():
    with pytest.raises(UsageError, match="got DropoutRates"):
        build_model(DropoutRates())


def test_to_import_build_model_loads_no_torch():
    code = "import sys; from redrop.models import build_model; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@each_network
def test_a_class_has_the_kinds_that_its_config_has(name):
    assert NETWORKS[name].kinds == build_model(NETWORKS[name]).KINDS
    assert set(NETWORKS[name].kinds) <= set(DropoutRates.kinds())


@each_network
def test_rates_leave_the_initial_weights_alone(name):
    plain = build_model(NETWORKS[name], seed=3).state_dict()
    dropped = build_model(configured(name, **all_kinds(name, 0.5)), seed=3).state_dict()
    assert plain.keys() == dropped.keys()
    assert all(torch.equal(plain[key], dropped[key]) for key in plain)
    other = build_model(NETWORKS[name], seed=4).state_dict()
    assert not all(torch.equal(plain[key], other[key]) for key in plain)


@each_network
def test_building_leaves_torchs_generator_alone(name):
    before = torch.get_rng_state()
    for init in ("gpt2", "torch"):
        build_model(configured(name, init=init), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@each_kind
def test_each_kind_acts_in_training_and_only_there(name, kind):
    model, plain = built(name, **{kind: 0.5}), built(name)
    expected = plain(inputs(name))
    outputs = [step_of(model, name, step)[0] for step in range(8)]
    assert not all(torch.allclose(y, expected) for y in outputs)
    assert torch.equal(model.eval()(inputs(name)), expected)


@each_kind
def test_a_step_is_repeated_bit_for_bit(name, kind):
    model = built(name, **{kind: 0.5})
    first, again = step_of(model, name, 3), step_of(model, name, 3)
    torch.testing.assert_close(first, again, rtol=0, atol=0)


@each_kind
def test_p_1_gives_finite_numbers_and_gradients(name, kind):
    model = built(name, **{kind: 1.0})
    y, gradients = step_of(model, name, 0)
    assert torch.isfinite(y).all()
    assert all(g is None or torch.isfinite(g).all() for g in gradients)
    assert any(g is not None for g in gradients)


@each_network
def test_with_all_rates_0_a_model_is_attached_and_training_adds_no_operation(name):
    class Operations(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    model = built(name)
    attach(model, seed=0)
    with Operations() as training:
        model(inputs(name))
    with Operations() as evaluating:
        model.eval()(inputs(name))
    assert training.names == evaluating.names


@each_network
def test_only_elementwise_sites_stand_there_at_rate_0(name):
    types = {type(m).__name__ for m in build_model(NETWORKS[name]).modules()}
    assert not types & {"TokenDropout", "DropHead", "DropPath", "Skip"}


@each_network
def test_every_site_is_replayed(name):
    model = built(name, **all_kinds(name, 0.5))
    attach(model, seed=2)
    shapes = {"weights": (3, 3, 9, 9), "drop_head": (3, 3, 9, 4)}
    for site in [n for n, m in model.named_modules() if isinstance(m, SiteModule)]:
        shape = shapes.get(site.rpartition(".")[2], (3, 9, 12))
        assert replay(model, site, step=4, shape=shape).shape == shape


@each_network
@each_choice
def test_a_copy_drops_what_the_model_drops(name, choice):
    model = built(name, **all_kinds(name, 0.3, choice))
    attach(model, seed=2).set_step(1)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(inputs(name)), model(inputs(name)))


@each_network
@each_choice
def test_micro_batches_of_a_step_get_the_masks_of_the_whole_batch(name, choice):
    model = built(name, **all_kinds(name, 0.3, choice))
    state = attach(model, seed=2)
    state.set_step(9)
    whole = model(inputs(name))
    state.set_step(9, sample_offset=0)
    first = model(inputs(name)[:1])
    state.set_step(9, sample_offset=1)
    torch.testing.assert_close(torch.cat((first, model(inputs(name)[1:]))), whole)


@each_network
@each_choice
def test_checkpointed_blocks_meet_their_masks_again(name, choice):
    model = built(name, **all_kinds(name, 0.3, choice))
    expected = step_of(model, name, 7)
    for block in model.blocks:
        run = block.forward
        block.forward = lambda x, run=run: checkpoint(run, x, use_reentrant=False)
    torch.testing.assert_close(step_of(model, name, 7), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name",
    [
        "decoder",
        "old",
        "modern",
        *(pytest.param(n, marks=SLOW) for n in ("decoder-post", "vision")),
    ],
)
@each_choice
def test_compiled_equals_eager_step_by_step(name, choice):
    rates = all_kinds(name, 0.3, choice) | {"layers": 1}
    eager, model = built(name, **rates), built(name, **rates)
    state, other = attach(eager, seed=2), attach(model, seed=2)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for step in range(3):
        state.set_step(step)
        other.set_step(step)
        torch.testing.assert_close(compiled(inputs(name)), eager(inputs(name)))


@each_network
@pytest.mark.parametrize("init", ["gpt2", "xavier", "kaiming", "torch"])
def test_a_network_learns_from_any_initial_weights(name, init):
    """A few steps of gradient descent lower the loss on one batch."""
    model = build_model(configured(name, init=init), seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        logits = model(inputs(name)).flatten(0, -2)
        targets = torch.arange(logits.shape[0]) % 4
        losses.append(torch.nn.functional.cross_entropy(logits, targets))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


@each_network
def test_a_config_comes_back_from_json(name):
    config = configured(name, **all_kinds(name, 0.125))
    assert type(config).from_json(asdict(config)) == config
    with pytest.raises(UsageError, match=f"{type(config).__name__}.*written by another version"):
        type(config).from_json({**asdict(config), "depth": 3})


@each_network
def test_a_network_learns_its_rates(name):
    """Concrete dropout in the place of every elementwise site: each rate gets a gradient."""
    model = built(name, **all_kinds(name, 0.3, ELEMENTWISE))
    expected = built(name).eval()(inputs(name))
    sites = learn_rates(model)
    per_block = {"old": 2, "modern": 2}.get(name, 4)
    assert len(sites) == 2 * per_block + (per_block == 4)
    attach(model, seed=2)
    model(inputs(name)).square().sum().backward()
    assert all(site.logit.grad.abs() > 0 for site in sites.values())
    torch.testing.assert_close(model.eval()(inputs(name)), expected)
