import json
import os
import random
import resource
import signal
import subprocess
import time

import pytest

from redrop.study.records import read_study
from tests.cli.command import COMMAND, ENVIRONMENT, TINY, redrop, start

SMALL = ["study", "markov:4000", "--steps=40", "--seeds=2", "--arms", "none", "all-0.3", *TINY]
LONGER = ["study", "markov:4000", "--steps=400", "--seeds=2", "--arms", "none", "all-0.3", *TINY]


def losses(folder):
    """The report as JSON without times: the same for every undisturbed or resumed study."""
    return {
        run.path.name: [
            (e.step, e.train_loss, e.train_eval_loss, e.validation_loss) for e in run.evals
        ]
        + [(run.end.status, run.end.best_step, run.end.test_loss_best, run.end.test_loss_final)]
        for run in read_study(folder).runs
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    result = redrop(*SMALL, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_it_prints_a_table_a_verdict_and_where_the_report_lies(finished):
    folder, result = finished
    (study,) = (folder / "studies").glob("*/")
    assert "none" in result.stdout
    assert "all-0.3" in result.stdout
    assert "nats" in result.stdout
    assert f"Report: studies/{study.name}/report.html" in result.stdout
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "redrop study markov:4000" in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_same_command_again_computes_nothing_and_says_the_same(finished):
    folder, first = finished
    again = redrop(*SMALL, cwd=folder)
    assert again.stdout == first.stdout
    assert again.stderr == ""


def test_json_is_one_document_on_standard_output(finished):
    folder, _ = finished
    report = json.loads(redrop(*SMALL, "--json", cwd=folder).stdout)
    (study,) = (folder / "studies").glob("*/")
    assert report == json.loads((study / "report.json").read_text(encoding="utf-8"))


def test_report_rebuilds_the_same_bytes_from_the_records(finished):
    folder, first = finished
    (study,) = (folder / "studies").glob("*/")
    page = (study / "report.html").read_bytes()
    (study / "report.html").unlink()
    assert redrop("report", f"studies/{study.name}", cwd=folder).stdout == first.stdout
    assert (study / "report.html").read_bytes() == page


def test_a_trained_arm_can_write(finished):
    folder, _ = finished
    (study,) = (folder / "studies").glob("*/")
    write = ["generate", str(study), "--arm=all-0.3", "--run-seed=1", "--length=50", "--prompt=ab"]
    first, second = redrop(*write), redrop(*write)
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.strip("\n")) == 52
    assert first.stdout == second.stdout


def test_ctrl_c_is_130_and_the_same_command_goes_on(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    assert redrop(*LONGER, f"--out={undisturbed}").returncode == 0
    process = start(*LONGER, "--out=study", cwd=tmp_path)
    _wait_for_evaluations(tmp_path / "study", 3)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; what was recorded is kept" in error
    assert "Traceback" not in error
    assert read_study(tmp_path / "study").missing
    assert redrop(*LONGER, "--out=study", cwd=tmp_path).returncode == 0
    assert losses(tmp_path / "study") == losses(undisturbed)


@pytest.mark.slow
def test_a_study_that_is_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    assert redrop(*LONGER, f"--out={undisturbed}").returncode == 0
    moment = random.Random(0)
    for _ in range(5):
        process = start(*LONGER, "--out=study", cwd=tmp_path)
        time.sleep(moment.uniform(2, 8))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert redrop(*LONGER, "--out=study", cwd=tmp_path).returncode == 0
    assert losses(tmp_path / "study") == losses(undisturbed)


def _wait_for_evaluations(folder, count):
    for _ in range(600):
        lines = [line for p in folder.glob("runs/*.jsonl") for line in p.read_text().splitlines()]
        if sum('"eval"' in line for line in lines) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {count} evaluations in {folder}")


def test_bad_data_are_one_clear_line(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(b"\x00\x01\x02" * 1000)
    (tmp_path / "latin.txt").write_bytes("größer".encode("latin-1") * 500)
    (tmp_path / "short.txt").write_text("too short")
    for name, said in {
        "missing.txt": "does not exist",
        "empty.txt": "empty",
        "binary.txt": "binary",
        "latin.txt": "UTF-8",
        "short.txt": "too short",
    }.items():
        result = redrop("study", name, *TINY, cwd=tmp_path)
        assert result.returncode == 2, name
        assert said in result.stderr, name
        assert len(result.stderr.splitlines()) == 1, name
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--arms", "none", "all-1.5"], "`p` must lie in [0, 1]; got 1.5"),
        (["--arms", "none", "all-nan"], "`p` must lie in [0, 1]; got nan"),
        (["--arms", "none", "everywhere-0.1"], "An arm is the name of a recipe or `setting-value`"),
        (["--arms", "none"], "at least two different arms"),
        (["--seeds", "0"], "at least one"),
        (["--workers", "0"], "`workers` must be at least 1; got 0"),
        (["--norm", "layer"], 'Invalid value "layer" for --norm. Choose from'),
        (["--steps", "0"], "`steps` must be an integer of at least 1; got 0"),
        (["--tokenizer", "words"], "tokenizer"),
    ],
)
def test_bad_settings_are_one_clear_line(tmp_path, arguments, said):
    result = redrop("study", "markov:4000", *TINY, *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_of_another_study_or_version_is_refused_and_untouched(finished, tmp_path):
    folder, _ = finished
    (study,) = (folder / "studies").glob("*/")
    before = sorted((p.name, p.read_bytes()) for p in study.rglob("*") if p.is_file())
    other = [word.replace("--steps=40", "--steps=41") for word in SMALL]
    result = redrop(*other, f"--out={study}")
    assert result.returncode == 2
    assert "A study folder holds one study" in result.stderr
    assert "steps" in result.stderr
    assert sorted((p.name, p.read_bytes()) for p in study.rglob("*") if p.is_file()) == before

    plan = json.loads((study / "study.json").read_text(encoding="utf-8"))
    plan["versions"]["redrop"] = "0.0.1"
    (tmp_path / "study.json").write_text(json.dumps(plan))
    result = redrop(*SMALL, f"--out={tmp_path}")
    assert result.returncode == 2
    assert "versions.redrop = '0.0.1'" in result.stderr


def test_a_record_that_is_cut_loses_its_last_line_only(finished, tmp_path):
    folder, _ = finished
    (study,) = (folder / "studies").glob("*/")
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(study), str(copy)], check=True)
    cut = sorted((copy / "runs").iterdir())[0]
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-20])
    assert redrop(*SMALL, f"--out={copy}").returncode == 0
    assert losses(copy) == losses(study)
    lines = whole.splitlines(keepends=True)
    cut.write_bytes(lines[0] + b'{"kind": "ev\n' + b"".join(lines[1:]))
    result = redrop("report", str(copy))
    assert result.returncode == 2
    assert f"{cut}:2" in result.stderr


def test_a_full_disk_is_one_clear_line_and_the_study_goes_on_later(tmp_path):
    def limit_file_size():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    result = subprocess.run(
        [*COMMAND, *SMALL, "--out=study"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        preexec_fn=limit_file_size,
        check=False,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "make room" in result.stderr.lower()
    assert redrop(*SMALL, "--out=study", cwd=tmp_path).returncode == 0
    assert read_study(tmp_path / "study").missing == ()
