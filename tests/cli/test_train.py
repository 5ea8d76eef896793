"""`redrop train` into a folder that holds a run already."""

from functools import partial

import pytest

from redrop.study.records import read_study

QUICK = ["--steps=8", "--warmup-steps=1", "--batch-size=8", "--eval-every=4"]


@pytest.fixture
def train(redrop):
    """Run `redrop train` on a table."""
    return partial(redrop, "train", "--task=table", *QUICK)


def recorded(folder):
    return {path.name: path.read_bytes() for path in (folder / "runs").iterdir()}


def test_a_finished_run_says_so_and_is_not_repeated(tmp_path, train):
    code, out, error = train("--out=tr")
    assert code == 0, error
    assert out.splitlines()[-1] == "Run: tr (redrop report tr)"
    assert "done after 8 steps" in out + error  # the progress goes to the terminal
    before = recorded(tmp_path / "tr")
    code, out, _ = train("--out=tr")
    assert (code, out) == (0, "Already finished, seed 0: tr (redrop report tr)\n")
    assert recorded(tmp_path / "tr") == before


@pytest.mark.parametrize("seed", [1, 7])
def test_another_seed_in_the_folder_is_refused_in_one_line(tmp_path, train, seed):
    assert train("--out=tr")[0] == 0
    before = recorded(tmp_path / "tr")
    code, out, error = train("--out=tr", f"--seed={seed}")
    assert (code, out) == (2, "")
    assert f"`tr` has seed 0, and this one asks for seed {seed}. Use another folder" in error
    assert len(error.splitlines()) == 1
    assert recorded(tmp_path / "tr") == before
    code, out, error = train("--out=other", f"--seed={seed}")
    assert code == 0, error
    assert [run.header.seed for run in read_study(tmp_path / "other").runs] == [seed]


def test_an_interrupted_run_is_not_taken_for_finished(tmp_path, train):
    assert train("--out=tr")[0] == 0
    (record,) = (tmp_path / "tr" / "runs").iterdir()
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(lines[:-1]))
    code, out, error = train("--out=tr")
    assert code == 0, error
    assert out.splitlines()[-1] == "Run: tr (redrop report tr)"
    assert record.read_text().count('"kind":"end"') + record.read_text().count('"kind": "end"') == 1
