"""Masks come from the reference; frequencies are held to the binomial at 1e-6 false alarms."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, entropy

from redrop import nn
from redrop.errors import UsageError
from redrop.mask import keep_mask, mask_key, scale, threshold
from redrop.models.config import DropoutRates
from redrop.nn.mc_dropout import mc_predict, mc_samples, summarize_logits, summarize_values
from tests.models.tiny import shaken, tokens

ALARM = 1e-6


def linear(p=0.5, inputs=4, outputs=3, site=None):
    """Dropout on the inputs of a linear map, in float64."""
    torch.manual_seed(0)
    last = torch.nn.Linear(inputs, outputs, dtype=torch.float64)
    return torch.nn.Sequential(nn.Dropout(p) if site is None else site, last)


def inputs(batch=3, width=4):
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(1)).double()


def expected_samples(model, x, passes, seed):
    """The passes by their definition: row pass · B + b of step 0."""
    rows = x.repeat(passes, 1)
    p = model[0].p
    keep = torch.from_numpy(keep_mask(mask_key(seed, 0, "0"), p, tuple(rows.shape)))
    dropped = torch.where(keep, rows * scale(threshold(p)), 0.0)
    return (dropped @ model[1].weight.T + model[1].bias).unflatten(0, (passes, len(x)))


@settings(max_examples=30)
@given(
    st.integers(1, 5), st.integers(2, 9), st.integers(1, 50), st.integers(0, 2**64 - 1), st.data()
)
def test_a_pass_has_the_masks_of_its_seed_whatever_the_chunks(batch, passes, size, seed, data):
    model, x = linear(data.draw(st.sampled_from([0.1, 0.5, 1.0]))), inputs(batch)
    if data.draw(st.booleans()):
        nn.attach(model, seed=99).set_step(7)
    samples = mc_samples(model, x, passes, seed=seed, batch_size=size)
    torch.testing.assert_close(samples, expected_samples(model, x, passes, seed))


def test_the_first_passes_of_a_longer_call_are_those_of_a_shorter_one():
    model, x = linear(), inputs()
    short, long = (mc_samples(model, x, passes, seed=3) for passes in (4, 20))
    torch.testing.assert_close(long[:4], short)


@pytest.mark.parametrize("is_attached", [False, True])
def test_a_transformers_passes_are_replayable_on_any_chunks_and_differ(is_attached):
    model = shaken(dropout=DropoutRates.everywhere(0.3))
    if is_attached:
        nn.attach(model, seed=1)
    one, other = (mc_samples(model, tokens(3), 5, seed=8, batch_size=n) for n in (256, 4))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for a, b in itertools.combinations(one, 2):
        assert (a - b).abs().amax(dim=(1, 2)).min() > 1e-3
    assert not torch.allclose(one, mc_samples(model, tokens(3), 5, seed=9), atol=1e-3)


@pytest.mark.parametrize("layer", ["DropConnect", "LayerDrop"])
@pytest.mark.parametrize("size", [1, 2, 256])
def test_where_samples_share_a_mask_each_pass_is_a_step(layer, size):
    torch.manual_seed(0)
    x = inputs()
    inner = torch.nn.Linear(4, 4, dtype=torch.float64)
    shared = nn.LayerDrop(inner, p=0.5)
    if layer == "DropConnect":
        shared = nn.DropConnect(4, 4, dtype=torch.float64, p=0.5)
    model = torch.nn.Sequential(shared, nn.Dropout(0.5))
    samples = mc_samples(model, x, 12, seed=5, batch_size=size)
    for step, sample in enumerate(samples):
        key = mask_key(5, step, "0")
        if layer == "LayerDrop":
            y = inner(x) if keep_mask(key, 0.5, ()) else x
        else:
            keep = torch.from_numpy(keep_mask(key, 0.5, (4, 4)))
            y = x @ (shared.weight * keep * 2).T + shared.bias
        keep = torch.from_numpy(keep_mask(mask_key(5, step, "1"), 0.5, (3, 4)))
        torch.testing.assert_close(sample, y * keep * 2)


class TimeFirst(torch.nn.Module):
    """Takes samples first, and drops where time comes first."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(x.transpose(0, 1)).transpose(0, 1)


def test_a_site_without_samples_first_runs_in_one_forward_or_is_refused():
    x = torch.ones(2, 7, 3)
    samples = mc_samples(TimeFirst(), x, 4, seed=0)
    keep = torch.from_numpy(keep_mask(mask_key(0, 0, "drop"), 0.5, (7, 8, 3))).transpose(0, 1)
    assert torch.equal(samples != 0, keep.unflatten(0, (4, 2)))
    with pytest.raises(UsageError, match=r"`drop` got shape \(7, 3, 3\) for 3 samples"):
        mc_samples(TimeFirst(), x, 4, seed=0, batch_size=3)


