import json

import numpy as np
import pytest
import torch

from redrop.data.samples import Part, Samples, standardise_targets
from redrop.errors import UsageError


def part(count: int, classes: int | None) -> Part:
    targets = torch.zeros(count) if classes is None else torch.arange(count) % classes
    return Part(inputs=torch.zeros(count, 3), targets=targets)


def samples(classes: tuple[str, ...] | None, **more: object) -> Samples:
    kinds = None if classes is None else len(classes)
    return Samples(
        name="mine",
        sha256="0" * 64,
        train=part(5, kinds),
        validation=part(1, kinds),
        test=part(2, kinds),
        classes=classes,
        features=("a", "b", "c"),
        **more,
    )


def test_a_record_counts_the_samples_of_each_class():
    described = samples(("no", "yes"), notes=("One.",), duplicates=3).describe()
    assert json.loads(json.dumps(described)) == described
    assert described["samples"] == {"train": 5, "validation": 1, "test": 2}
    assert described["per_class"] == {"train": [3, 2], "validation": [1, 0], "test": [1, 1]}
    assert described["classes"] == ["no", "yes"]
    assert described["duplicates"] == 3
    assert described["notes"] == ["One."]


def test_a_regression_keeps_its_units():
    regression = samples(None, target="price", target_mean=10.0, target_scale=4.0)
    described = regression.describe()
    assert regression.is_regression
    assert described["classes"] is None
    assert described["target"] == "price"
    assert (described["target_mean"], described["target_scale"]) == (10.0, 4.0)
    assert "per_class" not in described
    assert regression.in_units(torch.tensor([-1.0, 0.0, 2.0])).tolist() == [6.0, 10.0, 18.0]


def test_shape_tells_images_from_rows():
    table = samples(("no", "yes"))
    assert table.input_shape == (3,)
    assert not table.is_image
    images = Part(inputs=torch.zeros(2, 1, 4, 5), targets=torch.tensor([0, 1]))
    digits = Samples(
        name="d", sha256="0", train=images, validation=images, test=images, classes=("0", "1")
    )
    assert digits.input_shape == (1, 4, 5)
    assert digits.is_image


def test_standard_targets_come_back_in_units():
    rng = np.random.default_rng(0)
    values = rng.normal(50, 7, size=200)
    train = np.arange(120)
    standard, mean, scale = standardise_targets(values, train, "y")
    assert standard[train].mean() == pytest.approx(0, abs=1e-6)
    assert standard[train].std() == pytest.approx(1, abs=1e-6)
    assert mean == values[:120].mean()  # no held-out value enters
    np.testing.assert_allclose(mean + scale * standard, values, rtol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 3.0, 0.1])
def test_a_constant_target_is_refused(constant: float):
    values = np.full(50, constant)
    values[-1] = 99.0  # held out
    with pytest.raises(UsageError, match="The target of a regression must vary.*'y'"):
        standardise_targets(values, np.arange(49), "y")
