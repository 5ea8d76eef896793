"""`redrop replay`."""

import json
import math
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from redrop.cli.options import Json
from redrop.errors import UsageError
from redrop.mask import mask_key
from redrop.mask import replay as replay_mask

MOST_SHOWN = 128
"""Columns and rows of a mask that fit on a screen; more is cut, and says so."""
MOST_ELEMENTS = 2**25
"""Of a mask that is made whole; half as many took 8 s and 1.5 GB."""


def replay(
    *,
    seed: int,
    step: int,
    site: str,
    p: float,
    shape: str,
    pass_: Annotated[int, Parameter(name="--pass")] = 0,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Show the mask that any site used at any step of any run.

    The mask follows from these integers alone (SPEC.md); nothing is read from the run.

    Args:
        seed: Of the run.
        step: The optimizer step.
        site: Qualified name of the dropout module.
        p: Probability of dropping at that step.
        shape: Sizes of the tensor that was dropped, separated by commas.
        pass_: Which use of the site in that step; 0 is the first.
        out: Write the mask to this .npy file (boolean, True = kept).
        json_: Print one JSON document on standard output.
    """
    sizes = _parse_shape(shape)
    kept = replay_mask(seed=seed, step=step, site=site, p=p, shape=sizes, pass_=pass_)
    if out is not None:
        _save(out, kept)
    facts = {
        "seed": seed,
        "step": step,
        "site": site,
        "pass": pass_,
        "p": p,
        "shape": list(sizes),
        "mask_key": f"{mask_key(seed, step, site, pass_):016x}",
        "dropped": int(kept.size - kept.sum()),
        "elements": int(kept.size),
    }
    if json_:
        print(json.dumps({**facts, "keep": kept.astype(int).tolist()}))
        return
    print(f"{site}, step {step}, pass {pass_}, seed {seed}: mask key {facts['mask_key']}")
    print(f"{facts['dropped']} of {facts['elements']} dropped (· = dropped, █ = kept)")
    _draw(kept)


def _parse_shape(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = (-1,)
    if min(sizes) < 0:
        raise UsageError(f"`shape` is a list of sizes such as 2,8,64,64; got {text!r}.")
    if math.prod(sizes) > MOST_ELEMENTS:
        raise UsageError(
            f"`shape` may have at most {MOST_ELEMENTS:,} elements; got {text}. In Python, "
            "`redrop.replay(…, window=…)` makes a part of a larger mask."
        )
    return sizes


def _draw(kept: np.ndarray) -> None:
    if kept.size == 0:  # no row to draw, and NumPy cannot say how many there are
        return
    rows = kept.reshape(-1, kept.shape[-1])
    for row in rows[:MOST_SHOWN]:
        print("".join("█" if bit else "·" for bit in row[:MOST_SHOWN]))
    if rows.shape[0] > MOST_SHOWN or rows.shape[1] > MOST_SHOWN:
        print(
            f"(the first {MOST_SHOWN} rows and columns; --out or --json give all)", file=sys.stderr
        )


def _save(out: Path, kept: np.ndarray) -> None:
    try:
        with out.open("wb") as file:
            np.save(file, kept)
    except OSError as error:
        raise UsageError(f"`{out}` cannot be written: {error.strerror}.") from error
