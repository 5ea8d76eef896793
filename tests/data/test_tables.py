import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from sklearn import datasets

from redrop.data.samples import Samples
from redrop.data.tables import load_table
from redrop.errors import UsageError


def parts_of(samples: Samples) -> list:
    return [samples.train, samples.validation, samples.test]


def write(file: Path, header: str, rows: list[tuple[object, ...]]) -> Path:
    lines = [header, *(",".join("" if v is None else str(v) for v in row) for row in rows)]
    file.write_text("\n".join(lines) + "\n")
    return file


def mixed(count: int = 60) -> list[tuple[object, ...]]:
    """Row number, height with gaps, colour, weight, and a label."""
    rng = np.random.default_rng(0)
    return [
        (
            row,
            None if row % 10 == 3 else round(rng.normal(170, 10), 2),
            ("red", "green", "blue")[rng.integers(3)],
            round(rng.normal(70, 9), 2),
            "yes" if rng.random() < 0.5 else "no",
        )
        for row in range(count)
    ]


HEADER = "row,height,colour,weight,label"


@pytest.mark.parametrize(
    ("name", "classes", "features"), [("iris", 3, 4), ("wine", 3, 13), ("breast_cancer", 2, 30)]
)
def test_embedded_classes_are_scikit_learns(name: str, classes: int, features: int):
    loaded = getattr(datasets, f"load_{name}")()
    samples = load_table(name)
    assert samples.input_shape == (features,)
    assert len(samples.classes) == classes
    assert samples.features == tuple(loaded.feature_names)
    assert samples.notes == ()
    train = samples.train.inputs.double()
    assert train.mean(0).abs().max().item() < 1e-5
    assert (train.std(0, correction=0) - 1).abs().max().item() < 1e-5

    # undone, every row is one of scikit-learn's, with its label
    inputs = torch.cat([part.inputs for part in parts_of(samples)]).double().numpy()
    targets = torch.cat([part.targets for part in parts_of(samples)]).tolist()
    known = (loaded.data - loaded.data.mean(0)) / loaded.data.std(0)
    ours = (inputs - inputs.mean(0)) / inputs.std(0)
    distance = np.abs(ours[:, None] - known[None]).max(-1)
    assert distance.min(1).max() < 1e-4
    nearest = distance.argmin(1)
    names = [loaded.target_names[label] for label in loaded.target[nearest]]
    assert [samples.classes[label] for label in targets] == names


def test_a_regression_is_standard_inside_and_in_units_outside():
    loaded = datasets.load_diabetes()
    samples = load_table("diabetes")
    assert samples.is_regression
    assert samples.train.targets.dtype == torch.float32
    assert samples.train.targets.mean().item() == pytest.approx(0, abs=1e-5)
    assert samples.train.targets.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    values = torch.cat([samples.in_units(part.targets) for part in parts_of(samples)])
    np.testing.assert_allclose(np.sort(values.numpy()), np.sort(loaded.target), rtol=1e-4)


def test_columns_of_all_kinds_become_numbers(tmp_path: Path):
    samples = load_table(write(tmp_path / "people.csv", HEADER, mixed()))
    assert samples.name == "people.csv"
    assert samples.target == "label"
    assert samples.classes == ("no", "yes")
    assert samples.features == (
        "height",
        "height missing",
        "colour=blue",
        "colour=green",
        "colour=red",
        "weight",
    )
    assert samples.notes[0] == "The target is the last column, 'label': no other was named."
    assert samples.notes[1] == "Column 'row' was left out: it numbers the rows."
    assert samples.notes[2].startswith("6 missing values of 'height' became the training median")
    inputs = torch.cat([part.inputs for part in parts_of(samples)])
    assert inputs.isfinite().all()
    assert inputs[:, 2:5].sum(1).tolist() == [1.0] * 60
    assert inputs[:, 1].sum().item() == 6
    described = samples.describe()
    assert json.loads(json.dumps(described)) == described


def test_rows_in_another_order_or_as_parquet_are_the_same_samples(tmp_path: Path):
    rows = mixed()
    first = load_table(write(tmp_path / "a.csv", HEADER, rows))
    second = load_table(write(tmp_path / "b.csv", HEADER, rows[::-1]))
    duckdb.sql(
        f"FROM read_csv('{tmp_path / 'a.csv'}', types={{'label': 'VARCHAR'}})"
    ).write_parquet(str(tmp_path / "c.parquet"))
    third = load_table(tmp_path / "c.parquet")
    for other in (second, third):
        assert other.sha256 == first.sha256
        for mine, theirs in zip(parts_of(first), parts_of(other), strict=True):
            assert torch.equal(mine.inputs, theirs.inputs)
            assert torch.equal(mine.targets, theirs.targets)
    changed = [(*rows[0][:-1], "no" if rows[0][-1] == "yes" else "yes"), *rows[1:]]
    assert load_table(write(tmp_path / "d.csv", HEADER, changed)).sha256 != first.sha256


def test_equal_rows_stay_together_and_row_numbers_do_not_hide_them(tmp_path: Path):
    rows = [(number, *mixed()[number % 20][1:]) for number in range(60)]
    samples = load_table(write(tmp_path / "t.csv", HEADER, rows))
    assert samples.duplicates == 40
    seen = [{row.numpy().tobytes() for row in part.inputs} for part in parts_of(samples)]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 20


