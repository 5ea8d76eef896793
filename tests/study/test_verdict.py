import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from redrop.study.against_baseline import values_at
from redrop.study.records import Study, read_study, write_atomically
from redrop.study.statistics import Outcome, critical_t, paired_interval
from redrop.study.verdict import Verdict, judge
from tests.study import synthetic
from tests.study.synthetic import end_event, make_events, make_plan, write_ends

BASE = [2.500, 2.510, 2.490, 2.505, 2.495]
# Paired differences with mean -0.147 and half-width 0.012 at 95 % over 5 seeds.
GAINS = [-0.147 + shift * 0.0098 for shift in (-1.0, 1.0, 0.0, 1.0, -1.0)]


def judged(folder: Path, **losses: Any) -> Verdict:
    arms = {name.replace("_", "-").replace("-0", "-0."): each for name, each in losses.items()}
    return judge(read_study(write_ends(folder, arms)))


def shifted(*differences: float) -> list[float]:
    return [loss + change for loss, change in zip(BASE, differences, strict=False)]


def no_test(losses: list[float]) -> list[dict[str, Any]]:
    return [end_event(loss, test_loss_best=None, test_loss_final=None) for loss in losses]


def test_a_clear_winner_is_said_in_one_sentence(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=BASE, all_02=shifted(*GAINS))
    assert verdict.headline == (
        "Dropout 0.2 on all sites lowers test loss by 0.147 ± 0.012 nats "
        "(95 %, 5 of 5 seeds agree)."
    )
    assert verdict.recommended == "all-0.2"
    assert verdict.best[0].outcome is Outcome.BETTER
    assert verdict.best[0].further_seeds == 0


def test_nothing_is_recommended_where_nothing_helps(tmp_path: Path) -> None:
    verdict = judged(
        tmp_path,
        none=BASE,
        all_01=shifted(0.001, -0.001, 0.0, 0.002, -0.001),
        all_02=shifted(0.05, 0.06, 0.05, 0.055, 0.06),
    )
    assert verdict.headline == "Nothing tried here beats no dropout by 0.01 nats: use none."
    assert verdict.recommended == "none"
    same, worse = verdict.best
    assert (same.outcome, worse.outcome) == (Outcome.SAME, Outcome.WORSE)
    assert same.sentence == (
        "Dropout 0.1 on all sites makes no difference that matters: test loss changes by "
        "0.000 ± 0.002 nats (95 %, 5 seeds), within ±0.01."
    )
    assert worse.sentence.startswith("Dropout 0.2 on all sites raises test loss by 0.055 ± 0.00")
    assert "5 of 5 seeds agree" in worse.sentence


def test_an_arm_that_may_be_worse_but_cannot_gain_is_beaten_too(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=BASE, all_01=shifted(0.0, 0.03, 0.01, 0.02, 0.0))
    assert verdict.best[0].outcome is Outcome.INCONCLUSIVE
    assert verdict.recommended == "none"
    assert verdict.best[0].sentence == (
        "Dropout 0.1 on all sites gains no 0.01 nats: test loss changes by +0.012 ± 0.016 nats "
        "(95 %, 5 seeds); it may cost that much."
    )


def test_inconclusive_says_how_many_more_seeds(tmp_path: Path) -> None:
    changes = [-0.05, 0.01, -0.06, -0.012]
    verdict = judged(tmp_path, none=BASE[:4], all_02=shifted(*changes))
    assert verdict.recommended is None
    assert verdict.headline == f"No verdict yet. {verdict.best[0].sentence}"
    assert verdict.best[0].sentence == (
        "Dropout 0.2 on all sites is inconclusive: test loss changes by −0.028 ± 0.052 nats "
        "(95 %, 4 seeds); about 36 more seeds would settle it."
    )
    assert verdict.best[0].further_seeds == 36
    assert verdict.sentences.count(verdict.best[0].sentence) == 0, "said in the headline already"


def test_two_seeds_plan_nothing(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=BASE[:2], all_02=shifted(-0.09, 0.05))
    assert "2 seeds cannot say how many it takes; run at least 2 more" in verdict.headline
    assert "would settle it" not in " ".join(verdict.sentences)


