import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.study.dose import STRENGTHS, Dose, fit_curve, strengths_of
from redrop.train.recipe import Recipe
from redrop.train.recipe_word import parse_recipe


def words(*names: str) -> list[str]:
    return [recipe.name for _, recipe in strengths_of(tuple(parse_recipe(name) for name in names))]


def doses(means: dict[float, float], spread: float = 0.0) -> list[Dose]:
    return [
        Dose(strength=p, recipe=Recipe(name=f"{p}"), differences=(mean - spread, mean + spread))
        for p, mean in means.items()
    ]


def test_dropout_is_dosed_together_and_the_rest_stays() -> None:
    found = words("embedding-0.1", "weight_decay-1", "drop_path-0.1")
    assert found[1] == "embedding-0.2+drop_path-0.2+weight_decay-1"
    assert len(found) == len(STRENGTHS)


def test_all_elementwise_sites_are_one_word() -> None:
    sites = ("embedding", "attention_weights", "attention_residual", "feed_forward_hidden")
    found = words(*(f"{site}-0.1" for site in (*sites, "feed_forward_residual", "drop_head")))
    assert found[0] == "all-0.1+drop_head-0.1"


def test_a_recipe_of_more_than_dropout_gets_the_new_p_and_keeps_the_rest() -> None:
    for p, recipe in strengths_of((parse_recipe("slowrun"), parse_recipe("mixup-0.2"))):
        assert set(recipe.dropout.values()) == {p}
        assert dict(recipe.train) == {"weight_decay": 0.8}
        assert dict(recipe.augment) == {"mixup": 0.2}


@given(
    st.lists(
        st.sampled_from(
            [
                *("embedding-0.1", "attention_weights-0.1", "drop_path-0.1", "all-0.1", "slowrun"),
                *("weight_decay-1", "label_smoothing-0.1", "mask-0.1", "norm-post", "vaswani"),
            ]
        ),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_the_name_of_a_dose_is_the_word_for_it(names: list[str]) -> None:
    for _, recipe in strengths_of(tuple(parse_recipe(name) for name in names)):
        typed = parse_recipe(recipe.name)
        for group in ("dropout", "model", "train", "augment"):
            assert dict(getattr(typed, group)) == dict(getattr(recipe, group))
        assert recipe.label


def test_numbers_are_multiplied_where_nothing_drops() -> None:
    assert words("weight_decay-1") == ["weight_decay-1", "weight_decay-0.5", "weight_decay-2"]
    # A share never reaches 1: doubling leaves it as it is, which is no further strength.
    assert words("label_smoothing-0.6") == ["label_smoothing-0.6", "label_smoothing-0.3"]
    assert words("norm-post") == ["norm-post"]


def test_a_parabola_is_found_again() -> None:
    truth = {p: 2.0 * p * (p - 0.4) for p in (0.05, 0.1, 0.2, 0.3, 0.5)}
    curve = fit_curve(doses(truth), margin=0.005)
    assert curve is not None
    assert curve.best == pytest.approx(0.2)
    assert curve.flat == pytest.approx((0.15, 0.25))


@pytest.mark.parametrize(
    "means",
    [
        {0.1: -0.1, 0.2: -0.2, 0.3: -0.1},  # too few to check a parabola by
        {0.05: -0.01, 0.1: -0.02, 0.2: -0.04, 0.3: -0.06},  # no end in sight
        {0.05: -0.2, 0.1: -0.2, 0.2: -0.2, 0.5: -0.2},  # a step, no parabola
        {0.05: 0.02, 0.1: 0.03, 0.2: 0.02, 0.5: -0.2},  # curved downwards
    ],
)
def test_no_parabola_is_drawn_where_none_fits(means: dict[float, float]) -> None:
    assert fit_curve(doses(means), margin=0.005) is None


def test_a_strength_that_diverged_has_no_mean() -> None:
    lost = Dose(strength=0.5, recipe=Recipe(name="r"), differences=(-0.3,), diverged=True)
    assert lost.mean == float("inf")
