"""Kill the process for good, again and again: the run ends with the bits of one left alone."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from redrop.train.checkpoint import latest_checkpoint, read_checkpoint

ROOT = Path(__file__).parents[2]


def sit(directory, record, threads, optimizer, moment="never", count=0):
    arguments = [str(directory), str(record), str(threads), optimizer, moment, str(count)]
    command = [sys.executable, "-m", "tests.train.victim", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, timeout=240).returncode


def events(record):
    """The events by kind and step; said twice, they must say the same."""
    found = {}
    for line in record.read_text().splitlines():
        event = {key: value for key, value in json.loads(line).items() if key != "seconds"}
        key = (event["kind"], event.get("step"))
        assert found.setdefault(key, event) == event
    return found


@pytest.mark.parametrize(
    ("threads", "optimizer", "moments"),
    [
        (1, "adamw", ["step", "fsync"]),
        pytest.param(1, "sgd", ["fsync", "step"], marks=pytest.mark.slow),
        pytest.param(2, "adamw", ["fsync", "step", "fsync"], marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_with_the_same_bits(tmp_path, threads, optimizer, moments):
    assert sit(tmp_path / "straight", tmp_path / "straight.jsonl", threads, optimizer) == 0
    chance = random.Random(threads)
    for moment in moments:
        count = chance.randint(3, 9)
        code = sit(
            tmp_path / "killed", tmp_path / "killed.jsonl", threads, optimizer, moment, count
        )
        assert code == -signal.SIGKILL
    assert sit(tmp_path / "killed", tmp_path / "killed.jsonl", threads, optimizer) == 0
    assert events(tmp_path / "killed.jsonl") == events(tmp_path / "straight.jsonl")
    straight, killed = (
        read_checkpoint(latest_checkpoint(tmp_path / name)).tensors
        for name in ("straight", "killed")
    )
    for group in ("weights", "best_weights", "optimizer", "tally", "average"):
        assert straight[group].keys() == killed[group].keys()
        for name, tensor in straight[group].items():
            assert torch.equal(tensor, killed[group][name]), (group, name)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["final"]