@pytest.mark.parametrize(
    ("second", "state"),
    [
        (0.1, "1 of 2 arms may still beat, and the other does not beat, no dropout by 0.01 nats."),
        (0.0, "all 2 arms may still beat no dropout by 0.01 nats."),
    ],
)
def test_a_headline_without_a_verdict_gives_the_state_of_all_arms(
    tmp_path: Path, second: float, state: str
) -> None:
    open_ = [-0.05, 0.01, -0.06, -0.012]
    other = [second + each * (second == 0) for each in open_]
    verdict = judged(tmp_path, none=BASE[:4], all_01=shifted(*open_), all_02=shifted(*other))
    assert verdict.headline == f"No verdict yet: {state}"
    assert [each.sentence for each in verdict.best] == list(verdict.sentences[1:3])


def test_a_baseline_that_still_improves_lowers_the_tone(tmp_path: Path) -> None:
    late = [end_event(loss, best_step=1390) for loss in BASE]
    verdict = judged(tmp_path, none=late, all_02=shifted(0.05, 0.06, 0.05, 0.055, 0.06))
    assert verdict.headline == (
        "Nothing tried here beats no dropout by 0.01 nats while it is still improving: use none "
        "for runs of this length."
    )


def test_lower_for_sure_but_perhaps_not_by_the_margin(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=BASE, all_02=shifted(-0.011, -0.016, -0.008, -0.02, -0.01))
    assert verdict.best[0].outcome is Outcome.INCONCLUSIVE
    assert "lowers test loss by 0.013 ± 0.006 nats" in verdict.headline
    assert "perhaps less than 0.01: about" in verdict.headline


def test_a_difference_on_the_margin_is_out_of_reach(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=BASE[:4], all_02=shifted(-0.009, -0.011, -0.0101, -0.0099))
    assert verdict.best[0].further_seeds is None
    assert "with such a mean and spread, even 200 seeds would hardly settle it" in verdict.headline


def test_one_seed_claims_nothing(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=BASE[:1], all_02=shifted(-0.3))
    assert verdict.headline == (
        "No verdict yet: one seed may be chance; run at least 3 more seeds."
    )
    assert verdict.recommended is None
    assert verdict.best[0].difference is not None
    assert verdict.best[0].difference.half_width is None
    assert "±" not in " ".join(verdict.sentences)
    assert "95 %" not in " ".join(verdict.sentences)


def test_the_best_of_several_is_chosen_by_validation_and_reported_on_test(tmp_path: Path) -> None:
    # Arm 0.1 looks better on validation, arm 0.2 on test; both are better than none.
    first = [end_event(loss - 0.2, test_loss_best=loss - 0.05) for loss in BASE]
    second = [end_event(loss - 0.1, test_loss_best=loss - 0.15) for loss in BASE]
    verdict = judged(tmp_path, none=BASE, all_01=first, all_02=second)
    assert verdict.recommended == "all-0.1"
    assert "test loss by 0.050" in verdict.headline
    assert any("Arms and checkpoints were chosen by validation loss" in s for s in verdict.notes)


def test_intervals_pay_for_arms_and_looks(tmp_path: Path) -> None:
    losses = {"none": BASE, "all-0.1": shifted(*GAINS), "all-0.2": shifted(*GAINS)}
    study = read_study(write_ends(tmp_path, losses, looks=2))
    difference = judge(study).best[0].difference
    assert difference is not None
    assert difference.half_width is not None
    assert difference.tests == 4
    alone = paired_interval(GAINS)
    assert alone is not None
    assert alone.half_width is not None
    ratio = critical_t(5, tests=4) / critical_t(5)
    assert difference.half_width == pytest.approx(ratio * alone.half_width)
    planned = replace(study, plan=replace(study.plan, spent=0.0))
    assert any("2 comparisons at 2 planned looks" in note for note in judge(planned).notes)


def test_test_loss_is_named_only_where_test_data_were_read(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=no_test(BASE), all_02=no_test(shifted(*GAINS)))
    words = " ".join(verdict.sentences)
    assert "lowers validation loss by 0.147 ± 0.012 nats" in verdict.headline
    assert "test loss" not in words
    assert "No test data were read" in words


