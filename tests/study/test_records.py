import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from redrop.errors import UsageError
from redrop.study import records
from redrop.study.records import RecordWriter, read_run, run_id, write_atomically
from tests.study import synthetic


def header(**changes: Any) -> dict[str, Any]:
    plan = synthetic.make_plan()
    return synthetic.make_header("none", 0, synthetic.ARMS["none"], plan) | changes


def evaluation(step: int, loss: float = 2.5) -> dict[str, Any]:
    return synthetic.make_events({}, 0)[0] | {"step": step, "validation_loss": loss}


def write(path: Path, *events: dict[str, Any], **changes: Any) -> None:
    with RecordWriter(path, header(**changes)) as writer:
        for event in events:
            writer.write(event)


def complete() -> list[dict[str, Any]]:
    return [evaluation(100), evaluation(200, 2.4), synthetic.end_event(2.4)]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a.jsonl"
    write(path, *complete())
    run = read_run(path)
    assert run.header.config == header()["config"]
    assert [line.step for line in run.evals] == [100, 200]
    assert run.evals[1].validation_loss == 2.4
    assert run.end is not None
    assert run.end.status == "done"
    assert run.at(200) is run.evals[1]
    assert run.at(150) is None
    kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
    assert kinds == ["run", "eval", "eval", "end"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_becomes_null(tmp_path: Path, value: float) -> None:
    write(tmp_path / "a.jsonl", evaluation(100, value))
    assert '"validation_loss": null' in (tmp_path / "a.jsonl").read_text()
    line = read_run(tmp_path / "a.jsonl").evals[0]
    assert line.validation_loss is None
    assert line.gap is None


def test_a_record_cut_anywhere_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, *complete())
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    cuts = {0, 1, len(whole)} | set(range(5, len(whole), 41))
    cuts |= {
        place + shift for place in ends for shift in (-2, -1, 0, 1) if place + shift < len(whole)
    }
    for cut in sorted(cuts):
        path.write_bytes(whole[:cut])
        write(path, *complete())
        assert path.read_bytes() == whole, cut


def test_a_last_line_of_garbage_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, evaluation(100))
    good = path.read_bytes()
    path.write_bytes(good + b"\x00\x00\xff{\n")
    assert len(read_run(path).evals) == 1
    assert path.read_bytes() == good + b"\x00\x00\xff{\n", "reading must not touch the file"
    write(path)
    assert path.read_bytes() == good


def test_a_broken_line_in_the_middle_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, *complete())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2][:30] + b"\n", lines[3]]))
    with pytest.raises(UsageError, match=r"a\.jsonl:3` is not a line of JSON"):
        read_run(path)
    with pytest.raises(UsageError, match=r"a\.jsonl:3`"):
        write(path)


def test_a_killed_process_leaves_a_readable_record_that_goes_on(tmp_path: Path) -> None:
    code = (
        "import itertools, sys; from pathlib import Path\n"
        "from tests.study import test_records as t\n"
        "from redrop.study.records import RecordWriter\n"
        "writer = RecordWriter(Path(sys.argv[1]), t.header())\n"
        "for step in itertools.count(): writer.write(t.evaluation(step)); print(step, flush=True)\n"
    )
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "src"), *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a.jsonl")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    said = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    written = len(read_run(tmp_path / "a.jsonl").evals)
    assert written >= 20 + len(said), "a line that was acknowledged must be on the disk"
    with RecordWriter(tmp_path / "a.jsonl", header()) as writer:
        assert writer.steps == set(range(written))


def test_recorded_steps_are_not_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, evaluation(100), evaluation(200))
    with RecordWriter(path, header()) as writer:
        assert writer.steps == {100, 200}
        assert not writer.is_ended
        for event in (header(), evaluation(100), evaluation(200), *complete()):
            writer.write(event)
        assert writer.is_ended
        writer.write(synthetic.end_event(9.9))
    run = read_run(path)
    assert [line.step for line in run.evals] == [100, 200]
    assert run.end is not None
    assert run.end.best_validation_loss == 2.4