def test_held_out_rows_change_nothing_about_training(tmp_path: Path):
    rows = mixed(200)
    samples = load_table(write(tmp_path / "t.csv", HEADER, rows), limit=40)
    train_rows = samples.train.inputs.double()
    height, weight = train_rows[:, 0], train_rows[:, -1]
    for column in (height, weight):
        assert column.mean().item() == pytest.approx(0, abs=1e-6)
        assert column.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert len(samples.test) == 40


def test_a_named_target_leaves_the_last_column_a_feature(tmp_path: Path):
    file = write(tmp_path / "t.csv", HEADER, mixed())
    samples = load_table(file, target="colour")
    assert samples.classes == ("blue", "green", "red")
    assert {"label=no", "label=yes"} <= set(samples.features)
    assert not any("last column" in note for note in samples.notes)
    assert load_table(file, target="weight").is_regression
    assert load_table("diabetes", target="bmi").features[-1] == "target"


def test_the_kind_of_a_number_can_be_chosen(tmp_path: Path):
    rows = [(row * 1.5 + row % 7, row % 3) for row in range(60)]
    file = write(tmp_path / "t.csv", "x,y", rows)
    classes = load_table(file)
    assert classes.classes == ("0", "1", "2")
    values = load_table(file, kind="regression")
    assert values.is_regression
    units = torch.cat([values.in_units(part.targets) for part in parts_of(values)])
    assert units.round().unique().tolist() == [0, 1, 2]
    halves = write(tmp_path / "h.csv", "x,y", [(x, y / 2) for x, y in rows])
    assert load_table(halves).is_regression
    assert load_table(halves, kind="classification").classes == ("0", "0.5", "1")


@pytest.mark.parametrize(
    ("values", "classes"),
    [(["10", "9", "-1"], ("-1", "9", "10")), (["true", "false", "true"], ("false", "true"))],
)
def test_classes_are_sorted_as_what_they_are(
    tmp_path: Path, values: list[str], classes: tuple[str, ...]
):
    rows = [(row * 1.5, values[row % 3]) for row in range(60)]
    assert load_table(write(tmp_path / "t.csv", "x,y", rows)).classes == classes


def test_columns_that_name_rows_are_left_out_and_said(tmp_path: Path):
    rng = np.random.default_rng(0)
    rows = [
        (
            rng.integers(10**9),
            f"Name {row}",
            f"note {row % 55}",
            "2020-01-02",
            row % 6,
            rng.integers(10**9),
            round(rng.normal(), 3),
            row % 2,
        )
        for row in range(120)
    ]
    header = "customer_id,name,remark,day,shelf,people,x,y"
    samples = load_table(write(tmp_path / "t.csv", header, rows))
    assert samples.features == ("shelf", "people", "x")
    text = " ".join(samples.notes)
    assert "'customer_id' was left out: its name ends in id and its values are all diff" in text
    assert "'name' was left out: 120 different texts in 120 rows are names" in text
    assert "'remark' was left out: 55 different texts in 120 rows are names" in text
    assert "'day' was left out: dates, lists and bytes are not read" in text


def table(tmp_path: Path, change: dict[int, tuple[object, ...]]) -> Path:
    rows = [(row / 4, f"c{row % 3}", ("no", "yes")[row % 2]) for row in range(40)]
    for row, values in change.items():
        rows[row] = values
    return write(tmp_path / "t.csv", "x,c,y", rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {4: (1, "c1", None)},
            "Every row needs a label; data row 5 lacks that of 'y'. Fill them in",
        ),
        (
            dict.fromkeys(range(0, 16, 2), (1, "c1", None)),
            r"8 rows \(data rows 1, 3, 5, 7, 9, …\) lack that of 'y'",
        ),
        ({2: ("inf", "c1", "no")}, "finite and below 1e.150; 'x' has inf in data row 3"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: dict[int, tuple[object, ...]], message: str):
    load_table(table(tmp_path, {}))
    with pytest.raises(UsageError, match=message) as caught:
        load_table(table(tmp_path, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "z"}, "`target` must be a column of 't.csv'; got 'z'. Pass one of: x, c, y"),
        ({"kind": "ranking"}, "`kind` is classification or regression; got 'ranking'"),
        ({"kind": "regression"}, "A regression predicts numbers; 'y' holds text"),
        ({"target": "x", "kind": "classification"}, "'x' has 40 different values in 40 rows"),
        ({"limit": 0}, "`limit`"),
        ({"split_seed": -1}, "`seed`"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    tmp_path: Path, arguments: dict[str, object], message: str
):
    with pytest.raises(UsageError, match=message):
        load_table(table(tmp_path, {}), **arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x\n1\n2\n", "needs a feature and a target; 't.csv' has one column: x"),
        ("a,b\n1\n3,4,5\n", "needs a feature and a target; 't.csv' has one column: a,b"),
        ("", "one column"),
        ("a,b\n", "A table needs rows"),
        ("a,b\n" + "1.5,x\n2.5,x\n" * 9, "all rows of 'b' are 'x'"),
        (
            "a,b\n" + "".join(f"{row / 4},{row * 3}\n" for row in range(150)),
            "150 different values in 150 rows. To predict it, pass `--predict values`",
        ),
        (
            "a,b\n" + "".join(f"n{row},{row % 2}\n" for row in range(60)),
            "A table needs a feature; none is left. .*'a' was left out: 60 different texts",
        ),
        ("a,b\n" + "1.5,x\n1.5,y\n" * 9, "Each part needs a sample; 18 samples, 1 of them diff"),
        ("a,b\n" + "".join(f"{row},2020-01-02\n" for row in range(9)), "'b' holds dates"),
    ],
)
def test_tables_to_learn_nothing_from_are_refused(tmp_path: Path, content: str, message: str):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_table(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)
