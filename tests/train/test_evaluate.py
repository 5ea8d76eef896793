import pytest
import torch

from redrop.errors import UsageError
from redrop.models.transformer import Transformer
from redrop.train.evaluate import evaluate
from tests.train.small import corpus, model_config, text_task


def test_the_loss_is_the_mean_over_all_targets():
    model = Transformer(model_config(), seed=1)
    data = corpus().validation
    context = 12
    count = (len(data) - 1) // context
    total, right = torch.zeros((), dtype=torch.float64), 0
    for n in range(count):
        window = data[n * context : (n + 1) * context + 1]
        logs = model(window[None, :-1])[0].double().log_softmax(-1)
        total -= logs[torch.arange(context), window[1:]].sum()
        right += int((logs.argmax(-1) == window[1:]).sum())
    batches = text_task().part("validation", len(data))
    assert sum(len(batch) for batch in batches) == count
    assert len({len(batch) for batch in batches}) > 1, "the last batch is smaller"
    score = evaluate(text_task(), model, batches)
    assert score.loss == pytest.approx((total / (count * context)).item(), rel=1e-6)
    assert score.metrics == {"accuracy": pytest.approx(right / (count * context))}


def test_dropout_is_off_and_the_mode_comes_back():
    plain = Transformer(model_config(), seed=1)
    dropped = Transformer(model_config(p=0.9), seed=1)
    batches = text_task().part("validation", 240)
    assert evaluate(text_task(), dropped, batches) == evaluate(text_task(), plain, batches)
    assert all(module.training for module in dropped.modules())


def test_no_gradient_and_no_random_number_is_used():
    model = Transformer(model_config(p=0.5), seed=1)
    before = torch.get_rng_state()
    evaluate(text_task(), model, text_task().part("validation", 240))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_batches_are_the_same_at_every_call_and_no_more_than_the_limit():
    one, two = (text_task().part("train", 100) for _ in range(2))
    assert sum(batch.targets.numel() for batch in one) == 96
    for first, second in zip(one, two, strict=True):
        assert torch.equal(first.inputs, second.inputs)
        assert torch.equal(first.targets, second.targets)


def test_bfloat16_measures_nearly_the_same():
    task, model = text_task(), Transformer(model_config(), seed=1)
    batches = task.part("validation", 240)
    exact, rough = evaluate(task, model, batches), evaluate(task, model, batches, "bfloat16")
    assert exact.loss != rough.loss
    assert rough.loss == pytest.approx(exact.loss, rel=1e-2)


def test_too_few_tokens_are_refused():
    with pytest.raises(UsageError, match="context of 700 needs at least 701 tokens"):
        text_task(context=700)
