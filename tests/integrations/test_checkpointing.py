"""Gradients with activation checkpointing are those without, wherever the dropout is called."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from redrop.integrations import convert
from redrop.nn import attach

LAYOUTS = {
    "plain": lambda f, x: f(x),
    "checkpoint": lambda f, x: checkpoint(f, x, use_reentrant=False),
    "reentrant": lambda f, x: checkpoint(f, x, use_reentrant=True),
}


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return F.dropout(self.drop(self.linear(x)).tanh(), 0.5, self.training)


class Outer(nn.Module):
    """Checkpoints a module, then a function of its own that calls dropout twice."""

    def __init__(self, layout):
        super().__init__()
        self.layout = layout
        self.inner = Inner()
        self.linear = nn.Linear(8, 8)

    def bare(self, x):
        return F.dropout(self.linear(F.dropout(x, 0.25)).tanh(), 0.5)

    def forward(self, x):
        x = F.dropout(x, 0.1)
        for _ in range(2):
            x = LAYOUTS[self.layout](self.inner, x)
            x = LAYOUTS[self.layout](self.bare, x)
        return F.dropout(x, 0.1)


def backward(loss, *, in_thread):
    """As autograd does for other devices: in a thread that has run no forward."""
    thread = threading.Thread(target=loss.backward)
    thread.start() if in_thread else loss.backward()
    if in_thread:
        thread.join(60)


def gradients(layout, is_attached=True, in_thread=False):
    torch.manual_seed(0)
    model = Outer(layout)
    x = torch.randn(5, 8, requires_grad=True)
    convert(model, x)
    if is_attached:
        attach(model, seed=8).set_step(1)
    torch.manual_seed(1)
    y = model(x)
    backward(y.sum(), in_thread=in_thread)
    return [x.grad, *(p.grad for p in model.parameters())], y.detach()


@pytest.mark.parametrize("layout", ["checkpoint", "reentrant"])
@pytest.mark.parametrize("is_attached", [True, False], ids=["attached", "free"])
def test_recomputation_meets_the_masks_of_its_forward(layout, is_attached):
    want, y = gradients("plain", is_attached)
    got, again = gradients(layout, is_attached)
    assert torch.equal(y, again)
    for a, b in zip(want, got, strict=True):
        torch.testing.assert_close(a, b)


def test_a_recomputation_in_another_thread_does_too():
    want = gradients("plain")[0]
    got = gradients("checkpoint", in_thread=True)[0]
    for a, b in zip(want, got, strict=True):
        torch.testing.assert_close(a, b)


def test_nested_checkpoints_do_too():
    """The same regions, with an outer checkpoint around each and without."""
    results = []
    for outer in (lambda f, x: f(x), LAYOUTS["checkpoint"]):
        LAYOUTS["tested"] = lambda f, x, outer=outer: outer(
            lambda y: checkpoint(f, y, use_reentrant=False) * 2, x
        )
        results.append(gradients("tested")[0])
        del LAYOUTS["tested"]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
