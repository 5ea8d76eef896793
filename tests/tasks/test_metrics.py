"""Against scikit-learn, and the calibration error against its definition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from redrop.tasks.metrics import BINS, ClassScorer, TokenScorer, ValueScorer

SIZES = st.tuples(st.integers(1, 60), st.integers(2, 6), st.integers(0, 999))


def class_batches(count, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator) * 3
    return logits, torch.randint(classes, (count,), generator=generator)


def fed(scorer, outputs, targets, cut):
    """Feed in two batches, the cut anywhere."""
    for rows in (slice(0, cut), slice(cut, None)):
        if len(targets[rows]):
            scorer.add(outputs[rows], targets[rows])
    return scorer.results()


@given(SIZES, st.integers(0, 60))
def test_accuracy_and_f1_are_those_of_scikit_learn(sizes, cut):
    logits, targets = class_batches(*sizes)
    found = fed(ClassScorer(), logits, targets, cut)
    guesses = logits.argmax(1).numpy()
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(targets, guesses))
    f1 = metrics.f1_score(targets, guesses, average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(f1)


@given(SIZES, st.integers(0, 60))
def test_the_calibration_error_is_its_definition(sizes, cut):
    logits, targets = class_batches(*sizes)
    p = logits.double().softmax(1).numpy()
    confidence, is_right = p.max(1), p.argmax(1) == targets.numpy()
    error = 0.0
    for n in range(BINS):  # a bin is (n/15, (n + 1)/15]
        inside = (confidence > n / BINS) & (confidence <= (n + 1) / BINS)
        if inside.any():
            gap = is_right[inside].mean() - confidence[inside].mean()
            error += inside.mean() * abs(gap)
    found = fed(ClassScorer(), logits, targets, cut)["calibration_error"]
    assert found == pytest.approx(error, abs=1e-5)


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_who_is_always_sure_and_right_is_calibrated(count):
    targets = torch.arange(count) % 2
    scorer = ClassScorer()
    scorer.add(torch.nn.functional.one_hot(targets, 2) * 1e3, targets)
    assert scorer.results() == {"accuracy": 1.0, "macro_f1": 1.0, "calibration_error": 0.0}
    wrong = ClassScorer()
    wrong.add(torch.nn.functional.one_hot(1 - targets, 2) * 1e3, targets)
    assert wrong.results() == {"accuracy": 0.0, "macro_f1": 0.0, "calibration_error": 1.0}


def test_a_class_that_nobody_names_has_no_part_in_f1():
    scorer = ClassScorer()
    scorer.add(torch.eye(9)[[0, 1, 1]], torch.tensor([0, 1, 0]))
    assert scorer.results()["macro_f1"] == pytest.approx(
        metrics.f1_score([0, 1, 0], [0, 1, 1], average="macro")
    )


@given(st.integers(2, 50), st.floats(0.01, 1000), st.integers(0, 999), st.integers(0, 50))
def test_errors_of_values_are_those_of_scikit_learn_in_the_users_units(count, scale, seed, cut):
    generator = torch.Generator().manual_seed(seed)
    guesses, targets = torch.randn(2, count, generator=generator)
    found = fed(ValueScorer(scale), guesses, targets, cut)
    truth, said = targets.double() * scale, guesses.double() * scale
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, said), rel=1e-5)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, said), rel=1e-5)
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, said), rel=1e-4, abs=1e-5)


def test_r2_of_constant_targets_is_no_number():
    scorer = ValueScorer(1.0)
    scorer.add(torch.zeros(3), torch.zeros(3))
    assert math.isnan(scorer.results()["r2"])
    assert scorer.results()["rmse"] == 0.0


@given(SIZES, st.integers(0, 60))
def test_tokens_are_counted_one_by_one_and_those_of_minus_100_are_not(sizes, cut):
    count, classes, seed = sizes
    logits, targets = class_batches(count * 3, classes, seed)
    hidden = torch.rand(count * 3, generator=torch.Generator().manual_seed(seed + 1)) < 0.3
    targets[hidden] = -100
    found = fed(TokenScorer(), logits.view(count, 3, -1), targets.view(count, 3), cut)
    kept = ~hidden.numpy()
    right = (logits.argmax(1).numpy() == targets.numpy())[kept]
    assert found == {"accuracy": pytest.approx(float(np.mean(right)) if kept.any() else 0.0)}
