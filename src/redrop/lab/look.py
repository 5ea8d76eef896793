"""What the page asks about a model that Python computes, read from a query; loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redrop.errors import UsageError
from redrop.mask import mask_key, threshold

MOST_LINKS = 64
MOST_CHARACTERS = 400

Link = tuple[int, int, int, int]
"""Layer, head, query and key of a severed connection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drop:
    """Which masks to apply: those of a step, for one sample of its batch.

    Raises:
        UsageError: A number is out of its range.
    """

    seed: int
    step: int
    sample: int
    p: float

    def __post_init__(self) -> None:
        threshold(self.p)
        mask_key(self.seed, self.step, 0)
        if not 0 <= self.sample < 2**16:
            raise UsageError(f"`sample` must lie in [0, 65536); got {self.sample}.")


def parse_look(query: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of `HuggingFaceModel.look`.

    Raises:
        UsageError: A part is written otherwise, or out of range.

    >>> asked = parse_look({"text": "A dog", "row": "1", "cut": "0-2-1-0", "drop": "7-3-0-0.1"})
    >>> asked["links"], asked["drop"]
    ([(0, 2, 1, 0)], Drop(seed=7, step=3, sample=0, p=0.1))
    """
    try:
        links = [_link(part) for part in query.get("cut", "").split(",") if part]
        drop = _drop(query["drop"]) if query.get("drop") else None
        row = int(query.get("row", "-1"))
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"A look is written as numbers joined by `-`; {error}.") from error
    if len(links) > MOST_LINKS:
        raise UsageError(f"At most {MOST_LINKS} connections are severed at once.")
    return {
        "text": query.get("text", "")[:MOST_CHARACTERS],
        "row": row,
        "links": links,
        "drop": drop,
    }


def _link(text: str) -> Link:
    layer, head, query, key = (_natural(part) for part in text.split("-"))
    return layer, head, query, key


def _drop(text: str) -> Drop:
    seed, step, sample, p = text.split("-", 3)
    return Drop(seed=_natural(seed), step=_natural(step), sample=_natural(sample), p=float(p))


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise ValueError(f"{text[:40]!r} is no whole number")
    return int(text)
