"""Single protocols, step by step; their error rates are in test_protocol_rates.py."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.study.budget import parse_budget
from redrop.study.protocol import Finished, ProtocolSettings, Stage, next_stage, replay
from redrop.study.records import Study
from redrop.study.stage import FULL_CONFIRMATION, SMALLEST_CONFIRMATION
from redrop.study.statistics import Outcome
from redrop.train.recipe_word import parse_recipe
from tests.study.surface import Surface, additive, play

GAIN = additive({"attention_weights": -0.04, "embedding": -0.03, "label_smoothing": 0.05})


def asked(budget: str = "40000 steps", **changes: object) -> ProtocolSettings:
    return ProtocolSettings(budget=parse_budget(budget), **changes)  # type: ignore[arg-type]


def kinds(stages: list[Stage]) -> list[str]:
    return list(dict.fromkeys(stage.kind for stage in stages))


def test_the_four_stages_find_what_helps_and_confirm_it() -> None:
    end, stages = play(asked(), Surface(change=GAIN))
    assert kinds(stages) == ["baseline", "screen", "dose", "confirm"]
    assert end.screened is not None
    assert {factor.name for factor in end.screened.kept} == {
        "attention_weights-0.1",
        "embedding-0.1",
    }
    assert end.confirmed.against_none is not None
    assert end.confirmed.against_none.outcome is Outcome.BETTER
    assert end.confirmed.recommended == end.confirmed.winner
    assert end.confirmed.against_default is not None
    assert end.confirmed.against_default.outcome is Outcome.BETTER
    assert any(each.what == "label smoothing 0.1" for each in end.dropped)


def test_the_baseline_doubles_until_it_has_turned_and_later_runs_have_its_length() -> None:
    end, stages = play(asked("200000 steps"), Surface(turns_at=900, change=GAIN))
    lengths = [stage.steps for stage in stages if stage.kind == "baseline"]
    assert lengths == [200, 400, 800, 1600]
    assert {stage.steps for stage in stages if stage.kind != "baseline"} == {1600}
    assert end.horizon.turning is not None
    assert end.horizon.steps >= 1.3 * end.horizon.turning.step


def test_nothing_is_screened_before_the_baseline_turns() -> None:
    end, stages = play(asked("20000 steps"), Surface(turns_at=10**6, change=GAIN))
    assert kinds(stages) == ["baseline", "confirm"]
    assert [arm.name for arm in stages[-1].arms] == ["none", "all-0.1"]
    assert "nothing is screened" in end.horizon.sentence
    assert sum(s.runs * s.steps for s in stages if s.kind == "baseline") <= 0.15 * 20_000


def test_runs_of_a_length_that_was_asked_for_are_screened_at_it() -> None:
    end, stages = play(asked(steps=500), Surface(turns_at=10**6, change=GAIN))
    assert {stage.steps for stage in stages} == {500}
    assert "screen" in kinds(stages)
    assert "holds for runs of this length only" in end.horizon.sentence


@given(
    st.integers(2500, 200_000),
    st.integers(50, 500),
    st.integers(0, 9),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.01]),
)
@settings(max_examples=25)
def test_whatever_the_budget(
    budget: int, turns_at: int, factors: int, key: int, margin: float
) -> None:
    words = (*(each.name for each in asked().factors), "drop_head-0.1")
    plan = asked(
        f"{budget} steps",
        factors=tuple(parse_recipe(word) for word in words[:factors]),
        margin=margin,
        first_seed=100,
    )
    end, stages = play(plan, Surface(key=key, turns_at=turns_at, change=GAIN))
    # The confirmation has three seeds at least, whatever the earlier stages cost.
    length = end.horizon.steps
    assert end.account.spent <= max(budget, 0) + 3 * length
    assert end.account.spent == sum(
        stage.runs * stage.steps for stage in {stage.name: stage for stage in stages}.values()
    )
    used: dict[int, str] = {}
    for stage in stages:
        for seed in stage.seeds:
            assert seed >= 100
            if stage.kind != "baseline":
                assert used.setdefault(seed, stage.name) == stage.name
            else:
                used[seed] = stage.name
    assert all(stage.steps == length for stage in stages if stage.kind != "baseline")
    assert [arm.name for arm in stages[-1].arms][:2] == ["none", "all-0.1"]
    assert all(stage.reason.endswith((".", "?")) for stage in stages)


def test_fewer_factors_not_shorter_runs_on_a_small_budget() -> None:
    # 1,400 steps for the baseline of 800, then 25 runs: 8 for a screening, 12 to confirm.
    end, stages = play(asked(f"{1400 + 25 * 800} steps"), Surface(change=GAIN))
    screening = [stage for stage in stages if stage.kind == "screen"]
    assert sum(stage.runs for stage in screening) == 8
    assert end.screened is not None
    assert len(end.screened.factors) == 4
    late = [each for each in end.dropped if "came later in the list" in each.why]
    assert len(late) == 4
    assert {stage.steps for stage in screening} == {800}


def test_a_confirmation_of_three_arms_is_always_left() -> None:
    for runs in range(FULL_CONFIRMATION, 45):
        _, stages = play(asked(f"{1400 + runs * 800} steps"), Surface(change=GAIN))
        confirmation = [stage for stage in stages if stage.kind == "confirm"][-1]
        assert len(confirmation.seeds) >= FULL_CONFIRMATION // 3


def test_the_first_look_can_end_it_and_the_second_goes_on_in_the_same_folder() -> None:
    clear = play(asked("80000 steps"), Surface(change=GAIN))[1]
    assert [(s.name, len(s.seeds), s.looks) for s in clear if s.kind == "confirm"] == [
        ("4-confirm", 6, 2)
    ]
    noisy = play(asked("80000 steps"), Surface(change=GAIN, own=0.05))[1]
    looks = [stage for stage in noisy if stage.kind == "confirm"]
    assert [(s.name, len(s.seeds), s.looks) for s in looks] == [
        ("4-confirm", 6, 2),
        ("4-confirm", 12, 2),
    ]
    assert looks[1].seeds[:6] == looks[0].seeds
    assert looks[1].arms == looks[0].arms


def test_a_killed_protocol_goes_on_where_it_stopped() -> None:
    surface, plan = Surface(change=GAIN, own=0.05), asked("80000 steps")
    end, stages = play(plan, surface)
    last = {stage.name: surface.study(stage) for stage in stages}
    assert next_stage(plan, list(last.values())) == end
    assert next_stage(plan, list(reversed(last.values()))) == end
    for name, study in last.items():
        partly = replace(study, runs=study.runs[:-1])
        left = [partly if other.folder.name == name else other for other in last.values()]
        following = next_stage(plan, left)
        assert isinstance(following, Stage)
        assert following.name == name
        wanted = {(arm.name, seed) for arm in following.arms for seed in following.seeds}
        missing = (study.runs[-1].header.arm, study.runs[-1].header.seed)
        assert missing in wanted


def test_a_first_look_is_replayed_with_the_seeds_it_had() -> None:
    plan, went_on = asked("80000 steps"), 0
    for key in range(12):
        surface = Surface(change=GAIN, own=0.03, key=key)
        end, stages = play(plan, surface)
        last = {stage.name: surface.study(stage) for stage in stages}
        assert next_stage(plan, list(last.values())) == end
        assert list(end.stages) == stages
        went_on += [stage.name for stage in stages].count("4-confirm") - 1
    assert 0 < went_on < 12


def test_progress_tells_what_was_decided_so_far() -> None:
    surface, plan = Surface(change=GAIN), asked()
    _, stages = play(plan, surface)
    screened = [surface.study(stage) for stage in stages if stage.kind in ("baseline", "screen")]
    so_far = replay(plan, screened)
    assert isinstance(so_far.next, Stage)
    assert so_far.next.name == so_far.stages[-1].name == "3-dose"
    assert {each.after for each in so_far.dropped} == {"2-screen-2"}
    assert so_far.account.spent == sum(run.end.steps for s in screened for run in s.runs if run.end)


def test_close_strengths_are_halved_over_further_seeds_at_full_length() -> None:
    flat = additive({"attention_weights": -0.05})

    def change(recipe):  # type: ignore[no-untyped-def]
        return flat(parse_recipe("attention_weights-0.1")) if recipe.dropout else 0.0

    end, stages = play(asked("200000 steps", most_seeds=4), Surface(change=change, own=0.02))
    rungs = [stage for stage in stages if stage.kind == "dose"]
    assert len(rungs) > 1
    sizes = [len(stage.arms) - 1 for stage in rungs]
    assert all(after <= -(-before // 2) for before, after in pairwise(sizes))
    assert len({stage.steps for stage in rungs}) == 1
    assert end.dosed is not None
    seen = {dose.recipe.name: len(dose.differences) for dose in end.dosed.doses}
    assert end.confirmed.winner is not None
    assert seen[end.confirmed.winner.name] == max(seen.values())


def test_a_diverging_factor_is_worst_and_a_diverging_baseline_is_refused() -> None:
    rows = frozenset(
        "screen-" + "".join(letters)
        for letters in ("abfh", "acfg", "bcgh", "abcd", "adgh", "bdfg", "cdfh", "abcdefgh")
    )
    end, _ = play(asked(), Surface(change=GAIN, diverging=rows))
    assert end.screened is not None
    assert end.screened.diverged
    assert "diverged and counted as the worst" in " ".join(end.screened.sentences)
    with pytest.raises(UsageError, match="lower --learning-rate"):
        play(asked(), Surface(diverging=frozenset({"none"})))


def test_where_nothing_gains_only_the_usual_dropout_is_confirmed() -> None:
    harm = additive(dict.fromkeys(("attention_weights", "embedding", "weight_decay"), 0.05))
    end, stages = play(asked(factors=asked().factors[:4]), Surface(change=harm, own=0.001))
    assert "dose" not in kinds(stages)
    assert end.confirmed.winner is None
    assert end.confirmed.recommended is not None
    assert end.confirmed.recommended.name == "none"


def test_a_single_factor_needs_no_screening() -> None:
    end, stages = play(asked(factors=(parse_recipe("drop_path-0.1"),)), Surface())
    assert kinds(stages)[:2] == ["baseline", "dose"]
    assert end.screened is None


@pytest.mark.parametrize("budget", ["1300 steps", "100 steps", "1 steps"])
def test_a_budget_too_small_is_refused_before_any_run(budget: str) -> None:
    plan = asked(budget)
    with pytest.raises(UsageError, match=r"Pass a budget of 1,540 steps") as error:
        next_stage(plan, [])
    assert f"it takes {1 + SMALLEST_CONFIRMATION}" in str(error.value)
    assert isinstance(next_stage(asked("1540 steps"), []), Stage)


def test_a_budget_of_time_is_refused_once_a_step_has_been_timed() -> None:
    surface, plan = Surface(seconds_per_step=1.0), asked("10m", workers=2)
    first = next_stage(plan, [])
    assert isinstance(first, Stage)
    with pytest.raises(UsageError, match=r"Pass a budget of 12\.8 min") as error:
        next_stage(plan, [surface.study(first)])
    assert "10 min" in str(error.value)
    with pytest.raises(UsageError, match="Pass a budget of"):
        next_stage(replace(plan, seconds_per_step=1.0), [])


def test_a_budget_of_time_is_kept() -> None:
    end, stages = play(asked("10m", workers=2), Surface(change=GAIN, seconds_per_step=0.02))
    assert kinds(stages) == ["baseline", "screen", "dose", "confirm"]
    assert end.account.spent <= 1.05 * 1200
    assert "The runs took" in end.sentences[-1]


def test_the_answer_is_told_with_its_history() -> None:
    end, _ = play(asked(), Surface(change=GAIN))
    told = "\n".join(end.sentences)
    for words in (
        "lowers test loss by",
        "Against the usual choice",
        "passed its minimum at step",
        "resolution IV with E=BCD",
        "coincide in groups",
        "Without label smoothing 0.1 from 2-screen-2 on: it makes the loss worse",
        "of 40,000 steps",
        "which flatters the best of several",
    ):
        assert words in told


def test_the_end_is_json() -> None:
    for surface in (Surface(change=GAIN), Surface(turns_at=10**6)):
        end, stages = play(asked(), surface)
        told = json.loads(json.dumps(end.to_dict(), allow_nan=False))
        assert [stage["name"] for stage in told["stages"]] == [stage.name for stage in stages]
        assert told["spent"] == end.account.spent
        assert (told["screen"] is None) == (end.screened is None)
        if told["screen"] is not None:
            assert len(told["screen"]["half_normal"]) == 14


def test_settings_are_checked() -> None:
    with pytest.raises(UsageError, match="distinct names"):
        asked(factors=(parse_recipe("mask-0.1"), parse_recipe("mask-0.1")))
    with pytest.raises(UsageError, match="`workers` must be at least 1"):
        asked(workers=0)
    with pytest.raises(UsageError, match="`steps` must be at least 1"):
        asked(steps=0)


def test_another_study_in_the_folder_of_a_stage_is_no_stage() -> None:
    surface, plan = Surface(change=GAIN), asked()
    first = next_stage(plan, [])
    assert isinstance(first, Stage)
    other: Study = surface.study(replace(first, arms=(parse_recipe("all-0.1"),)))
    assert next_stage(plan, [other]) == first
    assert not isinstance(next_stage(plan, [surface.study(first)]), Finished)
