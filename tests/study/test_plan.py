from dataclasses import replace

import pytest

from redrop.errors import UsageError
from redrop.study.plan import continue_plan, plan_digest, planned_runs
from redrop.study.schema import parse_plan
from tests.study import small


def test_arms_of_a_seed_differ_in_their_dropout_and_in_nothing_else():
    none, dropped = planned_runs(small.plan(seeds=1))
    assert replace(dropped.model, dropout=none.model.dropout) == none.model
    assert dropped.model.dropout != none.model.dropout
    assert dropped.train == none.train


def test_runs_come_seed_by_seed_and_have_names_of_their_own():
    runs = planned_runs(small.plan(seeds=3))
    assert [run.seed for run in runs] == [0, 0, 1, 1, 2, 2]
    assert len({run.name for run in runs}) == 6


def test_a_runs_name_depends_on_all_that_decides_it():
    base = small.plan()
    ids = {planned_runs(plan)[0].id for plan in (base, small.plan(steps=31))}
    ids.add(planned_runs(replace(base, data_sha256="0" * 64))[0].id)
    ids.add(planned_runs(replace(base, versions={**base.versions, "spec": 2}))[0].id)
    assert len(ids) == 4
    assert planned_runs(replace(base, margin=0.5))[0].id in ids


def test_a_plan_survives_its_file():
    import json

    plan = small.plan()
    again = parse_plan(json.loads(plan.to_json()), "study.json")
    assert plan_digest(again) == plan_digest(plan)
    assert [run.id for run in planned_runs(again)] == [run.id for run in planned_runs(plan)]


def test_more_seeds_go_on_with_the_same_study_and_pay_for_the_look(tmp_path):
    two, five = small.plan(seeds=2), small.plan(seeds=5)
    assert plan_digest(two) == plan_digest(five)
    more = continue_plan(five, two, tmp_path)
    assert (more.seeds, more.looks) == ((0, 1, 2, 3, 4), 2)
    assert continue_plan(two, more, tmp_path) == more
    assert continue_plan(five, more, tmp_path) == more


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (small.plan(steps=31), "settings.train.steps = 31"),
        (small.plan(arms=("none", "all-0.2")), "arms = "),
        (replace(small.plan(), versions={"redrop": "9"}), "versions.redrop = '9'"),
        (replace(small.plan(), data_sha256="0"), "data_sha256 = '0'"),
    ],
)
def test_another_study_in_the_folder_is_refused_by_name(tmp_path, other, named):
    with pytest.raises(UsageError, match="A study folder holds one study") as caught:
        continue_plan(small.plan(), other, tmp_path)
    assert named in str(caught.value)
