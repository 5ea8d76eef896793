"""How often a whole protocol is right, on made-up surfaces with noise between seeds.

Limits come from the binomial: a correct program fails each once in 10^6.
"""

from collections.abc import Iterator

import pytest
from scipy import stats

from redrop.study.budget import parse_budget
from redrop.study.protocol import Finished, ProtocolSettings
from redrop.train.recipe import Recipe
from tests.study.surface import Noise, Surface, additive, normal, play, skewed

FALSE_ALARM = 1e-6
# The intervals of all comparisons and looks hold together at 95 %, so in the direction of a gain
# alone half of the rest is what a confirmation may claim wrongly.
PROMISED = 0.025


def plays(
    times: int, margin: float, noise: Noise, effects: dict[str, float], budget: str = "60000 steps"
) -> Iterator[Finished]:
    settings = ProtocolSettings(budget=parse_budget(budget), margin=margin)
    for key in range(times):
        yield play(settings, Surface(key=key, noise=noise, change=additive(effects)))[0]


def most(times: int, rate: float) -> int:
    return int(stats.binom.ppf(1 - FALSE_ALARM, times, rate))


def claims(end: Finished) -> bool:
    best = end.confirmed.recommended
    return best is not None and best.name != "none"


@pytest.mark.slow
@pytest.mark.parametrize("noise", [normal, skewed])
def test_without_any_difference_a_winner_is_claimed_as_rarely_as_promised(noise: Noise) -> None:
    times = 400
    ends = list(plays(times, 0.0, noise, {}))
    assert sum(claims(end) for end in ends) <= most(times, PROMISED)


@pytest.mark.slow
def test_the_seeds_that_chose_would_claim_far_more() -> None:
    # What fresh seeds are for: on the seeds of the dose curve the winner looks better than it is.
    times = 200
    gains, shown = [], []
    for end in plays(times, 0.0, normal, {}):
        if end.dosed is None or end.confirmed.winner is None or end.confirmed.against_none is None:
            continue
        winner = end.confirmed.winner.name
        gains += [dose.mean for dose in end.dosed.doses if dose.recipe.name == winner]
        difference = end.confirmed.against_none.difference
        shown += [] if difference is None else [difference.mean]
    assert len(gains) > 100
    error = 0.01 * (2 / 4 / len(shown)) ** 0.5
    assert abs(sum(shown) / len(shown)) < 5 * error
    assert sum(gains) / len(gains) < -0.005  # half a standard deviation of a run, from nothing


@pytest.mark.slow
@pytest.mark.parametrize("noise", [normal, skewed])
def test_a_true_difference_is_found_in_most_cases(noise: Noise) -> None:
    times = 100
    effects = {"attention_weights": -0.03, "embedding": -0.03, "label_smoothing": 0.03}
    ends = list(plays(times, 0.005, noise, effects))
    found = sum(claims(end) and end.confirmed.recommended == end.confirmed.winner for end in ends)
    assert found >= stats.binom.ppf(FALSE_ALARM, times, 0.9)
    right = {"attention_weights-0.1", "embedding-0.1"}
    kept = [{f.name for f in end.screened.kept} for end in ends if end.screened is not None]
    assert sum(right <= each for each in kept) >= stats.binom.ppf(FALSE_ALARM, times, 0.9)


@pytest.mark.slow
def test_harm_is_never_recommended() -> None:
    times = 200
    effects = dict.fromkeys(("attention_weights", "embedding", "weight_decay"), 0.03)
    ends = list(plays(times, 0.005, normal, effects))
    assert sum(claims(end) for end in ends) <= most(times, PROMISED)


@pytest.mark.slow
def test_a_difference_on_the_margin_is_rarely_claimed() -> None:
    # Everything changes the loss by exactly the margin: as hard as no difference at margin 0.
    times = 200
    settings = ProtocolSettings(budget=parse_budget("60000 steps"), margin=0.02)

    def change(recipe: Recipe) -> float:
        return 0.0 if recipe.is_baseline else -0.02

    ends = [play(settings, Surface(key=key, change=change))[0] for key in range(times)]
    assert sum(claims(end) for end in ends) <= most(times, PROMISED)
