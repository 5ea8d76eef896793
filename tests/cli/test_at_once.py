"""Two commands at once, and a second study that finds the work of a first one done."""

import json

import pytest

from redrop.study.records import read_study
from tests.cli.command import TINY, redrop, start

STUDY = ["study", "markov:4000", "--steps=120", "--seeds=2", "--arms", "none", "all-0.3", *TINY]


@pytest.mark.slow
def test_of_two_commands_on_one_study_one_runs_it_and_the_other_says_so(tmp_path):
    both = [start(*STUDY, cwd=tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    codes = sorted(process.returncode for process in both)
    (folder,) = (tmp_path / "studies").glob("*/")
    assert read_study(folder).missing == ()
    assert codes in ([0, 2], [0, 0]), said  # [0, 0]: the second began when the first was done
    for process, (_, error) in zip(both, said, strict=True):
        if process.returncode == 2:
            assert "is being run by another process" in error
            assert len(error.splitlines()) == 1
    # Nothing was damaged: the same command finds all done and says the same.
    whole = {path: path.read_bytes() for path in (folder / "runs").iterdir()}
    again = redrop(*STUDY, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == next(out for p, (out, _) in zip(both, said, strict=True) if out)
    assert {path: path.read_bytes() for path in (folder / "runs").iterdir()} == whole

    # Another study, one arm wider: what the first has finished is taken over, and that is said.
    wider = [*STUDY, "--json"]
    wider[wider.index("all-0.3") + 1 : wider.index("all-0.3") + 1] = ["all-0.1"]
    result = redrop(*wider, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert {run["arm"] for run in json.loads(result.stdout)["runs"]} == {
        "none",
        "all-0.3",
        "all-0.1",
    }
    assert result.stderr.count(f"computed before, in {folder.name}") == 4
    (other,) = {*(tmp_path / "studies").glob("*/")} - {folder}
    assert {p.name: p.read_bytes() for p in (other / "runs").iterdir()}.items() >= {
        path.name: content for path, content in whole.items()
    }.items()
