"""The documents are executed: their Python, and their claims about files."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["README.md"])
def test_its_python_runs(name):
    failed, attempted = doctest.testfile(str(ROOT / name), module_relative=False)
    assert attempted > 0
    assert failed == 0


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SPEC.md"])
def test_its_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target


def test_its_make_commands_have_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|`)make (\w+)", readme, re.MULTILINE)  # not "to make a network"
    assert len(commands) >= 2
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.MULTILINE), command


def test_the_first_lesson_runs_and_says_what_it_should():
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / "first_dropout.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    values = [float(v) for v in re.findall(r"[\d.]+(?=[,\]])", result.stdout.splitlines()[0])]
    assert len(values) == 10
    assert set(values) == {0.0, 2.0}
    assert "identity in eval mode: True" in result.stdout
