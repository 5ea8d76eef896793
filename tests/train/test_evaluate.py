import pytest
import torch

from redrop.errors import UsageError
from redrop.models.transformer import Transformer
from redrop.train.evaluate import evaluate, fixed_windows
from tests.train.small import corpus, model_config


def test_the_loss_is_the_mean_over_all_targets():
    model = Transformer(model_config(), seed=1)
    data = corpus().validation
    context = 12
    count = (len(data) - 1) // context
    total = torch.zeros((), dtype=torch.float64)
    for n in range(count):
        window = data[n * context : (n + 1) * context + 1]
        logs = model(window[None, :-1])[0].double().log_softmax(-1)
        total -= logs[torch.arange(context), window[1:]].sum()
    windows = fixed_windows(data, context, limit=len(data))
    assert sum(len(rows) for rows, _ in windows) == count
    assert len({len(rows) for rows, _ in windows}) > 1, "the last batch is smaller"
    assert evaluate(model, windows) == pytest.approx((total / (count * context)).item(), rel=1e-6)


def test_dropout_is_off_and_the_mode_comes_back():
    plain = Transformer(model_config(), seed=1)
    dropped = Transformer(model_config(p=0.9), seed=1)
    windows = fixed_windows(corpus().validation, 12, 240)
    assert evaluate(dropped, windows) == evaluate(plain, windows)
    assert all(module.training for module in dropped.modules())


def test_no_gradient_and_no_random_number_is_used():
    model = Transformer(model_config(p=0.5), seed=1)
    before = torch.get_rng_state()
    evaluate(model, fixed_windows(corpus().validation, 12, 240))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_windows_are_the_same_at_every_call_and_no_more_than_the_limit():
    one, two = (fixed_windows(corpus().train, 12, 100) for _ in range(2))
    assert sum(targets.numel() for _, targets in one) == 96
    for (a, b), (c, d) in zip(one, two, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_bfloat16_measures_nearly_the_same():
    model = Transformer(model_config(), seed=1)
    windows = fixed_windows(corpus().validation, 12, 240)
    exact, rough = evaluate(model, windows), evaluate(model, windows, "bfloat16")
    assert exact != rough
    assert rough == pytest.approx(exact, rel=1e-2)


def test_too_few_tokens_are_refused():
    with pytest.raises(UsageError, match="at least 13 tokens; got 12"):
        fixed_windows(torch.zeros(12, dtype=torch.int64), 12, 100)
