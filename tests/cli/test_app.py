import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import redrop as package
from tests.cli.command import redrop

COMMANDS = ["study", "train", "generate", "replay", "report", "export", "map", "advise", "sites"]
COMMANDS += ["lab", "recipes", "info"]


def test_help_names_every_command_and_gives_examples():
    result = redrop("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert command in result.stdout
    assert "redrop study my.txt --seeds 8" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text_with_an_example(command):
    result = redrop(command, "--help")
    assert result.returncode == 0, result.stderr
    assert f"redrop {command}" in result.stdout.partition("Example")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_says_all_of_its_docstring(command):
    function = getattr(
        import_module(f"redrop.cli.{command}"), {"map": "map_"}.get(command, command)
    )
    said = inspect.getdoc(function).partition("\nArgs:")[0].replace("`", "")
    assert " ".join(said.split()) in " ".join(redrop(command, "--help").stdout.split())


def test_version():
    assert redrop("--version").stdout.strip() == package.__version__


@pytest.mark.parametrize(
    "code",
    [
        "import redrop",
        "import redrop.cli.app",
        "import redrop.cli.study, redrop.cli.train, redrop.cli.recipes, redrop.study.choose",
    ],
)
def test_torch_is_not_loaded_before_it_is_needed(code):
    check = f"{code}\nimport sys\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["studdy"], 'redrop: Unknown command "studdy". Did you mean "study"?'),
        (["study", "--stps", "3"], "Did you mean --steps?"),
        (["replay", "--seed", "x"], 'unable to convert "x" into int'),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(arguments, line):
    result = redrop(*arguments)
    assert result.returncode == 2
    assert line in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_names_of_the_package_are_what_they_were():
    assert package.__all__ == sorted(package.__all__, key=lambda n: (n.lower() != n.upper(), n))
