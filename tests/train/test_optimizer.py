import pytest
import torch

from redrop.models.transformer import Transformer
from redrop.train.optimizer import (
    build_optimizer,
    describe_groups,
    load_optimizer_tensors,
    optimizer_tensors,
)
from tests.train.small import model_config, train_config


def model(**changes):
    return Transformer(model_config(**changes), seed=1)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_every_parameter_stands_in_exactly_one_group(norm, tied):
    net = model(norm=norm, tie_embeddings=tied)
    optimizer = build_optimizer(net, train_config())
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


def test_the_optimizer_decays_what_the_description_says():
    net = model()
    optimizer = build_optimizer(net, train_config(weight_decay=0.5, learning_rate=0.1))
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


def test_the_state_goes_through_tensors_to_another_optimizer():
    torch.manual_seed(0)
    nets = [model(), model()]
    optimizers = [build_optimizer(net, train_config()) for net in nets]
    gradients = [torch.randn_like(p) for p in nets[0].parameters()]

    def step(net, optimizer):
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()

    step(nets[0], optimizers[0])
    tensors = optimizer_tensors(nets[0], optimizers[0])
    assert len(tensors) == 3 * len(list(nets[0].parameters()))
    nets[1].load_state_dict(nets[0].state_dict())
    load_optimizer_tensors(nets[1], optimizers[1], {k: v.clone() for k, v in tensors.items()})
    for net, optimizer in zip(nets, optimizers, strict=True):
        step(net, optimizer)
    for ours, theirs in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)