def test_both_readings_are_told(tmp_path: Path) -> None:
    late = [end_event(loss, final_validation_loss=3.0, test_loss_final=3.0) for loss in BASE]
    verdict = judged(tmp_path, none=late, all_02=BASE)
    assert verdict.best[0].outcome is Outcome.SAME
    assert verdict.end[0].outcome is Outcome.BETTER
    assert verdict.end[0].difference is not None
    assert verdict.end[0].difference.mean == pytest.approx(-0.5)
    assert any(
        sentence.startswith("At the end of training, the test loss changes by −0.500 ±")
        for sentence in verdict.sentences
    )
    assert verdict.recommended == "none"


def study_of(folder: Path, *, best: int, rise: float, **end: Any) -> Study:
    runs = [
        end_event(loss, best_step=best, final_validation_loss=loss + rise, **end) for loss in BASE
    ]
    return read_study(write_ends(folder, {"none": runs, "all-0.2": BASE}))


@pytest.mark.parametrize(
    ("best", "rise", "state", "words"),
    [
        (700, 0.3, "passed its minimum", "best at step 700 of 1,400, then 0.300 nats worse"),
        (700, 0.005, "level", "came to a halt"),
        (1400, 0.0, "still falling", "was still improving"),
        (1300, 0.3, "still falling", "a longer run may end otherwise"),
    ],
)
def test_the_regime(tmp_path: Path, best: int, rise: float, state: str, words: str) -> None:
    if best == 1400:  # the generator writes one evaluation at the best step and one at the end
        best = 1399
    regime = judge(study_of(tmp_path, best=best, rise=rise)).regime
    assert regime.state == state
    assert words in regime.sentence.replace("1,399", "1,400")
    assert regime.epochs == pytest.approx(80)
    assert "saw its training data 80 times" in regime.sentence
    assert regime.gap_at_best == pytest.approx(0.5)
    assert regime.gap_at_end == pytest.approx(0.5 + rise)
    assert regime.rise == pytest.approx(rise)


def test_a_winner_that_still_improves_is_told(tmp_path: Path) -> None:
    late = [end_event(loss, best_step=1350) for loss in shifted(*GAINS)]
    verdict = judged(tmp_path, none=BASE, all_02=late)
    assert any("was still improving when training ended" in note for note in verdict.notes)
    early = judged(tmp_path / "b", none=BASE, all_02=shifted(*GAINS))
    assert not any("was still improving" in note for note in early.notes)


def test_missing_runs_are_counted_and_the_rest_is_judged(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=[*BASE[:4], None], all_02=[None, *shifted(*GAINS)[1:]])
    difference = verdict.best[0].difference
    assert difference is not None
    assert difference.pairs == 3
    assert verdict.notes[-1] == (
        "2 of 10 runs are not complete; the rest is judged here, in a look that is not counted."
    )


@pytest.mark.parametrize("baseline", [[None] * 3, [2.5, None, None]])
def test_without_a_pair_there_is_no_verdict(tmp_path: Path, baseline: list[float | None]) -> None:
    verdict = judged(tmp_path, none=baseline, all_02=[None, 2.4, 2.4])
    assert verdict.recommended is None
    assert verdict.headline.startswith("No verdict yet: no seed is complete")
    assert "no seed is complete in this arm and in the baseline yet" in verdict.best[0].sentence
    assert verdict.to_dict()["best"][0]["outcome"] is None


def test_an_empty_study_has_a_verdict_that_says_so(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=[None], all_02=[None])
    assert verdict.headline.startswith("No verdict yet")
    assert verdict.regime.state is None
    assert "The regime is unknown" in verdict.regime.sentence


def diverged(loss: float | None = 2.3) -> dict[str, Any]:
    changes = {"status": "diverged", "final_validation_loss": None, "test_loss_final": None}
    return end_event(2.3, **changes) | {"best_validation_loss": loss, "test_loss_best": loss}


def test_an_arm_that_diverges_is_neither_praised_nor_cleared(tmp_path: Path) -> None:
    losses = shifted(*GAINS)
    verdict = judged(tmp_path, none=BASE, all_02=[*losses[:4], diverged()])
    assert verdict.best[0].outcome is Outcome.INCONCLUSIVE
    assert verdict.best[0].diverged == 1
    assert "1 of 5 runs diverged; do not use it" in verdict.best[0].sentence
    assert verdict.recommended == "none"
    assert "without diverging: use none, or a lower learning rate" in verdict.headline


