import json
import subprocess
import sys

import pytest
from cyclopts import App

from redrop.cli.advise import advise
from redrop.errors import UsageError
from redrop.study.prior import LABEL
from tests.cli.command import ENVIRONMENT, redrop

EXAMPLE = ["--params", "124M", "--tokens", "10M", "--epochs", "20"]
OPTIMIZER = ["--batch", "24x1024", "--learning-rate", "6e-4", "--weight-decay", "0.1"]


def call(*arguments: str) -> None:
    app = App(exit_on_error=False, print_error=False, result_action="return_value")
    app.default(advise)
    app(list(arguments))


def test_the_example_of_the_manual(capsys: pytest.CaptureFixture[str]) -> None:
    call(*EXAMPLE)
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("124 M", "10 M", "200 M tokens read", "119 M tokens", "12.4 per unique token"):
        assert words in shown
    assert "test p = 0, 0.1, 0.2, 0.3" in shown
    assert LABEL in shown
    assert "arxiv.org" in shown


def test_it_is_a_command() -> None:
    done = redrop("advise", *EXAMPLE)
    assert done.returncode == 0, done.stderr
    assert LABEL in " ".join(done.stdout.split())
    wrong = redrop("advise", "--epochs", "20")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("redrop: Data are counted in --tokens or in --samples")
    assert wrong.stderr.count("\n") == 1


def test_the_optimizer_gives_the_timescale(capsys: pytest.CaptureFixture[str]) -> None:
    call(*EXAMPLE)
    assert "Timescale" not in capsys.readouterr().out
    call(*EXAMPLE, *OPTIMIZER)
    # 1 / (6e-4 * 0.1 * 10^7 / 24576)
    assert "41 epochs" in capsys.readouterr().out


def test_json_is_one_document_that_says_it_is_a_prior(capsys: pytest.CaptureFixture[str]) -> None:
    call(*EXAMPLE, *OPTIMIZER, "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["prior"]["label"] == LABEL
    assert told["prior"]["rates"] == [0.0, 0.1, 0.2, 0.3]
    assert told["regime"]["parameters"] == 124_000_000
    assert told["regime"]["decay_epochs"] == pytest.approx(40.96)


def test_samples_are_counted_too(capsys: pytest.CaptureFixture[str]) -> None:
    call("--samples", "1797", "--epochs", "50", "--fine-tune")
    shown = capsys.readouterr().out
    assert "Samples, unique" in shown
    assert "fine-tuning" in shown
    assert "Worth of repeats" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "3"], "got neither"),
        (["--tokens", "1M", "--samples", "5", "--epochs", "3"], "got both"),
        (["--tokens", "many", "--epochs", "3"], "`tokens` must be a number"),
        (["--tokens", "1M", "--epochs", "0"], "`epochs` must be a positive number"),
        (["--tokens", "1M", "--epochs", "3", "--params", "-1"], "`params` must be a number"),
        (["--tokens", "1M", "--epochs", "3", "--batch", "24x"], "`batch` must be a number"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call(*arguments)


def test_it_loads_neither_torch_nor_scipy_nor_matplotlib() -> None:
    code = (
        "import sys; from redrop.cli.advise import advise; "
        "advise(tokens='10M', params='124M', epochs=20.0); "
        "sys.exit(', '.join({'torch', 'scipy', 'matplotlib'} & set(sys.modules)) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Epochs" in done.stdout
