"""The commands, and what becomes of their errors; commands load their code when they are called."""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from redrop import __version__
from redrop.errors import UsageError

USAGE_ERROR = 2
INTERRUPTED = 130

app = App(
    name="redrop",
    version=__version__,
    help="Replayable, near-free dropout for PyTorch, and the lab that says whether a model needs it.",
    help_epilogue=(
        "Examples:\n\n"
        "  redrop study                       the embedded text, about 4 minutes on 2 cores\n\n"
        "  redrop study my.txt --seeds 8      your own text\n\n"
        "  redrop replay --seed 0 --step 7 --site embedding_dropout --p 0.1 --shape 2,4,8\n\n"
        "  redrop info                        which kernels run here, and why"
    ),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)
for _name, _help in {
    "study": "Train matched runs with and without dropout and say what it does to this data.",
    "train": "Train one model and record its run.",
    "generate": "Let a trained model write.",
    "replay": "Show the mask that any site used at any step of any run.",
    "report": "Rebuild a study's report from its records.",
    "info": "Say which kernels run on this machine, and why.",
}.items():
    app.command(f"redrop.cli.{_name}:{_name}", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0, 2 for a mistake in its use, 130 for Ctrl-C."""
    try:
        app(arguments)
    except (UsageError, CycloptsError) as error:
        _fail(f"redrop: {' '.join(str(error).split())}", USAGE_ERROR)
    except KeyboardInterrupt:
        _fail("redrop: interrupted; what was recorded is kept, the same command goes on.", INTERRUPTED)
    except BrokenPipeError:  # the reader has gone (`| head`): nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(line: str, code: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(code)