@pytest.mark.parametrize("steps", [(200, 150), (200, "end", 300)])
def test_evaluations_that_do_not_follow_are_refused(tmp_path: Path, steps: tuple[Any, ...]) -> None:
    events = [synthetic.end_event(2.4) if s == "end" else evaluation(s) for s in steps]
    with pytest.raises(UsageError, match=f"got step {steps[-1]}"):
        write(tmp_path / "a.jsonl", *events)


def test_another_config_is_refused_by_the_name_of_its_field(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, evaluation(100))
    before = path.read_bytes() + b'{"kind": "ev'
    path.write_bytes(before)
    config = json.loads(json.dumps(header()["config"]))
    config["train"]["learning_rate"] = 0.5
    with pytest.raises(
        UsageError, match=r"config\.train\.learning_rate = 0\.001, this run has 0\.5"
    ):
        write(path, config=config)
    del config["train"]["learning_rate"]
    with pytest.raises(
        UsageError, match=r"config\.train\.learning_rate = 0\.001, this run has None"
    ):
        write(path, config=config)
    with pytest.raises(UsageError, match="seed = 0, this run has 3"):
        write(path, seed=3)
    assert path.read_bytes() == before, (
        "what belongs to another run is not touched, its tail either"
    )


@pytest.mark.parametrize("name", ["redrop", "spec", "torch", "numpy"])
def test_another_version_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.jsonl")
    with pytest.raises(UsageError, match=f"versions.{name} = .*, this run has '99'"):
        write(tmp_path / "a.jsonl", versions={**synthetic.VERSIONS, name: "99"})


def test_another_python_or_machine_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, evaluation(100))
    versions = {**synthetic.VERSIONS, "python": "3.13.1"}
    write(path, evaluation(200), versions=versions, machine={"cpu": "other"}, started="later")
    assert len(read_run(path).evals) == 2


def test_a_tuple_in_the_config_equals_the_list_it_became(tmp_path: Path) -> None:
    for _ in range(2):
        write(tmp_path / "a.jsonl", config={"betas": (0.9, 0.99)})
    with pytest.raises(UsageError, match=r"config\.betas"):
        write(tmp_path / "a.jsonl", config={"betas": (0.9, 0.95)})


def test_a_record_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with (
        RecordWriter(path, header()),
        pytest.raises(UsageError, match="being written by another process"),
    ):
        RecordWriter(path, header())
    write(path, evaluation(100))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": "100"}, r"`step` must be an integer; got '100'"),
        ({"step": True}, "`step` must be an integer; got True"),
        ({"step": 1.5}, "`step` must be an integer"),
        ({"validation_loss": "2"}, "`validation_loss` must be a number or null"),
        ({"kind": "evil"}, '`kind` must be "run", "eval" or "end"; got \'evil\''),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write(tmp_path / "a.jsonl", evaluation(100) | change)
    assert not read_run(tmp_path / "a.jsonl").evals


def test_a_whole_number_is_a_loss_and_unknown_fields_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", evaluation(100, 2) | {"excess": 0.25})
    assert read_run(tmp_path / "a.jsonl").evals[0].validation_loss == 2
    assert '"excess": 0.25' in (tmp_path / "a.jsonl").read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"kind": "eval", "step": 300}\n', r"a\.jsonl:5: nothing follows the end"),
        (b"[1]\n", r"a\.jsonl:5` must be a JSON object"),
    ],
)
def test_what_cannot_be_a_record_is_refused_on_read(
    tmp_path: Path, line: bytes, message: str
) -> None:
    path = tmp_path / "a.jsonl"
    write(path, *complete())
    with path.open("ab") as file:
        file.write(line)
    with pytest.raises(UsageError, match=message):
        read_run(path)


