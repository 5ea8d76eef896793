"""Columns to numbers, by what the training part shows and nothing else.

    number   (v − mean) / deviation; a missing value becomes the training median first
    text     one column per category of the training part, 1 where the value is it; a category that
             training never saw, and a missing text, are all zeros
    missing  a column more, 1 where the value is missing, if training misses any

A column that is constant in training is left out: nothing can be learned from it, and what it does
in the held-out parts would only be noise to the network.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from redrop.data.table_source import Column

CONSTANT = 1e-12
"""Of the largest value: below this a deviation is rounding error."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoding:
    """What became of one column.

    Args:
        names: Of the columns made of it; none if it was left out.
        values: (N, len(names)) float64.
        notes: What the reader of a result should know.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    notes: tuple[str, ...] = ()


def encode_column(column: Column, train: NDArray[np.int64]) -> Encoding:
    """Encode one column by the statistics of the rows `train`.

    >>> heights = Column(name="height", kind="number", values=np.array([1.0, 3, 7, np.nan]))
    >>> encoded = encode_column(heights, train=np.array([0, 1]))
    >>> encoded.names, encoded.values.ravel().tolist()
    (('height',), [-1.0, 1.0, 5.0, 0.0])
    >>> encoded.notes
    ("1 missing values of 'height' became the training median 2.",)
    """
    encoded = _text(column, train) if column.kind == "text" else _number(column, train)
    missing = column.missing
    is_flagged = bool(missing[train].any() and not missing[train].all())
    parts = [(f"{column.name} missing", missing.astype(np.float64))] if is_flagged else []
    if not encoded.names and not parts:
        note = f"Column {column.name!r} was left out: it is constant in training."
        return Encoding(names=(), values=encoded.values, notes=(note,))
    return Encoding(
        names=encoded.names + tuple(name for name, _ in parts),
        values=np.column_stack([encoded.values, *(values for _, values in parts)]),
        notes=encoded.notes,
    )


def _number(column: Column, train: NDArray[np.int64]) -> Encoding:
    missing = column.missing
    seen = column.values[train][~missing[train]]
    nothing = Encoding(names=(), values=np.empty((len(column.values), 0)))
    if seen.size == 0:
        return nothing
    median = float(np.median(seen))
    filled = np.where(missing, median, column.values)
    mean, deviation = filled[train].mean(), filled[train].std()
    if not deviation > CONSTANT * np.abs(filled[train]).max():
        return nothing
    notes = []
    if count := int(missing.sum()):
        flagged = ", and a column flags them" if missing[train].any() else ""
        notes.append(
            f"{count} missing values of {column.name!r} became the training median"
            f" {median:g}{flagged}."
        )
    values = ((filled - mean) / deviation)[:, None]
    return Encoding(names=(column.name,), values=values, notes=tuple(notes))


def _text(column: Column, train: NDArray[np.int64]) -> Encoding:
    seen = sorted({value for value in column.values[train] if value is not None})
    if len(seen) < 2:
        return Encoding(names=(), values=np.empty((len(column.values), 0)))
    place = {category: index for index, category in enumerate(seen)}
    values = np.zeros((len(column.values), len(seen)))
    unseen = 0
    for row, value in enumerate(column.values):
        if value in place:
            values[row, place[value]] = 1.0
        elif value is not None:
            unseen += 1
    notes = []
    if unseen:
        notes.append(
            f"{unseen} held-out rows have a category of {column.name!r} that training never saw."
        )
    names = tuple(f"{column.name}={category}" for category in seen)
    return Encoding(names=names, values=values, notes=tuple(notes))
