import errno
import os

import pytest
import torch

from redrop.errors import UsageError
from redrop.train import checkpoint
from redrop.train.checkpoint import (
    Snapshot,
    latest_checkpoint,
    read_checkpoint,
    step_name,
    write_checkpoint,
)


def snapshot(number=1):
    tensors = {"weights": {"w": torch.arange(6.0).view(2, 3) * number}, "none": {}}
    return Snapshot({"step": number, "note": None}, tensors)


def test_what_was_written_is_read(tmp_path):
    write_checkpoint(tmp_path / "run", "step-00000001", snapshot())
    back = read_checkpoint(tmp_path / "run" / "step-00000001")
    assert (back.state["step"], back.state["note"]) == (1, None)
    assert back.tensors["none"] == {}
    assert torch.equal(back.tensors["weights"]["w"], snapshot().tensors["weights"]["w"])


def test_dtypes_and_special_values_keep_their_bits(tmp_path):
    group = {
        "bf16": torch.tensor([1.0, float("nan")], dtype=torch.bfloat16),
        "f64": torch.tensor(0.1, dtype=torch.float64),
        "i64": torch.tensor([2**62 + 1]),
        "u8": torch.get_rng_state(),
        "empty": torch.empty(0),
    }
    write_checkpoint(tmp_path, "final", Snapshot({}, {"all": group}))
    back = read_checkpoint(tmp_path / "final").tensors["all"]
    for name, value in group.items():
        assert back[name].dtype == value.dtype
        assert back[name].shape == value.shape
        assert torch.equal(back[name].nan_to_num(), value.nan_to_num()), name


def test_the_newest_is_kept_and_found(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for step in (9, 10, 100):
        write_checkpoint(tmp_path, step_name(step), snapshot(step))
        assert [path.name for path in tmp_path.iterdir()] == [step_name(step)]
        assert latest_checkpoint(tmp_path) == tmp_path / step_name(step)
    write_checkpoint(tmp_path, checkpoint.FINAL, snapshot(7))
    assert latest_checkpoint(tmp_path).name == checkpoint.FINAL
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FINAL]


def test_the_end_comes_after_every_step(tmp_path):
    for name in (checkpoint.FINAL, "step-99999999"):
        (tmp_path / name).mkdir()
    assert latest_checkpoint(tmp_path).name == checkpoint.FINAL


def test_writing_the_same_step_again_keeps_what_is_there(tmp_path):
    write_checkpoint(tmp_path, step_name(3), snapshot(3))
    write_checkpoint(tmp_path, step_name(3), snapshot(3))
    assert read_checkpoint(tmp_path / step_name(3)).state["step"] == 3
    assert [path.name for path in tmp_path.iterdir()] == [step_name(3)]


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def die_after(count, monkeypatch):
    """Let the disk calls of a checkpoint go through `count` times, then never again."""
    left = [count]

    def counted(function):
        def call(*args, **kwargs):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return function(*args, **kwargs)

        return call

    for owner, name in [
        (os, "fsync"),
        (os, "open"),
        (checkpoint.Path, "mkdir"),
        (checkpoint.Path, "rename"),
        (checkpoint.shutil, "rmtree"),
    ]:
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))


def test_death_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    write_checkpoint(tmp_path, step_name(1), snapshot(1))
    seen = []
    for count in range(100):
        with pytest.MonkeyPatch.context() as patch:
            die_after(count, patch)
            try:
                write_checkpoint(tmp_path, step_name(2), snapshot(2))
                is_dead = False
            except Killed:
                is_dead = True
        step = read_checkpoint(latest_checkpoint(tmp_path)).state["step"]
        seen.append(step)
        if not is_dead:
            break
    assert count >= 6, "the calls that were to fail were not made"
    assert seen == sorted(seen)
    assert set(seen) == {1, 2}
    assert [path.name for path in tmp_path.iterdir()] == [step_name(2)]


def test_files_reach_the_disk_before_the_name_does(tmp_path, monkeypatch):
    calls = []
    fsync, rename = os.fsync, checkpoint.Path.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(
        checkpoint.Path, "rename", lambda self, to: (calls.append("rename"), rename(self, to))[1]
    )
    write_checkpoint(tmp_path, "final", snapshot())
    # two groups, state.json and their folder; then the name; then the folder that holds the name
    assert calls == ["fsync"] * 4 + ["rename"] + ["fsync"]


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_a_full_disk_is_one_clear_line_and_keeps_the_checkpoint_before(
    tmp_path, monkeypatch, moment
):
    write_checkpoint(tmp_path, step_name(1), snapshot(1))

    def refuse(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner = os if moment == "fsync" else checkpoint.Path
    with monkeypatch.context() as patch:
        patch.setattr(owner, moment, refuse)
        with pytest.raises(UsageError, match="The disk is full.*still there") as caught:
            write_checkpoint(tmp_path, step_name(2), snapshot(2))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [step_name(1)]
    assert read_checkpoint(latest_checkpoint(tmp_path)).state["step"] == 1


def test_a_file_where_the_directory_should_be_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    assert latest_checkpoint(tmp_path / "run") is None
    with pytest.raises(UsageError, match="cannot be written: File exists"):
        write_checkpoint(tmp_path / "run", "final", snapshot())
    assert (tmp_path / "run").read_text() == "mine"


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut, flip_a_bit, lambda path: path.unlink()])
@pytest.mark.parametrize("file", ["weights.safetensors", "state.json"])
def test_damage_is_noticed(tmp_path, damage, file):
    write_checkpoint(tmp_path, "final", snapshot())
    damage(tmp_path / "final" / file)
    if damage is flip_a_bit and file == "state.json":  # the last byte is "}": now it is "|"
        assert (tmp_path / "final" / file).read_bytes().endswith(b"|")
    with pytest.raises(UsageError, match=f"must be whole; in .*{file}.*Remove the folder"):
        read_checkpoint(tmp_path / "final")


@pytest.mark.parametrize(
    "content", ["{}", "[]", '{"format": "other"}', '{"format": "redrop checkpoint 1"}', "\ufffe"]
)
def test_a_foreign_state_is_refused(tmp_path, content):
    write_checkpoint(tmp_path, "final", snapshot())
    (tmp_path / "final" / "state.json").write_text(content, encoding="utf-16")
    with pytest.raises(UsageError, match="must be whole"):
        read_checkpoint(tmp_path / "final")
    (tmp_path / "final" / "state.json").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="must be whole"):
        read_checkpoint(tmp_path / "final")
