import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.study.regime import WORTH_OF_REPEATS, RegimeCard, effective_tokens
from redrop.study.verdict import judge
from tests.study.surface import Surface, play
from tests.study.test_protocol import asked

epochs = st.floats(0.01, 1e5)


@given(st.integers(1, 10**13), epochs)
def test_repeats_are_worth_something_and_less_than_fresh_tokens(unique: int, times: float) -> None:
    worth = effective_tokens(unique, times)
    assert worth <= unique * times * (1 + 1e-12)
    assert worth < unique * (1 + WORTH_OF_REPEATS) * (1 + 1e-12)
    if times > 1:
        assert worth > unique
    else:
        assert worth == unique * times


@given(st.floats(1, 1e3), st.floats(1.001, 10))
def test_each_repeat_is_worth_less_than_the_one_before(times: float, more: float) -> None:
    first = effective_tokens(1.0, times + more) - effective_tokens(1.0, times)
    second = effective_tokens(1.0, times + 2 * more) - effective_tokens(1.0, times + more)
    assert second - 1e-12 <= first <= more * (1 + 1e-12)


def test_published_readings_of_the_fit_come_out() -> None:
    # The paper calls 4 epochs nearly as good as fresh data and 16 much less so; in terms of its
    # fit, 93 % and 66 % of the tokens read.
    assert effective_tokens(1.0, 4) / 4 == pytest.approx(0.932, abs=0.001)
    assert effective_tokens(1.0, 16) / 16 == pytest.approx(0.661, abs=0.001)


def test_the_timescale_of_weight_decay_is_that_of_the_moving_average() -> None:
    card = RegimeCard(unique=24_000, epochs=10, batch=240, learning_rate=1e-3, weight_decay=1.0)
    assert card.steps_per_epoch == 100
    assert card.decay_epochs == pytest.approx(10)
    # What a weight keeps of itself after tau epochs: about 1/e.
    left = (1 - 1e-3 * 1.0) ** (card.decay_epochs * 100)
    assert left == pytest.approx(1 / math.e, rel=1e-3)


def test_what_is_not_known_is_not_said() -> None:
    card = RegimeCard(unique=1000, epochs=3, unit="samples")
    assert card.effective is card.decay_epochs is card.parameters_per_unique is None
    assert [row[0] for row in card.rows()] == ["Samples, unique", "Epochs"]
    assert json.loads(json.dumps(card.to_dict(), allow_nan=False))["effective"] is None


def test_no_decay_is_an_infinite_timescale_and_null_in_json() -> None:
    card = RegimeCard(unique=1000, epochs=3, batch=10, learning_rate=1e-3, weight_decay=0.0)
    assert card.decay_epochs == math.inf
    assert ("Timescale of weight decay", "∞", "no weight decay") in card.rows()
    assert card.to_dict()["decay_epochs"] is None


@pytest.mark.parametrize(
    ("weight_decay", "words"),
    [(0.01, "longer than the run"), (1.0, "times the run"), (1000.0, "less than an epoch")],
)
def test_the_timescale_is_explained(weight_decay: float, words: str) -> None:
    card = RegimeCard(
        unique=24_000, epochs=100, batch=240, learning_rate=1e-3, weight_decay=weight_decay
    )
    assert words in next(row[2] for row in card.rows() if row[0].startswith("Timescale"))


@given(st.floats(1e-6, 10.0), st.integers(1, 10**6))
def test_a_card_is_written_without_powers_of_ten(weight_decay: float, unique: int) -> None:
    card = RegimeCard(
        unique=unique, epochs=10, batch=24, learning_rate=1e-3, weight_decay=weight_decay
    )
    (row,) = (row for row in card.rows() if row[0].startswith("Timescale"))
    assert "e+" not in " ".join(row)


def test_a_finished_baseline_is_part_of_the_card() -> None:
    settings, surface = asked(), Surface()
    _, stages = play(settings, surface)
    regime = judge(surface.study(stages[-1])).regime
    card = RegimeCard(unique=10_000, epochs=8, measured=regime)
    assert (
        "Baseline, measured",
        "passed its minimum",
        "best at step 300 of 800, after 3 epochs",
    ) in (card.rows())
    assert card.to_dict()["baseline_best_step"] == 300


@pytest.mark.parametrize(
    "wrong",
    [
        {"unique": 0},
        {"epochs": 0.0},
        {"epochs": float("nan")},
        {"parameters": -5},
        {"batch": 0},
        {"learning_rate": 0.0},
        {"weight_decay": -0.1},
        {"weight_decay": float("inf")},
    ],
)
def test_impossible_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"`{next(iter(wrong))}` must be"):
        RegimeCard(**{"unique": 1000, "epochs": 3.0, **wrong})  # type: ignore[arg-type]
