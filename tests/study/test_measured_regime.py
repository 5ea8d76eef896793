from dataclasses import replace

import pytest

from redrop.errors import UsageError
from redrop.study.measured_regime import card_of
from redrop.study.protocol import Stage, next_stage
from redrop.study.records import Study
from tests.study.surface import Surface
from tests.study.test_protocol import asked


def baseline(**settings: object) -> Study:
    stage = next_stage(asked(first_steps=800), [])
    assert isinstance(stage, Stage)
    study = Surface().study(stage)
    return replace(study, plan=replace(study.plan, settings=study.plan.settings | settings))


def test_the_card_is_read_from_plan_and_records() -> None:
    train = {"steps": 800, "learning_rate": 1e-3, "weight_decay": 0.1}
    study = baseline(train=train)
    card = card_of(study)
    assert (card.unique, card.unit, card.epochs, card.batch) == (10_000, "tokens", 8.0, 100)
    assert card.decay_epochs == pytest.approx(1 / (1e-3 * 0.1 * 100))
    assert card.measured is not None
    assert card.measured.state == "passed its minimum"
    assert card.parameters is None  # a plan of before they were counted


@pytest.mark.parametrize(("counted", "ratio"), [(5000, 0.5), (1, 1e-4), (0, None)])
def test_the_parameters_are_those_of_the_plan(counted: int, ratio: float | None) -> None:
    study = baseline()
    card = card_of(replace(study, plan=replace(study.plan, parameters=counted)))
    assert (card.parameters, card.parameters_per_unique) == (counted or None, ratio)
    assert ("Parameters" in [name for name, _, _ in card.rows()]) == (ratio is not None)


def test_samples_are_samples() -> None:
    data = {"train_targets": 1000, "samples": {"train": 1000}}
    assert card_of(baseline(data=data)).unit == "samples"


def test_without_a_baseline_there_is_no_card() -> None:
    with pytest.raises(UsageError, match="complete run of its baseline"):
        card_of(replace(baseline(), runs=()))
    with pytest.raises(UsageError, match="complete run of its baseline"):
        card_of(baseline(data={}))
