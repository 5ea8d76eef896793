import json
from dataclasses import replace

import pytest

from redrop.errors import UsageError
from redrop.study.records import Study
from redrop.study.regime_map import MapPoint, make_map
from redrop.study.stage import Stage
from redrop.study.statistics import Outcome
from redrop.train.recipe import Recipe
from redrop.train.recipe_word import parse_recipe
from tests.study.surface import Surface

ARMS = tuple(parse_recipe(word) for word in ("none", "all-0.1", "all-0.3"))


def at(
    epochs: float, first: float, second: float, *, parameters: int | None = None, own: float = 1e-4
) -> MapPoint:
    """A study in which all-0.1 and all-0.3 change the loss by so much."""
    changes = {"none": 0.0, "all-0.1": first, "all-0.3": second}

    def change(recipe: Recipe) -> float:
        return changes[recipe.name]

    stage = Stage(
        name=f"epochs-{epochs}",
        kind="confirm",
        arms=ARMS,
        seeds=tuple(range(5)),
        steps=800,
        reason="",
    )
    surface = Surface(change=change, own=own, key=round(epochs * 100))
    study = surface.study(stage)
    unique = round(80_000 / epochs)
    study = replace(study, plan=replace(study.plan, settings={"data": {"train_targets": unique}}))
    return MapPoint(study=study, unique=unique, parameters=parameters)


POINTS = [at(64, -0.03, -0.05), at(1, 0.03, 0.06), at(16, 0.01, 0.02), at(256, -0.1, -0.2)]


def test_rows_rise_in_epochs_and_name_the_best_p() -> None:
    made = make_map(POINTS)
    assert [round(row.epochs) for row in made.rows] == [1, 16, 64, 256]
    assert [row.best_p for row in made.rows] == [0.0, 0.0, 0.3, 0.3]
    assert [row.comparison.outcome for row in made.rows] == [
        *(Outcome.WORSE, Outcome.INCONCLUSIVE),
        *(Outcome.BETTER, Outcome.BETTER),
    ]
    assert made.rows[-1].comparison.arm == "all-0.3"


def test_the_sign_flips_where_the_means_cross() -> None:
    made = make_map(POINTS)
    assert [(flip.arm, round(flip.fewer), round(flip.more)) for flip in made.flips] == [
        ("all-0.1", 16, 64),
        ("all-0.3", 16, 64),
    ]
    first = made.flips[0]
    assert first.at == pytest.approx(16 * 4 ** (0.01 / 0.04), rel=0.02)
    assert first.pays_beyond
    assert first.is_certain
    assert any(
        "Dropout 0.1 on all sites begins to pay between 16 and 64 epochs" in said
        for said in made.sentences
    )


def test_a_gain_that_ends_where_data_are_too_few_is_a_flip_too() -> None:
    made = make_map([at(16, -0.05, -0.05), at(256, 0.02, 0.02)])
    assert not any(flip.pays_beyond for flip in made.flips)
    assert any("stops paying between 16 and 256" in said for said in made.sentences)


def test_a_flip_that_is_not_settled_says_so() -> None:
    made = make_map([at(1, 0.001, 0.05, own=0.02), at(64, -0.001, 0.05, own=0.02)])
    assert not any(flip.is_certain for flip in made.flips)
    assert any("perhaps stops paying between 1 and 64 epochs" in said for said in made.sentences)


def test_sizes_of_network_are_kept_apart() -> None:
    made = make_map(
        [
            *(at(1, 0.01, 0.02, parameters=1000), at(64, -0.01, -0.02, parameters=1000)),
            *(at(1, 0.01, 0.02, parameters=9000), at(64, 0.01, -0.02, parameters=9000)),
        ]
    )
    assert made.sizes == (1000, 9000)
    assert {(flip.parameters, flip.arm) for flip in made.flips} == {
        *((1000, "all-0.1"), (1000, "all-0.3"), (9000, "all-0.3")),
    }
    assert "9,000 parameters, 64 epochs" in " ".join(made.sentences)


def test_it_is_json() -> None:
    told = json.loads(json.dumps(make_map(POINTS).to_dict(), allow_nan=False))
    assert told["rows"][0]["best_p"] == 0.0
    assert told["rows"][0]["comparison"]["difference"]["low"] > 0
    assert told["flips"][0]["is_certain"] is True


def emptied(study: Study) -> Study:
    return replace(study, runs=())


def test_what_cannot_be_set_side_by_side_is_refused() -> None:
    with pytest.raises(UsageError, match="at least two amounts"):
        make_map(POINTS[:1])
    other = replace(POINTS[1].study, plan=replace(POINTS[1].study.plan, margin=0.5))
    with pytest.raises(UsageError, match="same arms, baseline and margin"):
        make_map([POINTS[0], replace(POINTS[1], study=other)])
    with pytest.raises(UsageError, match="no complete pair"):
        make_map([POINTS[0], replace(POINTS[1], study=emptied(POINTS[1].study))])
