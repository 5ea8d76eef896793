import warnings
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest
from sklearn import datasets

from redrop.data import table_source
from redrop.data.table_source import Column, read_table
from redrop.errors import UsageError

WILD = """id,height,city,flag,when,big
1,2.5,Rome,true,2020-01-01,9007199254740993
2,NA,?,false,2020-01-02,9007199254740995
3,1e3,"Par,is",,2021-01-01,1
"""


def as_lists(columns: list[Column]) -> dict[str, tuple[str, list[object]]]:
    return {
        column.name: (
            column.kind,
            [None if value != value else value for value in column.values.tolist()],
        )
        for column in columns
    }


EXPECTED = {
    "id": ("integer", [1, 2, 3]),
    "height": ("number", [2.5, None, 1000]),
    "city": ("text", ["Rome", None, "Par,is"]),
    "flag": ("text", ["true", "false", None]),
    "when": ("other", []),
    "big": ("text", ["9007199254740993", "9007199254740995", "1"]),  # no float tells them apart
}


def test_a_csv_gives_its_columns_with_their_kinds(tmp_path: Path):
    (tmp_path / "wild.csv").write_text(WILD)
    name, columns = read_table(tmp_path / "wild.csv")
    assert name == "wild.csv"
    assert as_lists(columns) == EXPECTED
    assert [column.missing.tolist() for column in columns if column.kind != "other"] == [
        [False, False, False],
        [False, True, False],
        [False, True, False],
        [False, False, True],
        [False, False, False],
    ]


def test_parquet_and_other_separators_give_the_same(tmp_path: Path):
    (tmp_path / "wild.csv").write_text(WILD)
    whole = duckdb.connect().read_csv(str(tmp_path / "wild.csv"), na_values=["", "NA", "?"])
    assert "BOOLEAN" in whole.types
    whole.write_parquet(str(tmp_path / "wild.parquet"))
    whole.write_csv(str(tmp_path / "wild.tsv"), sep="\t")
    assert as_lists(read_table(tmp_path / "wild.parquet")[1]) == EXPECTED
    assert as_lists(read_table(tmp_path / "wild.tsv")[1]) == EXPECTED


def test_types_of_parquet_that_no_csv_has(tmp_path: Path):
    file = tmp_path / "types.parquet"
    duckdb.sql(
        "SELECT 1::TINYINT AS tiny, 2.5::DECIMAL(9, 2) AS money, 'nan'::DOUBLE AS gap,"
        " 7::HUGEINT AS huge, [1, 2] AS list, 'x'::BLOB AS bytes, 3::FLOAT AS single"
    ).write_parquet(str(file))
    assert as_lists(read_table(file)[1]) == {
        "tiny": ("integer", [1]),
        "money": ("number", [2.5]),
        "gap": ("number", [None]),
        "huge": ("number", [7]),  # Parquet has no type of this size; DuckDB writes a double
        "list": ("other", []),
        "bytes": ("other", []),
        "single": ("number", [3]),
    }


def test_the_last_line_decides_a_type_as_much_as_the_first(tmp_path: Path):
    file = tmp_path / "late.csv"
    file.write_text("a,b\n" + "1,2\n" * 30_000 + "x,2\n")
    a, b = read_table(file)[1]
    assert (a.kind, b.kind) == ("text", "integer")
    assert len(a.values) == 30_001


@pytest.mark.parametrize(
    "line", ["#5,6", "title"], ids=["looks like a comment", "looks like a title"]
)
def test_no_line_vanishes_by_a_guess(tmp_path: Path, line: str):
    file = tmp_path / "lines.csv"
    file.write_text(f"{line}\na,b\n1,2\n3,4\n{line}\n")
    columns = read_table(file)[1]
    assert len(columns[0].values) == 4


@pytest.mark.parametrize("first", [2**53 + 1, 10**19, 10**30])
def test_long_numbers_are_names_that_keep_their_last_digit(tmp_path: Path, first: int):
    file = tmp_path / "long.csv"
    file.write_text(f"a,b\n{first},1\n{first + 1},2\n{-first},3\n")
    column = read_table(file)[1][0]
    assert column.kind == "text"
    assert column.values.tolist() == [str(first), str(first + 1), str(-first)]


def test_rows_keep_their_order(tmp_path: Path):
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n" + "".join(f"{row},{row}\n" for row in range(50_000)))
    assert np.array_equal(read_table(file)[1][0].values, np.arange(50_000))


def test_signs_of_a_pattern_in_a_name_mean_themselves(tmp_path: Path):
    (tmp_path / "data1.csv").write_text("wrong,file\n0,0\n")
    (tmp_path / "data[1]*?.csv").write_text("right,file\n1,1\n")
    assert read_table(tmp_path / "data[1]*?.csv")[1][0].name == "right"


@pytest.mark.parametrize("name", table_source.EMBEDDED)
def test_embedded_sets_are_scikit_learns(name: str):
    with warnings.catch_warnings():
        loaded = getattr(datasets, f"load_{name}")()
    title, columns = read_table(name)
    assert title == name
    assert [column.name for column in columns] == [*loaded.feature_names, "target"]
    for column, values in zip(columns, loaded.data.T, strict=False):
        assert np.array_equal(column.values, values)
    if name == "diabetes":
        assert columns[-1].kind == "number"
        assert np.array_equal(columns[-1].values, loaded.target)
    else:
        assert columns[-1].values.tolist() == [loaded.target_names[i] for i in loaded.target]


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("t.csv", lambda file: file.write_bytes("a,b\n1,é\n".encode("latin-1")), "not utf-8"),
        ("t.csv", lambda file: file.write_bytes("a,b\n1,é\n".encode("utf-16")), "cannot be read"),
        ("t.parquet", lambda file: file.write_bytes(b"PAR1 and no more"), "cannot be read"),
        ("t.parquet", lambda file: file.write_text("a,b\n1,2\n"), "cannot be read"),
        ("t.csv", lambda file: None, r"t\.csv' does not exist"),
        ("t.csv", lambda file: file.mkdir(), r"t\.csv' is not one"),
        ("t.xlsx", lambda file: file.write_text("x"), "iris, .* or the path of a .csv"),
        ("wines", lambda file: None, "A table is iris, wine"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(
    tmp_path: Path, name: str, write: Callable[[Path], object], message: str
):
    write(tmp_path / name)
    with pytest.raises(UsageError, match=message) as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_more_than_memory_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    monkeypatch.setattr(table_source, "VALUES_MOST", 3)
    with pytest.raises(UsageError, match="2 rows of 2"):
        read_table(tmp_path / "t.csv")
