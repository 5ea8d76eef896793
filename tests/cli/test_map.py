"""`redrop map`, as a user meets it."""

import json

import pytest

from redrop.cli.app import main
from redrop.data.tables import load_table
from tests.cli.command import TINY, redrop
from tests.report.page import Page

ASKED = [
    *("map", "markov", "--amounts", "4k", "8k", "--arms", "none", "all-0.3"),
    *("--seeds=2", "--steps=30", *TINY),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    result = redrop(*ASKED, cwd=folder)
    assert result.returncode == 0, result.stderr
    (drawn,) = (folder / "studies").glob("*/")
    return folder, drawn, result


def test_it_prints_the_table_and_where_the_map_lies(finished):
    _, drawn, result = finished
    for words in ("Epochs", "dropout 0.3", "epochs"):
        assert words in result.stdout
    assert f"Map: studies/{drawn.name}/map.html" in result.stdout
    page = Page(drawn / "map.html")
    page.check()
    assert page.links() == ["amount-000008000/report.html", "amount-000004000/report.html"]
    for link in page.links():
        Page(drawn / link).check()
    assert "redrop map markov --amounts 4k 8k" in page.text
    rows = json.loads((drawn / "map.json").read_text())["rows"]
    assert rows[1]["epochs"] == pytest.approx(2 * rows[0]["epochs"], rel=0.02)


def test_the_same_command_again_computes_nothing_and_report_rebuilds_it(finished):
    folder, drawn, first = finished
    again = redrop(*ASKED, cwd=folder)
    assert again.stdout == first.stdout
    assert again.stderr == ""
    page = (drawn / "map.html").read_bytes()
    (drawn / "map.html").unlink()
    assert redrop("report", f"studies/{drawn.name}", cwd=folder).stdout == first.stdout
    assert (drawn / "map.html").read_bytes() == page


def test_naming_the_network_it_has_anyway_is_the_same_map(finished):
    folder, drawn, first = finished
    again = redrop(*ASKED, "--network=transformer", cwd=folder)
    assert (again.stdout, again.stderr) == (first.stdout, "")
    assert [*(folder / "studies").glob("*/")] == [drawn]


def test_a_table_is_a_table_here_too_and_holds_what_it_holds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f"{n},{(n * 7) % 11},{n * 0.5 + (n % 3)}" for n in range(80)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,price", *rows]))
    asked = ["map", "t.csv", "--seeds=1", "--steps=8", "--width=16", "--layers=1", "--out=m"]
    asked += ["--precision=float32", "--arms", "none", "all-0.3", "--amounts", "20"]
    with pytest.raises(SystemExit, match="2"):
        main([*asked, "99k"])
    held = len(load_table("t.csv").train)
    said = f"`t.csv` has {held} training samples, got 99000. Give amounts up to {held}"
    assert said in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--amounts", "4k"], "at least two amounts of data; got 4k"),
        (["--amounts", "4k", "4000"], "at least two amounts of data"),
        (["--amounts", "4k", "many"], "`amounts`"),
        (["--amounts", "4k", "8k", "--seeds", "0"], "at least one seed"),
        (["--amounts", "4k", "8k", "--arms", "none", "all-2"], "`p` must lie in [0, 1]"),
    ],
)
def test_bad_maps_are_one_clear_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["map", "markov", *TINY, *arguments])
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "studies").exists()
