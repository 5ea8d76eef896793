import pytest
import torch

from redrop.errors import UsageError
from redrop.models import DropoutRates
from redrop.models.generate import generate
from tests.models.tiny import VOCAB, shaken, tiny, tokens


def test_the_given_tokens_come_first_and_the_rest_lies_in_the_vocabulary():
    out = generate(shaken(), tokens(length=3), 20, seed=0)
    assert out.shape == (2, 23)
    assert torch.equal(out[:, :3], tokens(length=3))
    assert 0 <= int(out.min()) <= int(out.max()) < VOCAB


def test_the_seed_decides_and_torchs_generator_is_not_touched():
    before = torch.get_rng_state()
    one, again, other = (generate(shaken(), tokens(), 30, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_does_not_act_and_the_mode_comes_back():
    model = shaken(dropout=DropoutRates.everywhere(0.9))
    model.blocks[0].eval()
    out = generate(model, tokens(), 30, seed=1)
    assert torch.equal(out, generate(shaken(), tokens(), 30, seed=1))
    assert model.training
    assert not model.blocks[0].training
    assert model.blocks[1].attention.weights.training


def test_the_mode_comes_back_after_an_error():
    model = tiny()
    model.output.weight.data.fill_(float("nan"))
    with pytest.raises(RuntimeError):
        generate(model, tokens(), 1, seed=0)
    assert model.training


def test_only_the_last_tokens_of_a_long_text_are_read():
    model = shaken()
    text = tokens(length=40)
    long, short = (generate(model, t, 12, seed=3) for t in (text, text[:, -9:]))
    assert torch.equal(long[:, 40:], short[:, 9:])


def test_temperature_0_and_top_k_1_take_the_likeliest_token():
    model = shaken()
    likeliest = model.eval()(tokens())[:, -1].argmax(-1)
    greedy = generate(model, tokens(), 9, seed=0, temperature=0)
    assert torch.equal(greedy[:, 9], likeliest)
    assert torch.equal(generate(model, tokens(), 9, seed=5, top_k=1), greedy)


def test_samples_follow_the_probabilities_of_the_temperature():
    model = shaken(layers=1)
    prompt = tokens(batch=1).repeat(20_000, 1)
    probabilities = (model(prompt[:1])[0, -1] / 0.7).softmax(-1)
    drawn = generate(model, prompt, 1, seed=0, temperature=0.7)[:, -1]
    counts = torch.bincount(drawn, minlength=VOCAB)
    deviation = (20_000 * probabilities * (1 - probabilities)).sqrt()
    # 4.5 standard deviations: 1 false alarm in 10,000 seeds over the 13 tokens
    assert bool(((counts - 20_000 * probabilities).abs() <= 4.5 * deviation + 1).all())


def test_top_k_draws_from_the_k_likeliest_only():
    model = shaken()
    prompt = tokens(batch=1).repeat(2_000, 1)
    likeliest = set(model(prompt[:1])[0, -1].topk(3).indices.tolist())
    drawn = generate(model, prompt, 1, seed=0, top_k=3, temperature=5.0)[:, -1]
    assert set(drawn.tolist()) == likeliest


def test_a_tiny_temperature_takes_the_likeliest_token_without_overflow():
    greedy = generate(shaken(), tokens(), 9, seed=0, temperature=0)
    assert torch.equal(generate(shaken(), tokens(), 9, seed=0, temperature=1e-30), greedy)


def test_no_more_tokens_is_no_change():
    assert torch.equal(generate(tiny(), tokens(), 0, seed=0), tokens())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -1.0}, "`temperature` must be a finite number of at least 0; got -1.0"),
        ({"temperature": float("nan")}, "`temperature` must be .* got nan"),
        ({"top_k": 0}, "`top_k` must be at least 1; got 0"),
        ({"count": -1}, "`count` must not be negative; got -1"),
        ({"tokens_BT": torch.zeros(1, 0, dtype=torch.int64)}, "at least one token a row"),
        ({"tokens_BT": torch.zeros(3, dtype=torch.int64)}, r"shape \(3,\)"),
        ({"tokens_BT": torch.tensor([[0, VOCAB]])}, r"\[0, 13\).*got 0 to 13"),
    ],
)
def test_what_cannot_be_honoured_is_refused(change, message):
    arguments = {"tokens_BT": tokens(), "count": 2, "seed": 0, **change}
    with pytest.raises(UsageError, match=message):
        generate(tiny(), **arguments)
