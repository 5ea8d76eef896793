"""`redrop sites`."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from redrop.cli.options import Json, Words
from redrop.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from redrop.integrations import SiteInfo

_DTYPES = ("float", "long", "bool")
_SAMPLES = 2
_TOKENS = 16


def sites(
    model: str,
    *,
    input_: Annotated[Words, Parameter(name="--input")] = (),
    json_: Json = False,
) -> None:
    """List the dropout sites of a model: kind, rate, shape and what each touches.

    The model runs once, in training mode, and nothing is trained. Sites are dropout layers,
    attention layers and function calls inside forwards; each can be set in a study by this name.

    Args:
        model: my_module:build (a function, class or module of yours, looked for in the current
            directory first), hf:FOLDER, hf:gpt2 or hf:gpt2:n_layer=2,n_embd=64 (Hugging Face; needs
            redrop[hf]), or the folder of a run (of a study: its first one).
        input_: Shapes of what the model reads, such as 2,3,32,32; token numbers are 2,16:long, a
            mask is 2,16:bool, by keyword it is input_ids=2,16:long. A function of yours may return
            the pair (model, inputs) instead.
        json_: Print one JSON document on standard output.
    """
    from redrop.integrations import convert, find_sites

    network, example = _load(model)
    if input_:
        example = parse_inputs(input_)
    if example is None:
        raise UsageError(
            "A model of yours has to be run once; say what it reads, such as --input 2,3,32,32 or "
            "--input 2,16:long."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say of the model is printed below
        conversion = convert(network)
        found = find_sites(network, example)
    outside = conversion.outside
    if not found:
        raise UsageError(_no_site(network, outside))
    if json_:
        listed = [asdict(site) for site in found]
        total = {"sites": len(found), "elements": sum(site.elements for site in found)}
        print(json.dumps({"model": model, "sites": listed, "total": total, "outside": outside}))
        return
    _print(found, outside)


def _load(source: str) -> tuple[nn.Module, Any]:
    """Return a model and what it can be run on, where that is known."""
    import torch

    if source.startswith("hf:"):
        from redrop.integrations.hugging_face import load_causal_lm

        return load_causal_lm(source[3:]), torch.zeros(_SAMPLES, _TOKENS, dtype=torch.int64)
    if ":" in source and not Path(source).exists():
        return _build(source)
    if not Path(source).is_dir():
        raise UsageError(
            "A model is named my_module:build, hf:FOLDER_OR_TYPE or by the directory of a run; got "
            f"{source!r}, which is no directory."
        )
    return _trained(Path(source))


def _trained(folder: Path) -> tuple[nn.Module, Any]:
    from redrop.study.plan import planned_runs
    from redrop.study.schema import read_plan
    from redrop.train.checkpoint import latest_checkpoint
    from redrop.train.load import load_trained

    plan = read_plan(folder)
    runs = [] if plan is None else [folder / "checkpoints" / r.name for r in planned_runs(plan)]
    # A folder that is no run's says so itself, in the message of `load_trained`.
    chosen = next((run for run in runs if latest_checkpoint(run) is not None), folder)
    model = load_trained(chosen, which="last").model
    return model, _example_of(model)


def _build(spec: str) -> tuple[nn.Module, Any]:
    from torch import nn

    from redrop.integrations import load_object
    from redrop.integrations.load_object import first_line

    built: Any = load_object(spec)
    if callable(built) and not isinstance(built, nn.Module):
        try:
            built = built()
        except UsageError:
            raise
        except Exception as error:  # whatever the user's function raises
            raise UsageError(
                f"`{spec}` is called without arguments and must return a model; it raised "
                f"{first_line(error)}."
            ) from error
    example = None
    if isinstance(built, tuple) and len(built) == 2:
        built, example = built
    if not isinstance(built, nn.Module):
        raise UsageError(
            f"`{spec}` must give a torch.nn.Module, or the pair (module, inputs); it gave "
            f"{type(built).__name__}."
        )
    return built, example


def _example_of(model: nn.Module) -> Tensor:
    """Return zeros that a network of redrop's own reads."""
    import torch

    config: Any = model.config
    if hasattr(config, "vocab_size"):
        return torch.zeros(_SAMPLES, config.context, dtype=torch.int64)
    if hasattr(config, "image_size"):
        size = config.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return torch.zeros(_SAMPLES, config.channels, height, width)
    return torch.zeros(_SAMPLES, config.features)


def parse_inputs(texts: tuple[str, ...]) -> Any:
    """Return zeros of the shapes and types that `--input` names.

    Raises:
        UsageError: It is written otherwise, or some have a keyword and some have none.

    >>> [tuple(x.shape) for x in parse_inputs(("2,3", "4:long"))]
    [(2, 3), (4,)]
    >>> parse_inputs(("ids=1,2:long",))["ids"]
    tensor([[0, 0]])
    """
    named: dict[str, Tensor] = {}
    plain: list[Tensor] = []
    for text in texts:
        name, equals, rest = text.rpartition("=")
        if equals:
            named[name] = _zeros(rest)
        else:
            plain.append(_zeros(rest))
    if named and plain:
        raise UsageError(
            f"Inputs are either all given by keyword or none; got {' '.join(texts)!r}."
        )
    return named or tuple(plain)


def _zeros(text: str) -> Tensor:
    import torch

    sizes, _, dtype = text.partition(":")
    dtype = dtype or "float"
    parts = [part.strip() for part in sizes.split(",") if part.strip()]
    if dtype not in _DTYPES or not parts or not all(part.isdecimal() for part in parts):
        raise UsageError(
            "`--input` takes sizes, and a type of float, long or bool where it is not float, such "
            f"as 2,3,32,32 or 2,16:long; got {text!r}."
        )
    # Zeros of token numbers are in every vocabulary; of floats, ones keep a norm away from 0 / 0.
    shape = [int(part) for part in parts]
    if dtype == "float":
        return torch.ones(shape)
    return torch.zeros(shape, dtype=torch.int64 if dtype == "long" else torch.bool)


def _no_site(model: nn.Module, outside: dict[str, str]) -> str:
    text = (
        f"{type(model).__name__} has no dropout site: no dropout or attention layer, and its "
        "forward calls no dropout function."
    )
    if outside:
        return f"{text} {_outside(outside)}"
    return f"{text} Add torch.nn.Dropout(0.0) where dropout could be; a study sets its rate."


def _outside(outside: dict[str, str]) -> str:
    return " ".join(f"`{name}` stays outside: {reason}." for name, reason in outside.items())


def _print(found: tuple[SiteInfo, ...], outside: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("site", overflow="fold")
    table.add_column("kind")
    for title in ("p", "shape", "elements", "calls"):
        table.add_column(title, justify="right", no_wrap=True)
    for site in found:
        shape = "–" if site.shape is None else " × ".join(map(str, site.shape)) or "1"
        row = (site.name, site.kind, f"{site.p:g}", shape, f"{site.elements:,}", str(site.calls))
        table.add_row(*row)
    # A file or a pipe has no width: nothing is folded there.
    console = Console() if sys.stdout.isatty() else Console(width=max(map(_width, found)))
    console.print(table, highlight=False, markup=False)
    active = sum(site.p > 0 for site in found)
    print(
        f"{len(found)} {'site' if len(found) == 1 else 'sites'}, {active} with p > 0; "
        f"{sum(site.elements for site in found):,} elements per forward"
    )
    for name, reason in outside.items():
        print(f"`{name}` stays outside: {reason}.", file=sys.stderr)


def _width(site: SiteInfo) -> int:
    return len(site.name) + len(str(site.shape)) + 80
