import pytest
import torch

from redrop.models.transformer import Transformer
from redrop.nn import attach
from redrop.train import precision
from redrop.train.loss import mean_loss
from redrop.train.precision import fastest_precision, measure_precisions
from redrop.train.task import Batch
from tests.train.small import model_config, text_task

INPUTS = torch.zeros(2, 12, dtype=torch.int64)
BATCH = Batch(INPUTS, INPUTS)


def test_measuring_leaves_no_trace_on_the_model():
    model = Transformer(model_config(p=0.5), seed=1)
    state = attach(model, seed=3)
    state.set_step(7)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    expected = model(INPUTS)
    state.set_step(7)
    seconds = measure_precisions(text_task(), model, BATCH)
    assert seconds.keys() == {"float32", "bfloat16"}
    assert all(0 < value < 60 for value in seconds.values())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(model(INPUTS), expected)


@pytest.mark.parametrize("faster", ["float32", "bfloat16"])
def test_the_faster_one_is_chosen(monkeypatch, faster):
    clock = [0.0]

    def slow(task, model, batch, which):
        clock[0] += 1.0 if which == faster else 2.0
        return mean_loss(task, model, batch, which)

    monkeypatch.setattr(precision, "mean_loss", slow)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: clock[0])
    model = Transformer(model_config())
    assert fastest_precision(text_task(), model, BATCH) == faster


def test_loss_and_gradients_are_float32_in_both():
    for which in ("float32", "bfloat16"):
        model = Transformer(model_config(), seed=1)
        seen = []
        model.blocks[0].feed_forward.expand.register_forward_hook(
            lambda module, args, output, seen=seen: seen.append(output.dtype)
        )
        loss = mean_loss(text_task(), model, BATCH, which)
        loss.backward()
        assert loss.dtype == torch.float32
        assert seen == [getattr(torch, which)]
        assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())
