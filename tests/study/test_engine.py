import json
import os
import signal

import pytest

from redrop.errors import UsageError
from redrop.study.engine import open_study, run_study
from redrop.study.records import read_study
from tests.study import small


def ignore(run, event):
    pass


def losses(folder):
    """Everything in the records that an undisturbed study would have too."""
    kept = {}
    for name, content in small.records(folder).items():
        lines = [json.loads(line) for line in content.splitlines()]
        kept[name] = [
            {key: value for key, value in line.items() if key not in ("seconds", "started")}
            for line in lines
        ]
    return kept


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    plan = open_study(folder, small.plan())
    run_study(folder, plan, workers=2, observe=ignore)
    return folder


def test_every_run_of_the_plan_is_recorded_to_its_end(undisturbed):
    study = read_study(undisturbed)
    assert study.missing == ()
    assert [(run.header.arm, run.header.seed) for run in study.runs] == [
        ("none", 0),
        ("none", 1),
        ("all-0.3", 0),
        ("all-0.3", 1),
    ]
    for run in study.runs:
        assert run.end.status == "done"
        assert [line.step for line in run.evals] == [10, 20, 30]


def test_runs_are_matched(undisturbed):
    runs = {(r.header.arm, r.header.seed): r for r in read_study(undisturbed).runs}
    same_start = [runs[arm, 0].evals[0].validation_loss for arm in ("none", "all-0.3")]
    other_seed = runs["none", 1].evals[0].validation_loss
    assert abs(same_start[0] - same_start[1]) < abs(same_start[0] - other_seed)
    assert same_start[0] != same_start[1]


def test_a_second_call_computes_nothing(undisturbed):
    before = small.records(undisturbed)
    events = []
    plan = open_study(undisturbed, small.plan())
    run_study(undisturbed, plan, workers=2, observe=lambda run, event: events.append(event))
    assert events == []
    assert small.records(undisturbed) == before


def test_more_seeds_add_to_what_is_there(tmp_path, undisturbed):
    run_study(tmp_path, open_study(tmp_path, small.plan(seeds=1)), workers=2, observe=ignore)
    first = small.records(tmp_path)
    run_study(tmp_path, open_study(tmp_path, small.plan(seeds=2)), workers=2, observe=ignore)
    assert first.items() <= small.records(tmp_path).items()
    assert losses(tmp_path) == losses(undisturbed)


def test_one_worker_and_two_give_the_same_numbers(tmp_path, undisturbed):
    run_study(tmp_path, open_study(tmp_path, small.plan()), workers=1, observe=ignore)
    assert losses(tmp_path) == losses(undisturbed)


def test_a_run_that_is_killed_takes_nobody_with_it_and_is_run_again(tmp_path, undisturbed):
    plan = open_study(tmp_path, small.plan())
    killed = []

    def kill_the_first(run, event):
        if event["kind"] == "eval" and not killed:
            killed.append(run.name)
            for child in _children():
                os.kill(child, signal.SIGKILL)

    with pytest.raises(UsageError, match="ended with signal 9; the other runs are recorded"):
        run_study(tmp_path, plan, workers=1, observe=kill_the_first)
    assert len(read_study(tmp_path).missing) == 1
    run_study(tmp_path, plan, workers=1, observe=ignore)
    assert losses(tmp_path) == losses(undisturbed)


def _children():
    """The processes of the runs: the children of this process's fork server."""
    import multiprocessing.process

    return [child.pid for child in multiprocessing.process.active_children()]


def test_data_that_changed_since_the_plan_are_refused(tmp_path):
    import dataclasses

    plan = dataclasses.replace(small.plan(seeds=1), data_sha256="0" * 64)
    plan = open_study(tmp_path, plan)
    with pytest.raises(UsageError, match="`markov:4000` has changed since the study began"):
        run_study(tmp_path, plan, workers=1, observe=ignore)


def test_an_observer_that_fails_stops_the_runs_with_their_checkpoints(tmp_path, undisturbed):
    plan = open_study(tmp_path, small.plan())

    def interrupted(run, event):
        if event["kind"] == "eval" and event["step"] >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(tmp_path, plan, workers=2, observe=interrupted)
    assert not _children()
    run_study(tmp_path, plan, workers=2, observe=ignore)
    assert losses(tmp_path) == losses(undisturbed)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="A study needs a folder"):
        open_study(tmp_path / "file" / "study", small.plan())
