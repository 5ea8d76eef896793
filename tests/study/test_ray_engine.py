"""The engine `ray`, on a real cluster of two nodes on this machine."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from redrop.errors import UsageError
from redrop.study.engine import open_study, run_study
from redrop.study.plan import planned_runs
from redrop.study.ray_engine import MOST_LOSSES, run_study_on_ray
from redrop.study.ray_worker import read_saved, train_run, write_saved
from redrop.study.records import read_study
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint
from tests.study import small

STEPS = 240
NOWHERE = "127.0.0.1:1"
"""Nothing listens there: port 1 is nobody's."""

# A node that dies is noticed after seconds, not after the half minute that a wide network needs.
IMPATIENT = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 2,
}

needs_ray = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray", "ignore::ResourceWarning"
)


def ignore(run, event):
    pass


def plan(**changes):
    return small.plan(seeds=1, steps=STEPS, **changes)


def never_saved():
    settings = {**plan().settings, "train": {**plan().settings["train"], "checkpoint_every": 0}}
    return dataclasses.replace(plan(), settings=settings)


def lines(folder):
    """Everything in the records but when, how fast and from which state of the code."""
    return {
        name: [stripped(json.loads(line)) for line in content.splitlines()]
        for name, content in small.records(folder).items()
    }


def behind_headers(folder):
    """The evaluations and the end of each run, whatever its settings are."""
    return sorted((record[0]["arm"], record[1:]) for record in lines(folder).values())


def stripped(line):
    if line["kind"] == "run":
        del line["versions"]["code"], line["started"]
    else:
        del line["seconds"]
    return line


def weights(folder):
    """The weights of every run's last checkpoint."""
    return {
        at.name: read_checkpoint(latest_checkpoint(at)).tensors["weights"]
        for at in (folder / "checkpoints").iterdir()
    }


def same_weights(first, second):
    return first.keys() <= second.keys() and all(
        (first[run][name] == second[run][name]).all() for run in first for name in first[run]
    )


def training_processes():
    """The workers, here, that train right now; the nodes of the cluster are our children."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            if title.startswith(b"ray::train_run") and parent(parent(process.name)) == os.getpid():
                found.append(int(process.name))
        except FileNotFoundError:
            continue
    return found


def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The study as the local engine runs it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_study(folder, open_study(folder, plan()), workers=2, observe=ignore)
    return folder


@pytest.fixture(scope="module")
def cluster():
    """A head that computes nothing, and a node with two cores."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": IMPATIENT}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=2)
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
@needs_ray
def test_a_cluster_records_what_this_machine_records(tmp_path, cluster, undisturbed):
    events = []
    arms = ("none", "all-0.3", *(f"embedding-0.{tenth}" for tenth in range(1, 7)))
    run_study_on_ray(
        tmp_path,
        open_study(tmp_path, plan(arms=arms)),
        address=cluster.address,
        workers=None,
        observe=lambda run, event: events.append((run.arm.name, event["kind"])),
    )
    assert lines(undisturbed).items() <= lines(tmp_path).items()
    assert same_weights(weights(undisturbed), weights(tmp_path))
    for arm in arms:
        kinds = [kind for name, kind in events if name == arm]
        assert kinds.count("eval") == STEPS // 10
        assert kinds[-1] == "end"
        assert set(kinds) == {"step", "eval", "end"}
    assert most_at_once(events) == 2  # one on each core: who waits for the driver keeps its core


def most_at_once(events):
    begun, ended, most = set(), set(), 0
    for name, kind in events:
        begun.add(name)
        if kind == "end":
            ended.add(name)
        most = max(most, len(begun - ended))
    return most


def test_a_study_that_is_complete_needs_no_cluster(tmp_path, undisturbed):
    before = small.records(undisturbed)
    study = run_study_on_ray(
        undisturbed,
        open_study(undisturbed, plan()),
        address=NOWHERE,
        workers=None,
        observe=lambda run, event: pytest.fail("nothing is left to do"),
    )
    assert study.missing == ()
    assert small.records(undisturbed) == before


@pytest.mark.slow
@needs_ray
def test_a_worker_that_is_killed_costs_what_it_had_not_checkpointed(tmp_path, cluster, undisturbed):
    watch = Watch(at=120, act=lambda: kill(training_processes()))
    run_study_on_ray(
        tmp_path,
        open_study(tmp_path, plan()),
        address=cluster.address,
        workers=1,
        observe=watch,
    )
    assert watch.causes == ["was lost (WorkerCrashedError)"]
    assert watch.resumed_behind_checkpoint()
    assert lines(tmp_path) == lines(undisturbed)
    assert same_weights(weights(tmp_path), weights(undisturbed))


@pytest.mark.slow
@needs_ray
def test_a_node_that_dies_costs_what_it_had_not_checkpointed(tmp_path, cluster, undisturbed):
    (doomed,) = cluster.worker_nodes

    def replace():
        cluster.remove_node(doomed, allow_graceful=False)  # kill -9 of all of its processes
        cluster.add_node(num_cpus=2)

    watch = Watch(at=120, act=replace)
    run_study_on_ray(
        tmp_path,
        open_study(tmp_path, plan()),
        address=cluster.address,
        workers=None,
        observe=watch,
    )
    assert watch.resumed_behind_checkpoint()
    assert lines(tmp_path) == lines(undisturbed)


