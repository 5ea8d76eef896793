import json
from dataclasses import asdict, replace

import pytest

from redrop.errors import UsageError
from redrop.study.arms import parse_arms
from redrop.study.engine import missing_runs, open_study
from redrop.study.plan import ARM_LETTERS, continue_plan, make_plan, plan_digest, planned_runs
from redrop.study.run import execute
from redrop.study.schema import parse_plan, read_plan
from redrop.tasks.load import load_task
from redrop.tasks.spec import TaskSpec
from redrop.train.config import TrainConfig
from tests.study import small, synthetic


def differing(one, other, at=""):
    """The paths at which two nested mappings differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = {*one, *other}
        return {
            p for n in names for p in differing(one.get(n), other.get(n), f"{at}.{n}".lstrip("."))
        }
    return set() if one == other else {at}


def test_arms_of_a_seed_differ_in_their_dropout_and_in_nothing_else():
    none, dropped = planned_runs(small.plan(seeds=1))
    assert dropped.config["model"]["dropout"] != none.config["model"]["dropout"]
    assert {path.rpartition(".")[0] for path in differing(none.config, dropped.config)} == {
        "model.dropout"
    }
    assert dropped.train == none.train


@pytest.mark.parametrize(
    ("arm", "changed"),
    [
        ("weight_decay-0.7", {"train.weight_decay"}),
        ("norm-post", {"model.norm"}),
        ("mask-0.1", {"augment.mask"}),
        ("ema-0.9+schedule-linear", {"train.ema", "train.schedule"}),
        ("none+drop_path-0.2", {"model.dropout.drop_path"}),
    ],
)
def test_an_arm_changes_what_it_names_and_nothing_else(arm, changed):
    none, other = planned_runs(small.plan(arms=("none", arm), seeds=1))
    assert differing(none.config, other.config) == changed
    assert other.id != none.id


def test_the_config_of_a_run_is_the_settings_it_trains_with():
    plan = small.plan(arms=("none", "all-0.1+label_smoothing-0.1"), seeds=1)
    run = planned_runs(plan)[1]
    task = load_task(small.SPEC, plan.settings["model"]).with_recipe(run.arm)
    assert task.settings() == {key: run.config[key] for key in ("model", "augment")}
    assert run.config["train"] == run.train.to_json()
    assert run.train.label_smoothing == 0.1
    assert run.config["task"] == small.SPEC.to_json()


@pytest.mark.parametrize("name", ["steps", "batch_size", "seed", "eval_every", "threads"])
def test_what_all_arms_share_an_arm_may_not_change(name):
    base = small.plan()
    arm = replace(base.arms[1], train={name: 7})
    with pytest.raises(UsageError, match=f"share seeds, steps and batches; .* changes {name}"):
        planned_runs(replace(base, arms=(base.arms[0], arm)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"momentum": 0.9}}, "changes momentum, which training does not have"),
        ({"train": {"weight_decay": -1}}, "`weight_decay` must be a finite number of at least 0"),
        ({"model": {"depth": 3}}, "changes `depth`, which this network does not have"),
        ({"dropout": {"pre_activation": 0.1}}, "none of which this network has"),
    ],
)
def test_an_arm_that_does_not_fit_is_refused_by_the_plan(changes, message):
    base = small.plan()
    arm = replace(base.arms[0], name="odd", **changes)
    with pytest.raises(UsageError, match=message):
        planned_runs(replace(base, arms=(base.arms[0], arm)))


def test_runs_come_seed_by_seed_and_have_names_of_their_own():
    runs = planned_runs(small.plan(seeds=3))
    assert [run.seed for run in runs] == [0, 0, 1, 1, 2, 2]
    assert len({run.name for run in runs}) == 6


def test_the_name_of_any_arm_is_the_name_of_a_file(tmp_path):
    base = small.plan(seeds=1)
    names = ("a/b\\c: *?", "x" * 300, "x" * 300 + "y")
    arms = tuple(
        replace(base.arms[0], name=name, train={"ema": 0.1 * n}) for n, name in enumerate(names)
    )
    runs = planned_runs(replace(base, arms=arms, baseline=names[0]))
    assert len({run.name for run in runs}) == 3
    for run in runs:
        assert len(run.name) < ARM_LETTERS + 30
        (tmp_path / f"{run.name}.jsonl").write_text("")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_runs_name_depends_on_all_that_decides_it():
    base = small.plan()
    ids = {planned_runs(plan)[0].id for plan in (base, small.plan(steps=31))}
    ids.add(planned_runs(replace(base, data_sha256="0" * 64))[0].id)
    ids.add(planned_runs(replace(base, versions={**base.versions, "spec": 2}))[0].id)
    assert len(ids) == 4
    assert planned_runs(replace(base, margin=0.5))[0].id in ids


def test_a_plan_survives_its_file():
    plan = small.plan(arms=("none", "vaswani", "all-0.1+r_drop-1", "mask-0.1"))
    again = parse_plan(json.loads(plan.to_json()), "study.json")
    assert again == plan
    assert plan_digest(again) == plan_digest(plan)
    assert [run.id for run in planned_runs(again)] == [run.id for run in planned_runs(plan)]


def test_the_units_of_a_loss_are_those_of_the_data():
    plan = small.plan()
    assert (plan.unit, plan.short_unit) == ("nats per token", "nats")
    table = load_task(TaskSpec(kind="table", source="diabetes", network="mlp"))
    settings = {**plan.settings, "data": table.describe()}
    assert replace(plan, settings=settings).unit == "squared standard deviations"
    assert replace(plan, settings=settings).short_unit == "sd²"


def test_more_seeds_go_on_with_the_same_study_and_pay_for_the_look(tmp_path):
    two, five = small.plan(seeds=2), small.plan(seeds=5)
    assert plan_digest(two) == plan_digest(five)
    more = continue_plan(five, two, tmp_path)
    assert (more.seeds, more.looks, more.spent) == ((0, 1, 2, 3, 4), 4, 0.05)
    assert plan_digest(more) == plan_digest(two)
    assert continue_plan(two, more, tmp_path) == more
    assert continue_plan(five, more, tmp_path) == more


@pytest.mark.parametrize("asked", [(1,), (5,), (3, 4), (1, 2, 3, 4)])
def test_seeds_that_are_neither_more_nor_fewer_are_refused(tmp_path, asked):
    recorded = replace(small.plan(), seeds=(0, 1, 2) if len(asked) > 1 else (0,))
    ours = replace(recorded, seeds=asked)
    with pytest.raises(UsageError, match="A study folder holds one study") as caught:
        continue_plan(ours, recorded, tmp_path)
    assert f"asks for seed{'s' * (len(asked) > 1)} {asked[0]}" in str(caught.value)


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


def test_every_setting_of_training_is_free_or_fixed_for_all_arms():
    base = small.plan()
    fixed = {
        "seed",
        "steps",
        "batch_size",
        "eval_every",
        "eval_tokens",
        "threads",
        "checkpoint_every",
    }
    for name, value in asdict(TrainConfig(warmup_steps=1)).items():
        plan = replace(base, arms=(base.arms[0], replace(base.arms[1], train={name: value})))
        if name in fixed:
            with pytest.raises(UsageError, match=f"changes {name}"):
                planned_runs(plan)
        else:
            assert getattr(planned_runs(plan)[1].train, name) == value


def as_of_old(plan):
    """The text of a plan of before parameters were counted, and looks told apart."""
    later = ("parameters", "spent")
    return {k: v for k, v in json.loads(plan.to_json()).items() if k not in later}


def test_a_plan_of_before_parameters_were_counted_is_the_same_study(tmp_path):
    counted = replace(small.plan(), parameters=5000)
    old = parse_plan(as_of_old(counted), "study.json")
    assert old.parameters is None
    assert plan_digest(old) == plan_digest(counted)
    assert planned_runs(old) == planned_runs(counted)
    # The count is added, nothing else is.
    assert continue_plan(counted, old, tmp_path) == replace(counted, spent=None)
    assert continue_plan(old, counted, tmp_path) == counted
    more = replace(counted, seeds=(0, 1, 2))
    assert continue_plan(more, old, tmp_path) == replace(more, looks=4, spent=0.05)
    assert parse_plan(json.loads(counted.to_json()), "study.json") == counted


def test_the_name_of_a_study_is_the_one_of_before_parameters_were_counted():
    """Made by that version; else a folder of then would be begun anew beside itself."""
    assert plan_digest(replace(synthetic.make_plan(), parameters=5000)) == "5c6558ee"


def test_a_study_of_before_goes_on_and_keeps_its_records(tmp_path):
    plan = small.plan(seeds=1, steps=10)
    open_study(tmp_path, plan)
    (tmp_path / "study.json").write_text(json.dumps(as_of_old(plan)))
    (run, _) = planned_runs(read_plan(tmp_path))
    execute(tmp_path, read_plan(tmp_path), run, lambda event: None)
    before = small.records(tmp_path)
    counted = open_study(tmp_path, replace(plan, parameters=5000))
    assert counted == read_plan(tmp_path) == replace(plan, parameters=5000, spent=None)
    assert [each.arm.name for each in missing_runs(tmp_path, counted)] == ["all-0.3"]
    assert small.records(tmp_path) == before


@pytest.mark.parametrize("wrong", [-1, 2.5, "many", True])
def test_a_count_that_is_none_is_refused(wrong):
    with pytest.raises(UsageError, match="`parameters`"):
        parse_plan({**as_of_old(small.plan()), "parameters": wrong}, "study.json")


def test_ids_and_digests_are_those_of_earlier_versions():
    """A run that was recorded before a setting existed is found again, and not computed anew."""
    plan = make_plan(
        name="n",
        arms=parse_arms(("none", "all-0.1")),
        seeds=(0, 1),
        task=TaskSpec(source="markov"),
        model={"width": 32, "vocab_size": 24},
        train=TrainConfig(steps=10, warmup_steps=1),
        data={"sha256": "0" * 64, "name": "n"},
        torch_version="2",
        margin=0.01,
        command="c",
    )
    known = ["a1ff1098e648", "cea670898237", "86da09c7bc3b", "badcc3e10b24"]
    assert [run.id for run in planned_runs(plan)] == known
    assert plan_digest(plan) == "10942419"
