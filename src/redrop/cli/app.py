"""The commands, and what becomes of their errors; commands load their code when they are called."""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

import redrop
from redrop.errors import UsageError

USAGE_ERROR = 2
INTERRUPTED = 130

app = App(
    name="redrop",
    version=redrop.__version__,
    help=redrop.__doc__.partition("\n")[0],
    help_epilogue="Examples:\n\n"
    "  redrop study\n\n"
    "  redrop study my.txt --seeds 8\n\n"
    "  redrop study my-folder --arms none all-0.1 attention_weights-0.1",
    help_format="markdown",
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)
_COMMANDS = {
    "study": (
        "Train matched runs with and without dropout and say what it does to this data.",
        "redrop study my.txt --seeds 8",
    ),
    "train": (
        "Train one model and record its run.",
        "redrop train my.txt --dropout all-0.1 --steps 2000",
    ),
    "generate": (
        "Let a trained model write.",
        'redrop generate runs/my-all-0.1-s0 --prompt "The "',
    ),
    "replay": (
        "Show the mask that any site used at any step of any run.",
        "redrop replay --seed 0 --step 7 --site embedding_dropout --p 0.1 --shape 2,4,8",
    ),
    "report": (
        "Rebuild a study's report from its records, or compare several studies.",
        "redrop report studies/my-1a2b3c4d --json",
    ),
    "export": (
        "Give the records of studies to other programs.",
        "redrop export studies/my-1a2b3c4d --to runs.parquet",
    ),
    "map": (
        "Repeat a study over amounts of data and draw where dropout stops paying.",
        "redrop map markov --amounts 4k 16k 64k",
    ),
    "advise": (
        "Say what published evidence expects for a regime, without training.",
        "redrop advise --params 124M --tokens 10M --epochs 20",
    ),
    "sites": (
        "List the dropout sites of a model, with shapes and rates.",
        "redrop sites my_module:build --input 8,3,32,32",
    ),
    "lab": (
        "See dropout happen, in the browser, with the real masks.",
        "redrop lab studies --export page.html",
    ),
    "robustness": (
        "Measure what losing connections costs the trained networks of a study.",
        "redrop robustness studies/my-1a2b3c4d --rates 0.1 0.3",
    ),
    "recipes": (
        "List what can stand against overfitting, by name.",
        "redrop recipes gpt2",
    ),
    "info": (
        "Say which kernels run on this machine, and why.",
        "redrop info --json",
    ),
}
_FUNCTIONS = {"map": "map_"}
"""Where a command's name is one of Python's own."""

for _name, (_help, _example) in _COMMANDS.items():
    app.command(
        f"redrop.cli.{_name}:{_FUNCTIONS.get(_name, _name)}",
        name=_name,
        help=_help,
        help_epilogue=f"Example: {_example}",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0, 2 for a mistake in its use, 130 for Ctrl-C."""
    try:
        tokens = sys.argv[1:] if arguments is None else arguments
        if tokens and tokens[0] in _COMMANDS:  # the list shows one line, a command its docstring
            app[tokens[0]].help = None
        app(tokens)
    except (UsageError, CycloptsError) as error:
        _fail(f"redrop: {' '.join(str(error).split())}", USAGE_ERROR)
    except KeyboardInterrupt:
        _fail(
            "redrop: interrupted; what was recorded is kept, the same command goes on.", INTERRUPTED
        )
    except BrokenPipeError:  # the reader has gone (`| head`): nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(line: str, code: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(code)