# Every mask of 4 inputs, its probability and its output.


def enumerated(model, x, p):
    keeps = torch.tensor(list(itertools.product([0, 1], repeat=4)), dtype=torch.float64)
    chances = (p ** (1 - keeps) * (1 - p) ** keeps).prod(1)
    outputs = torch.stack([model[1](x * keep / (1 - p)) for keep in keeps]).detach()
    return chances, outputs


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_each_mask_comes_as_often_as_its_probability_says(p):
    model, x, passes = linear(p), inputs(2), 2000
    chances, outputs = enumerated(model, x, p)
    samples = mc_samples(model, x, passes, seed=1)
    for b in range(len(x)):
        is_mask = (samples[:, b, None] - outputs[None, :, b]).abs().amax(-1) < 1e-9
        counts = is_mask.sum(0).tolist()
        assert sum(counts) == passes
        for count, chance in zip(counts, chances.tolist(), strict=True):
            low, high = binom.interval(1 - ALARM / 64, passes, chance)  # 64 counts in all
            assert low <= count <= high


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_mean_and_spread_near_the_exact_ones(kind):
    model, x, passes = linear(0.5), inputs(2), 4000
    chances, outputs = enumerated(model, x, 0.5)
    values = outputs.softmax(-1) if kind == "classification" else outputs
    prediction = mc_predict(model, x, passes, seed=2, kind=kind)

    def near(estimate, per_mask):
        """Hoeffding: beyond this with a probability of at most ALARM; 12 numbers each."""
        exact = (chances[:, None, None] * per_mask).sum(0)
        width = per_mask.amax(0) - per_mask.amin(0)
        assert (
            (estimate - exact).abs() <= width * math.sqrt(math.log(24 / ALARM) / 2 / passes)
        ).all()
        return exact

    mean = near(prediction.mean, values)
    # The spread's square, from the mean of squares about the exact mean.
    about = prediction.spread**2 * (passes - 1) / passes + (prediction.mean - mean) ** 2
    variance = near(about, (values - mean) ** 2)
    assert (variance > 1e-4).all()


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 3), st.integers(2, 5))
def test_the_summary_is_numpys_and_scipys(seed, passes, batch, classes):
    logits = np.random.default_rng(seed).normal(0, 3, (passes, batch, 2, classes))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    summary = summarize_logits(torch.from_numpy(logits))
    np.testing.assert_allclose(summary.mean, p.mean(0))
    np.testing.assert_allclose(summary.spread, p.std(0, ddof=1), atol=1e-12)
    np.testing.assert_allclose(summary.entropy, entropy(p.mean(0), axis=-1))
    divergences = entropy(p, np.broadcast_to(p.mean(0), p.shape), axis=-1).mean(0)
    np.testing.assert_allclose(summary.mutual_information, divergences, atol=1e-12)
    values = summarize_values(torch.from_numpy(logits))
    np.testing.assert_allclose(values.mean, logits.mean(0))
    np.testing.assert_allclose(values.spread, logits.std(0, ddof=1))
    assert values.entropy is values.mutual_information is None


def test_passes_that_agree_have_no_mutual_information():
    summary = summarize_logits(torch.randn(1, 4, 5).expand(9, 4, 5))
    assert summary.mutual_information.max() < 1e-6
    assert summary.mutual_information.min() >= 0.0
    assert summary.spread.max() < 1e-6


# What must not change.


def mixed():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 6),
        torch.nn.BatchNorm1d(6),
        nn.Dropout(0.5),
        torch.nn.Sequential(torch.nn.Dropout(0.3), torch.nn.Linear(6, 2)),
        nn.Dropout(0.0),
    )


@pytest.mark.parametrize("is_training", [True, False])
def test_only_dropout_is_on_and_everything_is_put_back(is_training):
    model = mixed().train(is_training)
    model[3].train(not is_training)
    modes = [module.training for module in model.modules()]
    seen = []
    for module in model.modules():
        module.register_forward_pre_hook(
            lambda module, _: seen.append((type(module).__name__, module.training))
        )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    samples = mc_samples(model, torch.randn(5, 4, generator=torch.Generator()), 4, seed=0)
    assert not samples.requires_grad
    assert {name for name, mode in seen if mode} == {"Dropout"}
    assert ("BatchNorm1d", False) in seen
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert model[2].site is None
    assert torch.backends.mha.get_fastpath_enabled()


