import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from redrop.models.transformer import Transformer
from redrop.train.optimizer import (
    build_optimizer,
    describe_groups,
    load_optimizer_tensors,
    optimizer_tensors,
)
from tests.train.small import model_config, train_config

# Settings of each optimizer, and how many tensors it keeps of a parameter.
OPTIMIZERS = {"adamw": ({}, 3), "adam": ({"weight_decay": 0.0}, 3), "sgd": ({}, 1)}
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def settings(name, **changes):
    return train_config(optimizer=name, **{**OPTIMIZERS[name][0], **changes})


def step(net, optimizer, gradients):
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        parameter.grad = gradient.clone()
    optimizer.step()


def drawn(net, seed, count):
    """That many gradients of every parameter."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(p.shape, generator=generator) for p in net.parameters()] for _ in range(count)
    ]


def model(**changes):
    return Transformer(model_config(**changes), seed=1)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@each_optimizer
def test_every_parameter_stands_in_exactly_one_group(name, norm, tied):
    net = model(norm=norm, tie_embeddings=tied)
    optimizer = build_optimizer(net, settings(name))
    grouped = [p for group in optimizer.param_groups for p in group["params"]]
    assert len({id(p) for p in grouped}) == len(grouped)
    assert {id(p) for p in grouped} == {id(p) for p in net.parameters()}


def test_only_matrices_and_embeddings_decay():
    net = model()
    decayed, other = describe_groups(net, 0.25)
    assert (decayed.weight_decay, other.weight_decay) == (0.25, 0.0)
    assert all(name.endswith("weight") and "norm" not in name for name in decayed.names)
    assert {"token_embedding.weight", "output.weight"} < set(decayed.names)
    assert all(name.endswith("bias") or "norm" in name for name in other.names)
    assert {*decayed.names, *other.names} == set(dict(net.named_parameters()))
    assert decayed.elements + other.elements == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_the_optimizer_decays_what_the_description_says(kind):
    net = model()
    optimizer = build_optimizer(net, settings(kind, weight_decay=0.5, learning_rate=0.1))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    decayed, other = describe_groups(net, 0.5)
    after = dict(net.named_parameters())
    for name in decayed.names:
        torch.testing.assert_close(after[name], before[name] * (1 - 0.1 * 0.5))
    for name in other.names:
        assert torch.equal(after[name], before[name])


def test_without_decay_one_step_is_that_of_adam():
    net = model()
    optimizer = build_optimizer(net, train_config(weight_decay=0.0, learning_rate=0.1))
    before = net.output.weight.detach().clone()
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    optimizer.step()
    # After one step m / √v is the sign of the gradient, whatever the betas are.
    torch.testing.assert_close(net.output.weight, before - 0.1)


def test_adam_is_adamw_without_decay_to_the_bit():
    nets = [model(), model()]
    optimizers = [
        build_optimizer(nets[0], settings("adam")),
        build_optimizer(nets[1], settings("adamw", weight_decay=0.0)),
    ]
    for gradients in drawn(nets[0], 2, 3):
        for net, optimizer in zip(nets, optimizers, strict=True):
            step(net, optimizer, gradients)
    for ours, theirs in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


@given(st.floats(0, 1), st.floats(1e-3, 0.3), st.integers(0, 99))
def test_sgd_is_its_formula(decay, rate, seed):
    net = nn.Sequential(nn.Linear(3, 2))
    optimizer = build_optimizer(net, settings("sgd", weight_decay=decay, learning_rate=rate))
    weights = [p.detach().double() for p in net.parameters()]
    moving = [torch.zeros_like(w) for w in weights]
    for gradients in drawn(net, seed, 4):
        step(net, optimizer, gradients)
        for n, gradient in enumerate(gradients):
            pull = decay * weights[n] if weights[n].dim() == 2 else 0.0
            moving[n] = 0.9 * moving[n] + gradient.double() + pull
            weights[n] = weights[n] - rate * moving[n]
    for parameter, expected in zip(net.parameters(), weights, strict=True):
        torch.testing.assert_close(parameter.double(), expected, rtol=1e-4, atol=1e-5)


@each_optimizer
def test_the_state_goes_through_tensors_to_another_optimizer(name):
    nets = [model(), model()]
    optimizers = [build_optimizer(net, settings(name)) for net in nets]
    first, *rest = drawn(nets[0], 0, 3)
    step(nets[0], optimizers[0], first)
    tensors = optimizer_tensors(nets[0], optimizers[0])
    assert len(tensors) == OPTIMIZERS[name][1] * len(list(nets[0].parameters()))
    nets[1].load_state_dict(nets[0].state_dict())
    load_optimizer_tensors(nets[1], optimizers[1], {k: v.clone() for k, v in tensors.items()})
    for gradients in rest:
        for net, optimizer in zip(nets, optimizers, strict=True):
            step(net, optimizer, gradients)
    for ours, theirs in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)
