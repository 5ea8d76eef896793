"""Columns of a table as its source has them: scikit-learn's embedded sets, CSV, Parquet."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from redrop.data.optional import import_optional
from redrop.errors import UsageError

EMBEDDED = ("iris", "wine", "breast_cancer", "diabetes")
EMBEDDED_TARGET = "target"
SUFFIXES = (".csv", ".tsv", ".parquet")
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "?")
"""What a CSV writes for a value that is not there."""
VALUES_MOST = 2**29
"""4 GB of float64; the whole table is held in memory."""
EXACT_MOST = 2**53
"""Integers beyond are not all floats; such a column is a name written in digits, so text."""

INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
NUMBERS = ("FLOAT", "DOUBLE", "DECIMAL")
TEXTS = ("VARCHAR", "ENUM", "BOOLEAN", "UUID", "UBIGINT", "HUGEINT", "UHUGEINT")

CSV_TYPES = ("BIGINT", "HUGEINT", "DOUBLE", "DATE", "TIME", "TIMESTAMP", "VARCHAR")
"""What a column of a CSV may be. Not BOOLEAN: that would rename the classes yes and no to true and
false."""

Kind = Literal["number", "integer", "text", "other"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One column as the source has it.

    Args:
        name: Of the column.
        kind: number (floats), integer, text (true and false too), or other: dates, lists and
            bytes, which are not read.
        values: (N,): float64 with NaN for a missing value; str or None for text; empty for other.
    """

    name: str
    kind: Kind
    values: NDArray[Any]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Where a value is missing."""
        if self.kind == "text":
            return np.array([value is None for value in self.values], dtype=np.bool_)
        return np.array(np.isnan(self.values), dtype=np.bool_)


def read_table(source: str | Path) -> tuple[str, list[Column]]:
    """Return the name of a table and its columns.

    Args:
        source: `iris`, `wine`, `breast_cancer`, `diabetes`, or the path of a .csv, .tsv or
            .parquet file.

    Raises:
        UsageError: The source is unknown or cannot be read, or its package is missing.
    """
    if isinstance(source, str) and source in EMBEDDED:
        return source, _embedded(source)
    path = Path(source)
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"A table is {', '.join(EMBEDDED)}, or the path of a {', '.join(SUFFIXES)} file; got"
            f" {str(source)!r}. Check the name, or export the table to CSV."
        )
    if not path.is_file():
        raise UsageError(
            f"A table is read from a file; {str(path)!r} "
            + ("is not one." if path.exists() else "does not exist.")
            + " Check the path."
        )
    return path.resolve().name, _file(path.resolve())


def _embedded(name: str) -> list[Column]:
    datasets = import_optional(
        "sklearn.datasets", package="scikit-learn", need=f"The table `{name}`"
    )
    loaded = getattr(datasets, f"load_{name}")()
    columns = [
        Column(name=str(feature), kind="number", values=values.astype(np.float64))
        for feature, values in zip(loaded.feature_names, loaded.data.T, strict=True)
    ]
    if "target_names" in loaded:
        names = np.array([str(name) for name in loaded.target_names], dtype=object)
        target = Column(name=EMBEDDED_TARGET, kind="text", values=names[loaded.target])
    else:
        target = Column(
            name=EMBEDDED_TARGET, kind="number", values=loaded.target.astype(np.float64)
        )
    return [*columns, target]


def _file(path: Path) -> list[Column]:
    """Read a file with DuckDB, which finds the separator, the header and the types of a CSV."""
    duckdb = import_optional("duckdb", package="duckdb", need=f"The table {path.name!r}")
    # a name is no pattern: in brackets each of these characters means itself
    name = "".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path))
    connection = duckdb.connect(
        config={"threads": 1, "autoinstall_known_extensions": False, "TimeZone": "UTC"}
    )
    try:
        if path.suffix.lower() == ".parquet":
            relation = connection.read_parquet(name)
        else:
            # all lines decide the type of a column, not the first ones; and no line may vanish as
            # a title or a comment, which DuckDB would guess
            relation = connection.read_csv(
                name,
                sample_size=-1,
                na_values=list(MISSING),
                auto_type_candidates=list(CSV_TYPES),
                skiprows=0,
                comment="",
            )
        names = list(relation.columns)
        types = [str(kind).partition("(")[0] for kind in relation.types]
        if relation.shape[0] * len(names) > VALUES_MOST:
            raise UsageError(
                f"A table may have {VALUES_MOST} values; {str(path)!r} has {relation.shape[0]} rows"
                f" of {len(names)}. Take fewer rows or columns."
            )
        # by place, because two columns may have one name
        read = [_read(relation, place, kind) for place, kind in enumerate(types)]
    except duckdb.Error as error:
        said = " ".join(str(error).split())[:160].rstrip(".")
        raise UsageError(
            f"A table must be an unbroken CSV or Parquet file; {str(path)!r} cannot be read:"
            f" {said}. Repair it, or export it again."
        ) from error
    finally:
        connection.close()
    return [
        Column(name=name, kind=kind, values=values)
        for name, (kind, values) in zip(names, read, strict=True)
    ]


def _read(relation: Any, place: int, kind: str) -> tuple[Kind, NDArray[Any]]:
    """Return the kind of a column of a DuckDB relation and its values."""
    column = relation.project(f"#{place + 1} AS value")
    if kind in INTEGERS:
        beyond = column.filter(f"abs(value::HUGEINT) > {EXACT_MOST}").shape[0]
        if not beyond:
            return "integer", _fetch(column, "DOUBLE")
    elif kind in NUMBERS:
        return "number", _fetch(column, "DOUBLE")
    elif kind not in TEXTS:
        return "other", np.empty(0)
    return "text", _fetch(column, "VARCHAR")


def _fetch(column: Any, kind: str) -> NDArray[Any]:
    values = [row[0] for row in column.project(f"value::{kind} AS value").fetchall()]
    if kind == "VARCHAR":
        filled = np.empty(len(values), dtype=object)
        filled[:] = values
        return filled
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
