import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.train.ranks import Ranks
from redrop.train.task import Batch

ARGUMENTS = [
    *("train", "markov:4000", "--recipe", "all-0.3+drop_path-0.2", "--steps", "24"),
    *("--eval-every", "12", "--warmup-steps", "4", "--width", "16", "--context", "16"),
    *("--eval-tokens", "256", "--batch-size", "6", "--threads", "1", "--checkpoint-every", "6"),
]


@given(total=st.integers(1, 50), count=st.integers(1, 8))
def test_the_rows_of_all_ranks_are_the_batch(total, count):
    if total < count:
        with pytest.raises(UsageError, match="needs a row"):
            Ranks(0, count).rows(total)
        return
    batch = Batch({"x": torch.arange(total)}, torch.arange(total))
    parts = [Ranks(rank, count).share(batch) for rank in range(count)]
    assert torch.equal(torch.cat([part.inputs["x"] for part, _, _ in parts]), batch.targets)
    several = Batch([batch.targets, 2 * batch.targets], batch.targets)
    assert several.rows(1, 3).inputs[1].tolist() == [2, 4][: max(0, total - 1)]
    assert all(part.targets[0] == first for part, first, _ in parts)
    assert sum(share for _, _, share in parts) == pytest.approx(1.0)


def launch(folder: Path, ranks: int) -> None:
    command = [sys.executable, "-m", "redrop", *ARGUMENTS, "--out", str(folder)]
    if ranks > 1:
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        command = [sys.executable, "-m", *launcher, *command[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def curve(folder: Path) -> list[tuple[int, float, float]]:
    (record,) = (folder / "runs").iterdir()
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["run", "eval", "eval", "end"]
    return [(line["step"], line["train_loss"], line["validation_loss"]) for line in lines[1:3]]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_train_the_run_of_one_process(tmp_path, ranks):
    # Six rows on four ranks: some have one row, others two. A rank with masks of its own, or a
    # gradient that is not weighted by its rows, would move the losses by 1e-2.
    launch(tmp_path / "one", 1)
    launch(tmp_path / "many", ranks)
    for alone, shared in zip(curve(tmp_path / "one"), curve(tmp_path / "many"), strict=True):
        assert shared == pytest.approx(alone, rel=1e-5)