def test_edited_records_are_refused_on_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, *complete())
    lines = path.read_text().splitlines(keepends=True)
    for broken, message in (
        ([lines[0], lines[2], lines[1]], r":3: steps must rise; got 100 after 200"),
        ([lines[1], lines[2]], r":1: `kind` must be one of \('run',\); got 'eval'"),
        ([lines[0], lines[1].replace('"train_loss"', '"loss"')], ":2: the field `train_loss`"),
        ([*lines[:3], lines[3].replace('"done"', '"finished"')], ":4: `status` must be one of"),
        ([lines[0], lines[1].replace("2.5", "NaN", 1), lines[2]], r":2` is not a line of JSON"),
        ([], "none. Remove it"),
    ):
        path.write_text("".join(broken))
        with pytest.raises(UsageError, match=message):
            read_run(path)


def test_a_full_disk_keeps_whole_lines(tmp_path: Path) -> None:
    # A limit on file size is the full disk that a test may make: the kernel takes a part of the
    # line that crosses it and refuses the next byte.
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.study import test_records as t\n"
        "from redrop.study.records import RecordWriter, write_atomically\n"
        "path = Path(sys.argv[1]); writer = RecordWriter(path, t.header())\n"
        "writer.write(t.evaluation(1))\n"
        "limit = path.stat().st_size + 50\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "for write in (lambda: writer.write(t.evaluation(2)),\n"
        "              lambda: write_atomically(path.with_name('b'), 'x' * 10000)):\n"
        "    try: write()\n"
        "    except ValueError as error: print(error)\n"
    )
    (tmp_path / "b").write_text("old")
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "src"), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.jsonl")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    line, atomic = done.stdout.splitlines()
    assert "disk is full" in line
    assert "2 lines before are kept" in line
    assert "untouched" in atomic
    assert (tmp_path / "a.jsonl").read_bytes().endswith(b"}\n")
    assert [each.step for each in read_run(tmp_path / "a.jsonl").evals] == [1]
    assert (tmp_path / "b").read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.jsonl", "b"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "disk is full: .* 2 lines before are kept"),
        (errno.EROFS, "cannot be written: Read-only file system. The 2 lines"),
    ],
)
def test_a_refused_write_says_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def refuse(file: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    with RecordWriter(tmp_path / "a.jsonl", header()) as writer:
        writer.write(evaluation(100))
        monkeypatch.setattr(records.os, "write", refuse)
        with pytest.raises(UsageError, match=message):
            writer.write(evaluation(200))
        monkeypatch.undo()
        assert writer.steps == {100}
        writer.write(evaluation(200))
    assert len(read_run(tmp_path / "a.jsonl").evals) == 2


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written: .*Nothing was written"):
        RecordWriter(tmp_path / "file" / "a.jsonl", header())
    with pytest.raises(UsageError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "a.json", "{}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        RecordWriter(tmp_path / "a.jsonl", header())


def test_each_line_is_one_write_that_reached_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    write_bytes, sync = os.write, os.fsync

    def counted_write(file: int, data: bytes) -> int:
        calls.append("write")
        assert data.endswith(b"\n")
        assert data.count(b"\n") == 1
        return write_bytes(file, data)

    def counted_sync(file: int) -> None:
        calls.append("fsync")
        sync(file)

    with RecordWriter(tmp_path / "a.jsonl", header()) as writer:
        monkeypatch.setattr(records.os, "write", counted_write)
        monkeypatch.setattr(records.os, "fsync", counted_sync)
        for event in complete():
            writer.write(event)
    assert calls == ["write", "fsync"] * 3


def test_a_run_id_names_its_content() -> None:
    base = run_id({"a": 1, "b": [0.5]}, "data", "1")
    assert base == run_id({"b": [0.5], "a": 1}, "data", "1")
    others = {
        run_id({"a": 1, "b": [0.25]}, "data", "1"),
        run_id({"a": 1, "b": [0.5]}, "other", "1"),
        run_id({"a": 1, "b": [0.5]}, "data", "2"),
    }
    assert len(others | {base}) == 4
    assert len(base) == 12
    with pytest.raises(UsageError, match="finite"):
        run_id({"a": float("nan")}, "data", "1")