class Watch:
    """Acts once, at the evaluation of a step, and notes where the run went on afterwards."""

    def __init__(self, at, act):
        self.at = at
        self.act = act
        self.run = None
        self.first_steps = []
        self.evaluated = []
        self.causes = []

    def __call__(self, run, event):
        if event["kind"] == "eval" and event["step"] == self.at and self.run is None:
            self.run = run.name
            self.act()
        elif run.name == self.run and event["kind"] == "lost":
            self.causes.append(event["cause"])
        elif run.name == self.run and event["kind"] == "eval":
            self.evaluated.append(event["step"])
        elif run.name == self.run and event["kind"] == "step":
            self.first_steps.append((event["step"], len(self.evaluated)))

    def resumed_behind_checkpoint(self):
        """Whether the second attempt began behind the first and not at the beginning.

        It repeats the evaluations up to its checkpoint; the step told next is the one after it.
        """
        again = self.evaluated.index(10)
        step = next(step for step, evaluated in self.first_steps if evaluated > again)
        return step > self.at - 10 and self.evaluated[again:] == list(range(10, STEPS + 1, 10))


def kill(processes):
    assert processes, "no worker was found"
    for process in processes:
        os.kill(process, signal.SIGKILL)


@pytest.mark.slow
@needs_ray
def test_a_run_that_always_kills_its_worker_is_given_up_and_the_others_finish(tmp_path, cluster):
    deaths = []

    def kill_the_first(run, event):
        if run.arm.name == "none" and event["kind"] == "step":
            deaths.append(event["step"])
            kill(training_processes())

    with pytest.raises(UsageError, match="'none', seed 0 was lost .* 3 times without a new"):
        run_study_on_ray(
            tmp_path,
            open_study(tmp_path, never_saved()),
            address=cluster.address,
            workers=1,
            observe=kill_the_first,
        )
    assert deaths == [1] * MOST_LOSSES
    assert read_study(tmp_path).missing == (("none", 0),)


@pytest.mark.slow
@needs_ray
def test_after_an_interrupt_either_engine_goes_on_where_the_other_stopped(
    tmp_path, cluster, undisturbed
):
    """No checkpoint is due before the end: what is there was written because it was asked for."""

    def interrupt_at(step):
        def observe(run, event):
            if event["kind"] == "eval" and event["step"] == step:
                raise KeyboardInterrupt

        return observe

    study = open_study(tmp_path, never_saved())
    with pytest.raises(KeyboardInterrupt):
        run_study(tmp_path, study, workers=2, observe=interrupt_at(50))
    with pytest.raises(KeyboardInterrupt):
        run_study_on_ray(
            tmp_path, study, address=cluster.address, workers=None, observe=interrupt_at(150)
        )
    assert not training_processes()
    for run in planned_runs(study):
        checkpoint = latest_checkpoint(tmp_path / "checkpoints" / run.name)
        assert read_checkpoint(checkpoint).state["step"] > 50
    run_study(tmp_path, study, workers=2, observe=ignore)
    assert behind_headers(tmp_path) == behind_headers(undisturbed)


ALONE = """
import sys
from pathlib import Path

import ray

from redrop.errors import UsageError
from redrop.study.ray_engine import run_study_on_ray
from redrop.study.records import read_study
from tests.study.test_ray_engine import ignore, open_study, plan, training_processes

folder, cluster = Path(sys.argv[1]), sys.argv[2]
run_study_on_ray(folder, open_study(folder, plan()), address=None, workers=2, observe=ignore)
assert not read_study(folder).missing
assert not ray.is_initialized()
assert not training_processes()
other = folder / "other"
try:
    run_study_on_ray(
        other, open_study(other, plan()), address=cluster, workers=None, observe=ignore
    )
except UsageError as error:
    print(error)
"""


@pytest.mark.slow
@needs_ray
def test_without_an_address_ray_starts_here_and_stops_again(tmp_path, cluster, undisturbed):
    """In a process of its own: Ray cannot turn to another cluster after that."""
    command = [sys.executable, "-c", ALONE, str(tmp_path), cluster.address]
    done = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True)
    assert "has run Ray on this machine before" in done.stdout, done.stderr
    assert lines(tmp_path) == lines(undisturbed)


def test_a_node_with_another_version_is_refused_by_name(undisturbed):
    study = plan()
    other = dataclasses.replace(study, versions={**study.versions, "torch": "0.0.1"})
    run = planned_runs(study)[0]
    with pytest.raises(UsageError, match=r"has torch [\d.]+, the study 0\.0\.1"):
        train_run(None, 1, None, other, run, None)


def test_a_checkpoint_arrives_as_it_was_sent_and_damage_is_noticed(tmp_path, undisturbed):
    source = next((undisturbed / "checkpoints").iterdir())
    saved = read_saved(source)
    write_saved(saved, tmp_path / "whole")
    assert read_saved(tmp_path / "whole") == saved
    files = {name: content[:-1] for name, content in saved.files.items() if name != "state.json"}
    with pytest.raises(UsageError, match="must be whole"):
        write_saved(saved._replace(files={**saved.files, **files}), tmp_path / "cut")
    assert read_saved(tmp_path / "cut") is None