def test_an_arm_that_always_diverges_is_worse(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=BASE[:2], all_02=[diverged(), diverged(None)])
    assert verdict.best[0].outcome is Outcome.WORSE
    assert verdict.to_dict()["best"][0]["outcome"] == "worse"
    assert verdict.headline == "Nothing tried here beats no dropout by 0.01 nats: use none."


def test_a_baseline_that_always_diverges_is_no_baseline(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=[diverged(), diverged()], all_02=BASE[:2])
    assert verdict.headline == (
        "No verdict: every run of the baseline (no dropout) diverged; the loss was NaN or infinite "
        "after step 1,400."
    )
    assert verdict.recommended is None


def nan_from(steps: int) -> dict[str, Any]:
    lost = dict.fromkeys(("best_step", "best_validation_loss", "test_loss_best"))
    return diverged(None) | lost | {"steps": steps}


def test_where_every_run_diverged_nothing_is_promised(tmp_path: Path) -> None:
    plan = make_plan({name: synthetic.ARMS[name] for name in ("none", "all-0.1")}, seeds=(0, 1))
    write_atomically(tmp_path / "study.json", plan.to_json())
    for arm, steps in (("none", 0), ("all-0.1", 12)):
        for seed in (0, 1):
            synthetic.write_run(tmp_path, plan, arm, seed, [nan_from(steps + seed * steps)])
    verdict = judge(read_study(tmp_path))
    assert verdict.sentences == (
        "No verdict: every run of the baseline (no dropout) diverged; the loss was NaN or infinite "
        "from the first step on.",
        "Dropout 0.1 on all sites: there is nothing to compare, since the baseline diverged. 2 of "
        "2 runs of this arm diverged, too: the loss was NaN or infinite after steps 12 to 24.",
        "The regime is unknown: no run of the baseline has a finite loss.",
    )


def test_a_diverged_run_lends_no_value(tmp_path: Path) -> None:
    losses = {"none": BASE[:2], "all-0.2": [2.3, diverged()]}
    study = read_study(write_ends(tmp_path, losses))
    assert values_at(study, "all-0.2", "best") == {0: 2.3}


def test_a_baseline_with_dropout_is_kept_not_none(tmp_path: Path) -> None:
    arms = {name: synthetic.ARMS[name] for name in ("all-0.1", "all-0.2")}
    plan = make_plan(arms, seeds=(0, 1))
    write_atomically(tmp_path / "study.json", plan.to_json())
    for arm in arms:
        for seed in (0, 1):
            synthetic.write_run(tmp_path, plan, arm, seed, [end_event(2.5)])
    verdict = judge(read_study(tmp_path))
    assert verdict.headline == (
        "Nothing tried here beats dropout 0.1 on all sites by 0.01 nats: keep it."
    )


def test_a_study_of_one_arm_compares_nothing(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=BASE)
    assert verdict.headline == (
        "No dropout alone: best validation loss 2.500 nats, mean of 5 seeds; nothing to compare it "
        "with."
    )
    assert verdict.regime.state is not None


def test_the_dict_is_json_and_holds_the_numbers_of_the_sentences(tmp_path: Path) -> None:
    verdict = judged(tmp_path, none=BASE, all_02=shifted(*GAINS))
    found = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    comparison = found["best"][0]
    assert comparison["outcome"] == "better"
    assert comparison["metric"] == "test loss"
    difference = comparison["difference"]
    assert difference["mean"] == pytest.approx(-0.147)
    assert difference["low"] < difference["mean"] < difference["high"] < -0.1
    assert found["recommended"] == "all-0.2"
    assert found["sentences"][0] == found["headline"]
    assert found["regime"]["state"] == "level"


def test_realistic_curves_end_in_the_verdict_they_were_made_for(tmp_path: Path) -> None:
    study = read_study(synthetic.write_study(tmp_path))
    verdict = judge(study)
    assert verdict.recommended == "all-0.2"
    assert verdict.regime.state == "passed its minimum"
    ends = [make_events(synthetic.ARMS["none"], seed)[-1] for seed in study.plan.seeds]
    assert values_at(study, "none", "best") == {
        seed: pytest.approx(end["test_loss_best"]) for seed, end in enumerate(ends)
    }
