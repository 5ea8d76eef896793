"""Tables: rows with a label, of scikit-learn's embedded sets or the user's CSV or Parquet file."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from redrop.data.sample_split import SHARE, SampleSplit, content_sha256, split_samples
from redrop.data.samples import Part, Samples, standardise_targets
from redrop.data.table_encoding import encode_column
from redrop.data.table_source import EMBEDDED, EMBEDDED_TARGET, Column, read_table
from redrop.errors import UsageError

CLASSES_MOST = 100
CATEGORIES_MOST = 50
"""Different texts in a column; more are names or free text, and a column each would drown the
others."""
LARGEST = 1e150
"""Squares of larger numbers overflow."""
ROWS_NAMED = 5

Kind = Literal["classification", "regression"]


def load_table(
    source: str | Path,
    *,
    target: str | None = None,
    kind: Kind | None = None,
    split_seed: int = 0,
    validation: float = SHARE,
    test: float = SHARE,
    limit: int | None = None,
) -> Samples:
    """Load a table, split its rows at random (by class), and encode its columns as numbers.

    Encoding uses statistics of the training part alone; see `redrop.data.table_encoding`. Columns
    that look like row numbers or names are left out, and `notes` says which.

    Args:
        source: `iris`, `wine`, `breast_cancer`, `diabetes` (scikit-learn's), or the path of a .csv,
            .tsv or .parquet file. A missing value is an empty field or NA, N/A, NaN, NULL or ?.
        target: The column to predict; None: the last one.
        kind: None: text, true/false and integers are classes, other numbers are values.
        split_seed: Of the split, 0 <= split_seed < 2^64; the same for every run of a study.
        validation: Share of the rows for validation.
        test: Share of the rows for test.
        limit: Train on at most so many rows; validation and test stay as they are.

    Shape:
        inputs are (N, F), targets (N,): classes, or values in deviations of the training part.

    Randomness:
        (split_seed, features of a row) decide its part, wherever it stands.

    Raises:
        UsageError: The table cannot be read, has no such column, lacks labels or features, has one
            class or too many, a package is missing, or an argument is out of range.

    >>> load_table("iris").classes
    ('setosa', 'versicolor', 'virginica')
    >>> load_table("diabetes").features[:3]
    ('age', 'sex', 'bmi')
    """
    name, columns = read_table(source)
    labels, columns, notes = _choose(name, columns, target)
    if isinstance(source, str) and source in EMBEDDED and labels.name == EMBEDDED_TARGET:
        notes = []  # nobody expects another column
    values, classes = _labels(labels, kind)
    columns = _usable(columns, notes)
    digests = _digests(columns, len(values))
    rows = split_samples(
        digests, values, seed=split_seed, validation=validation, test=test, limit=limit
    )
    inputs, features = _encode(columns, rows, notes)
    mean, scale = 0.0, 1.0
    targets = values
    if classes is None:
        targets, mean, scale = standardise_targets(values, rows.train, labels.name)
    train, validation_part, test_part = (
        Part(inputs=torch.from_numpy(inputs[part]), targets=torch.from_numpy(targets[part]))
        for part in (rows.train, rows.validation, rows.test)
    )
    words = values.tolist() if classes is None else [classes[index] for index in values.tolist()]
    return Samples(
        name=name,
        sha256=content_sha256(digests, words),
        train=train,
        validation=validation_part,
        test=test_part,
        classes=classes,
        features=features,
        target=labels.name,
        target_mean=mean,
        target_scale=scale,
        split_seed=split_seed,
        duplicates=len(digests) - len(set(digests)),
        notes=tuple(notes),
    )


def _choose(
    name: str, columns: list[Column], target: str | None
) -> tuple[Column, list[Column], list[str]]:
    """Return the target, the other columns, and notes."""
    names = [column.name for column in columns]
    listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    if len(columns) < 2:
        raise UsageError(
            f"A table needs a feature and a target; {name!r} has one column: {listed}."
            " Are its lines of one length, and its columns separated by commas?"
        )
    notes = []
    if target is None:
        target = names[-1]
        notes.append(f"The target is the last column, {target!r}: no other was named.")
    if target not in names:
        raise UsageError(
            f"`target` must be a column of {name!r}; got {target!r}. Pass one of: {listed}."
        )
    place = names.index(target)
    return columns[place], columns[:place] + columns[place + 1 :], notes


def _labels(column: Column, kind: Kind | None) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    """Return int64 classes and their names, or float64 values and None."""
    if kind not in (None, "classification", "regression"):
        raise UsageError(
            f"`kind` is classification or regression; got {kind!r}. Leave it out to let the type"
            " of the target decide."
        )
    if column.kind == "other":
        raise UsageError(
            f"The target must be numbers or text; {column.name!r} holds dates, lists or bytes."
            " Name another column as `target`."
        )
    if len(column.values) == 0:
        raise UsageError("A table needs rows; this one has none. Check the file.")
    if (missing := column.missing).any():
        raise UsageError(
            f"Every row needs a label; {_rows(missing)} of {column.name!r}."
            " Fill them in, or remove these rows."
        )
    if column.kind != "text":
        _check_size(column)
    if kind is None:
        kind = "regression" if column.kind == "number" else "classification"
    if kind == "regression":
        if column.kind == "text":
            raise UsageError(
                f"A regression predicts numbers; {column.name!r} holds text."
                " Pass `--predict classes` (in Python kind='classification'), or name another"
                " column as `target`."
            )
        return column.values, None
    return _classes(column)


def _classes(column: Column) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    distinct, indices = np.unique(column.values, return_inverse=True)
    count = len(distinct)
    if count < 2:
        raise UsageError(
            f"A classification needs at least two classes; all rows of {column.name!r} are"
            f" {_word(distinct[0])!r}. Name another column as `target`."
        )
    if count > CLASSES_MOST or 2 * count > len(indices):
        instead = (
            ""
            if column.kind == "text"
            else "pass `--predict values` (in Python kind='regression'), or "
        )
        raise UsageError(
            f"A classification has at most {CLASSES_MOST} classes and two rows of each on average;"
            f" {column.name!r} has {count} different values in {len(indices)} rows."
            f" To predict it, {instead}merge classes; or name another column as `target`."
        )
    return indices.astype(np.int64), tuple(_word(value) for value in distinct)


def _word(value: object) -> str:
    """The name of a class: 1.0 is "1", 0.5 "0.5"."""
    if not isinstance(value, float):
        return str(value)
    return str(int(value)) if value.is_integer() else repr(float(value))


def _usable(columns: list[Column], notes: list[str]) -> list[Column]:
    """Leave out columns that name a row and do not describe it; say so in the notes."""
    kept = []
    for column in columns:
        if reason := _reason_against(column):
            notes.append(f"Column {column.name!r} was left out: {reason}.")
            continue
        if column.kind != "text":
            _check_size(column)
        kept.append(column)
    if not kept:
        raise UsageError("A table needs a feature; none is left. " + " ".join(notes))
    return kept


def _reason_against(column: Column) -> str | None:
    if column.kind == "other":
        return "dates, lists and bytes are not read"
    present = column.values[~column.missing]
    count = len(set(present.tolist()))
    if column.kind == "text" and (count > CATEGORIES_MOST or (count == len(present) and count > 2)):
        return f"{count} different texts in {len(present)} rows are names or free text"
    if column.kind == "integer" and count == len(column.values) and count > 2:
        if present.max() - present.min() == count - 1:
            return "it numbers the rows"
        if column.name.lower() == "id" or column.name.lower().endswith(("_id", " id")):
            return "its name ends in id and its values are all different"
    return None


def _check_size(column: Column) -> None:
    if (strange := np.abs(column.values) > LARGEST).any():
        raise UsageError(
            f"Numbers must be finite and below {LARGEST:g}; {column.name!r} has"
            f" {column.values[strange][0]} in data row {int(np.flatnonzero(strange)[0]) + 1}."
            " Correct it, or leave the field empty."
        )


def _digests(columns: list[Column], count: int) -> list[bytes]:
    """SHA-256 of the features of each row as read."""
    numbers = [column.values for column in columns if column.kind != "text"]
    texts = [column.values for column in columns if column.kind == "text"]
    # + 0.0 makes −0.0 and 0.0 one value, as they are to the network
    matrix = np.column_stack(numbers) + 0.0 if numbers else np.empty((count, 0))
    matrix[np.isnan(matrix)] = np.nan  # of the many bit patterns of NaN, one
    return [
        hashlib.sha256(
            matrix[row].tobytes() + json.dumps([text[row] for text in texts]).encode()
        ).digest()
        for row in range(count)
    ]


def _encode(
    columns: list[Column], rows: SampleSplit, notes: list[str]
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return (N, F) inputs and the names of the F features; add to the notes."""
    encoded = [encode_column(column, rows.train) for column in columns]
    notes.extend(note for column in encoded for note in column.notes)
    features = tuple(name for column in encoded for name in column.names)
    if not features:
        raise UsageError("A table needs a feature; none is left. " + " ".join(notes))
    inputs = np.column_stack([column.values for column in encoded]).astype(np.float32)
    return inputs, features


def _rows(missing: NDArray[np.bool_]) -> str:
    """Say which data rows lack a value; the header line is not counted."""
    rows = (np.flatnonzero(missing) + 1).tolist()
    named = ", ".join(map(str, rows[:ROWS_NAMED])) + (", …" if len(rows) > ROWS_NAMED else "")
    if len(rows) == 1:
        return f"data row {named} lacks that"
    return f"{len(rows)} rows (data rows {named}) lack that"