def test_everything_is_put_back_after_an_error_too():
    model = mixed().train()
    with pytest.raises(RuntimeError):
        mc_samples(model, torch.ones(5, 3), 4, seed=0)
    assert all(module.training for module in model.modules())
    assert model[2].site is None
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("counts", [True, False], ids=["counting", "set_step"])
def test_the_run_of_an_attached_model_does_not_notice(counts):
    def masks(is_interrupted):
        model = nn.LayerDrop(torch.nn.Sequential(nn.Dropout(0.5)), p=0.3)  # itself a site
        state = nn.attach(model, seed=4)
        outputs = []
        for step in range(6):
            if not counts:
                state.set_step(step)
            outputs.append(model(torch.ones(3, 5)))
            if is_interrupted:
                mc_samples(model, torch.ones(2, 5), 3, seed=1)
            outputs.append(model(torch.ones(3, 5)))
        return torch.stack(outputs), state.step

    (plain, step), (interrupted, other) = masks(False), masks(True)
    assert torch.equal(plain, interrupted)
    assert step == other


def test_without_a_seed_calls_differ_and_manual_seed_repeats_them():
    model, x = linear(), inputs()
    torch.manual_seed(0)
    first, second = mc_samples(model, x, 8), mc_samples(model, x, 8)
    torch.manual_seed(0)
    assert torch.equal(mc_samples(model, x, 8), first)
    assert not torch.equal(first, second)


def test_torchs_own_dropout_is_on_and_repeatable():
    model, x = linear(site=torch.nn.Dropout(0.5)), inputs()
    first, second = (mc_samples(model, x, 8, seed=2**64 - 1) for _ in range(2))
    assert torch.equal(first, second)
    assert first.std(0).min() > 0.01


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", ["encoder", "attention", "lstm"])
def test_layers_of_torch_that_hide_their_dropout_vary_too(name):
    torch.manual_seed(0)
    layer = {
        "encoder": lambda: torch.nn.TransformerEncoderLayer(4, 2, 8, 0.3, batch_first=True),
        "attention": lambda: torch.nn.MultiheadAttention(4, 2, 0.3, batch_first=True),
        "lstm": lambda: torch.nn.LSTM(4, 4, 2, dropout=0.3, batch_first=True),
    }[name]()

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            y = self.layer(x, x, x) if name == "attention" else self.layer(x)
            return y if name == "encoder" else y[0]

    spread = mc_predict(Model(), torch.randn(2, 3, 4), 8, seed=0, kind="regression").spread
    assert spread[:, -1].mean() > 1e-3


# What is refused.


@pytest.mark.parametrize(
    "model",
    [torch.nn.Linear(4, 2), linear(0.0), torch.nn.Sequential(torch.nn.Dropout(0.0))],
    ids=["none", "p 0", "torch's, p 0"],
)
def test_a_model_without_dropout_is_refused(model):
    with pytest.raises(UsageError, match="needs a dropout layer with a rate above 0"):
        mc_predict(model, inputs())


@pytest.mark.parametrize(
    ("x", "change"),
    [
        (torch.ones(2, 4), {"passes": 1}),
        (torch.ones(2, 4), {"batch_size": 0}),
        (torch.ones(0, 4), {}),
        (torch.ones(()), {}),
    ],
    ids=["one pass", "no rows", "no samples", "no dimension"],
)
def test_numbers_out_of_range_are_refused(x, change):
    with pytest.raises(UsageError, match="`passes` must be at least 2"):
        mc_predict(linear(), x, **change)


def test_other_mistakes_are_named():
    with pytest.raises(UsageError, match="`kind` must be"):
        mc_predict(linear(), inputs(), kind="classes")
    with pytest.raises(UsageError, match="`seed` must lie in"):
        mc_predict(linear(), inputs(), seed=-1)
    whole = torch.nn.Sequential(nn.Dropout(0.5), torch.nn.Flatten(0))
    with pytest.raises(UsageError, match=r"one tensor, samples first; got \(32,\) for 8 samples"):
        mc_predict(whole, torch.ones(2, 4), 4)
    flat = torch.nn.Sequential(nn.Dropout(0.5), torch.nn.Flatten(0), torch.nn.Unflatten(0, (-1,)))
    with pytest.raises(UsageError, match=r'Pass kind="regression"'):
        mc_predict(flat, torch.ones(2, 1), 4)
