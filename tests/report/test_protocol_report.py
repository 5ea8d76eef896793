import io
import itertools
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.console import Console

from redrop.cli.report import report as report_command
from redrop.errors import UsageError
from redrop.report.content import build_report
from redrop.report.dose_figure import dose_alt, dose_caption, draw_dose
from redrop.report.protocol import build_protocol_report
from redrop.report.protocol_write import rich_stages, write_protocol_report
from redrop.report.screen_figure import draw_screen, screen_alt
from redrop.report.svg import INK, PAPER, to_svg
from redrop.study.budget import parse_budget
from redrop.study.dose import Dose, Dosed, fit_curve
from redrop.study.folders import PROTOCOL_FILE, read_protocol_folder
from redrop.study.prior import LABEL, expect
from redrop.study.protocol import Finished, next_stage
from redrop.study.records import read_study
from redrop.study.stage import ProtocolSettings
from redrop.train.recipe_word import parse_recipe
from tests.report.page import Page
from tests.report.protocol_folder import COMMAND, write_protocol
from tests.study.surface import Surface, additive, play

GAIN = additive({"attention_weights": -0.04, "embedding": -0.03, "label_smoothing": 0.05})
SURFACE = Surface(change=GAIN)
SETTINGS = ProtocolSettings(budget=parse_budget("40000 steps"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_protocol(tmp_path_factory.mktemp("finished"), SETTINGS, SURFACE)
    write_protocol_report(folder)
    return folder


@pytest.fixture(scope="module")
def end(folder: Path) -> Finished:
    recorded = read_protocol_folder(folder)
    assert recorded is not None
    found = next_stage(recorded.settings, recorded.studies)
    assert isinstance(found, Finished)
    return found


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(folder / "report.html")


def same(text: str) -> str:
    return " ".join(text.replace("\u00a0", " ").split())


def test_the_answer_comes_first_and_every_sentence_is_told(end: Finished, page: Page) -> None:
    text = same(page.text)
    headline = end.sentences[0]
    at = page.html.index("<h1>")
    assert same(page.html[at:]).startswith(f"<h1>{headline}")
    left_out = {f"Without {each.what} from {each.after} on: {each.why}." for each in end.dropped}
    for sentence in end.sentences:
        if sentence not in left_out:
            assert same(sentence) in text
    for each in end.dropped:
        assert f"{each.what} {each.after} {each.why}" in text
    parts = ["paste", "The regime", "The stages", "The screening", "How strong", "confirmation"]
    places = [text.index(part, text.index("The configuration")) for part in parts]
    assert places == sorted(places)


def test_the_page_stands_alone_and_can_be_read_without_eyes(page: Page) -> None:
    page.check()
    local = [link for link in page.links() if not link.startswith("https://")]
    assert local == ["4-confirm/report.html"]
    assert len(page.having("svg")) == 5


def test_every_stage_is_listed_with_its_cost_and_its_reason(
    folder: Path, end: Finished, page: Page
) -> None:
    report = build_protocol_report(folder)
    assert [row.name for row in report.stages] == list(
        dict.fromkeys(stage.name for stage in end.stages)
    )
    for stage in end.stages:
        assert stage.reason in same(page.text)
    costs = [float(re.sub(r"[^\d.]", "", row.cost)) for row in report.stages]
    assert sum(costs) == end.account.spent
    assert all(row.state == "complete" for row in report.stages)
    facts = dict(report.account)
    assert facts["Spent by finished stages"] == f"{end.account.spent:,.0f} steps"
    assert facts["Left"] == f"{end.account.left:,.0f} steps"


def test_seconds_are_counted_for_all_workers(tmp_path: Path) -> None:
    settings = ProtocolSettings(budget=parse_budget("200s"), workers=2, first_steps=800)
    facts = dict(build_protocol_report(write_protocol(tmp_path, settings, SURFACE)).account)
    assert facts["Counted as"] == "6.67 min of runs (3.33 min on the clock × 2 runs side by side)"


def test_looks_of_the_confirmation_are_one_stage_with_both_reasons(tmp_path: Path) -> None:
    settings = ProtocolSettings(budget=parse_budget("70000 steps"), looks=2)
    weak = Surface(change=lambda recipe: -0.012 * bool(recipe.dropout), own=0.01)
    report = build_protocol_report(write_protocol(tmp_path, settings, weak))
    rows = [row for row in report.stages if row.name == "4-confirm"]
    assert len(rows) == 1
    assert len(rows[0].reasons) == 2, "a first look that does not settle it"
    assert report.confirmation is not None
    seeds = len(report.confirmation.study.plan.seeds)
    assert f"× {seeds} seeds" in rows[0].size
    runs = [run for each in report.recorded.studies for run in each.runs]
    assert report.progress.account.spent == sum(run.end.steps for run in runs if run.end)


def test_the_regime_is_a_card_and_the_prior_is_called_one(folder: Path, page: Page) -> None:
    report = build_protocol_report(folder)
    assert report.card is not None
    assert report.prior == expect(type(report.card)(
        **{name: getattr(report.card, name) for name in (
            "unique", "epochs", "unit", "batch", "learning_rate", "weight_decay")}
    ))  # fmt: skip
    for row in report.card.rows():
        assert " ".join(cell for cell in row if cell) in same(page.text)
    assert LABEL in page.text
    assert report.prior is not None
    for evidence in report.prior.evidence:
        assert evidence.fact in same(page.text)
        assert not evidence.url or evidence.url in page.links()


def test_the_confirmation_is_shown_as_any_study_is(folder: Path, page: Page) -> None:
    confirmation = build_report(read_study(folder / "4-confirm"))
    for row in confirmation.table.rows:
        assert " ".join(cell for cell in row if cell) in page.text
    own = Page(folder / "4-confirm" / "report.html")
    assert confirmation.verdict.headline in same(own.text)


def test_what_is_recommended_is_there_to_paste(folder: Path, end: Finished, page: Page) -> None:
    assert end.confirmed.recommended is not None
    assert f"--recipe {end.confirmed.recommended.name}" in page.text
    found = json.loads((folder / "report.json").read_text())
    assert f"--recipe {end.confirmed.recommended.name}" in "".join(found["configurations"].values())


def test_the_json_says_what_the_page_says(folder: Path, end: Finished) -> None:
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    told = json.loads(json.dumps(end.to_dict()))
    assert told.items() <= found.items()
    assert (found["kind"], found["format"], found["command"]) == ("protocol", 1, COMMAND)
    assert found["is_finished"] is True
    assert found["prior"]["label"] == LABEL


def test_the_same_records_give_the_same_bytes(folder: Path, page: Page) -> None:
    before = (folder / "report.json").read_bytes()
    write_protocol_report(folder)
    assert (folder / "report.html").read_text(encoding="utf-8") == page.html
    assert (folder / "report.json").read_bytes() == before


@pytest.mark.parametrize("stages", range(8))
def test_an_unfinished_study_is_reported_as_far_as_it_is(
    stages: int, folder: Path, tmp_path: Path
) -> None:
    whole = build_protocol_report(folder)
    report = build_protocol_report(
        write_protocol(tmp_path, SETTINGS, SURFACE, stages=stages, runs=int(stages >= 3))
    )
    names = [row.name for row in whole.stages]
    assert [row.name for row in report.stages] == names[: stages + 1]
    if stages == len(names):
        assert report.is_finished
        return
    assert report.headline == f"No answer yet: stage {names[stages]} is not finished."
    assert [row.state for row in report.stages][:-1] == ["complete"] * stages
    assert report.confirmation is None
    assert report.pasted == ()
    is_done = {each.partition("-")[0] for each in names[:stages]}
    assert (report.findings.horizon is not None) == (stages >= 3)
    assert (report.findings.screened is not None) == (stages >= 5)
    assert (report.findings.dosed is not None) == ("3" in is_done)
    if report.findings.screened is not None and whole.findings.screened is not None:
        assert report.findings.screened.to_dict() == whole.findings.screened.to_dict()
    if report.findings.dosed is not None and whole.findings.dosed is not None:
        assert report.findings.dosed.to_dict() == whole.findings.dosed.to_dict()


def test_nothing_is_pasted_where_the_study_cannot_say(tmp_path: Path) -> None:
    settings = ProtocolSettings(budget=parse_budget("6400 steps"), steps=800)
    noisy = Surface(own=0.1, key=3)
    report = write_protocol_report(write_protocol(tmp_path, settings, noisy))
    assert report.recommended is None
    assert report.pasted == ()
    page = Page(tmp_path / "report.html")
    page.check()
    assert report.headline.startswith("No verdict yet")
    assert "There is none: the study cannot say yet" in page.text


def test_an_unfinished_confirmation_is_not_judged(tmp_path: Path) -> None:
    write_protocol(tmp_path, SETTINGS, SURFACE, stages=6, runs=7)
    report = write_protocol_report(tmp_path)
    assert report.stages[-1].state == "7 of 18 runs"
    page = Page(tmp_path / "report.html")
    page.check()
    assert "lowers test loss" not in page.text
    assert "Go on with it" in page.text
    assert not (tmp_path / "4-confirm" / "report.html").exists()
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["recommended"] is None
    assert found["screen"]["kept"]
    assert found["stages"][-1]["name"] == "4-confirm"
    assert found["horizon"]["steps"] == 800
    assert len(found["dropped"]) == len(report.progress.dropped)


@pytest.mark.parametrize(
    ("settings", "surface", "said"),
    [
        (ProtocolSettings(budget=parse_budget("20000 steps")), Surface(turns_at=10**6), "screened"),
        (SETTINGS, Surface(change=lambda recipe: 0.1 * bool(recipe.dropout)), "Nothing tried"),
        (
            ProtocolSettings(budget=parse_budget("12000 steps"), steps=800),
            SURFACE,
            "the screening of 8 factors",
        ),
    ],
    ids=["no turn", "no gain", "no screening"],
)
def test_studies_that_leave_out_stages_have_reports(
    settings: ProtocolSettings, surface: Surface, said: str, tmp_path: Path
) -> None:
    report = write_protocol_report(write_protocol(tmp_path, settings, surface))
    assert report.is_finished
    page = Page(tmp_path / "report.html")
    page.check()
    assert said in page.text


def test_the_screen_is_drawn_with_its_numbers_in_words(end: Finished) -> None:
    screened = end.screened
    assert screened is not None
    alt = screen_alt(screened)
    root = ElementTree.fromstring(to_svg(draw_screen(screened, 0.01, "nats"), "screen", alt))
    assert root.attrib["aria-label"] == alt
    shown = " ".join(element.text or "" for element in root.iter())
    for letter, factor in zip("ABCDEFGH", screened.factors, strict=True):
        assert f"{letter} {factor.label}" in alt
        assert f"{letter} {factor.label.split()[0]}" in shown
    assert "−0.0" in alt
    assert "half-normal quantile" in shown


def test_no_name_in_the_screen_covers_another(end: Finished) -> None:
    assert end.screened is not None
    figure = draw_screen(end.screened, 0.01, "nats")
    figure.draw_without_rendering()
    left = figure.axes[0]
    boxes = [label.get_window_extent() for label in left.get_yticklabels()]
    assert min(box.x0 for box in boxes) >= 0, "cut off at the left"
    ordered = sorted(boxes, key=lambda box: box.y0)
    for below, above in itertools.pairwise(ordered):
        assert above.y0 >= below.y1


def test_the_dose_figure_marks_what_goes_on_and_draws_the_curve(end: Finished) -> None:
    dosed = end.dosed
    assert dosed is not None
    assert dosed.curve is not None
    svg = to_svg(draw_dose(dosed, 0.01, "nats"), "dose", dose_alt(dosed))
    assert INK not in svg
    assert PAPER not in svg
    shown = " ".join(element.text or "" for element in ElementTree.fromstring(svg).iter())
    assert "goes on" in shown
    assert "Dashed: a parabola" in dose_caption(dosed, 0.01)
    assert f"A parabola is lowest at {dosed.curve.best:.2g}" in dose_alt(dosed)
    for dose in dosed.doses:
        assert f"{dose.strength:g}: " in dose_alt(dosed)


def test_a_dose_that_diverged_or_has_no_curve_is_drawn_without_it() -> None:
    doses = (
        Dose(strength=0.5, recipe=parse_recipe("weight_decay-0.5"), differences=(-0.1,)),
        Dose(
            strength=1.0, recipe=parse_recipe("weight_decay-1"), differences=(0.1,), diverged=True
        ),
    )
    dosed = Dosed(doses=doses, curve=fit_curve(doses, 0.01), winner=doses[0].recipe, sentences=())
    axes = draw_dose(dosed, 0.01, "nats").axes[0]
    assert axes.get_xlabel() == "multiple of the high level"
    assert "No parabola is drawn" in dose_caption(dosed, 0.01)
    assert "1:" not in dose_alt(dosed)


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_the_stages(folder: Path, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(rich_stages(build_protocol_report(folder), width))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("1-baseline-3", "2-screen-1", "3-dose", "4-confirm", "14,400 steps", "complete"):
        assert words in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width


def test_report_recognises_the_folder_and_says_it_in_short(
    folder: Path, end: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    report_command(folder)
    shown = same(capsys.readouterr().out)
    assert end.sentences[0].split(" by ")[0] in shown
    assert "4-confirm" in shown
    assert f"Report: {folder / 'report.html'}" in shown
    report_command(folder, json_=True)
    assert json.loads(capsys.readouterr().out)["kind"] == "protocol"


def test_the_markdown_says_what_the_page_says(
    folder: Path, end: Finished, page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    report_command(folder, markdown=True)
    text = capsys.readouterr().out
    report = build_protocol_report(folder)
    assert text.startswith(f"# {report.headline}\n")
    assert all(f"- {sentence}\n" in text for sentence in report.sentences)
    shown = same(page.text)
    rows = [line for line in text.splitlines() if line.startswith("| ") and ":--" not in line]
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert "## The screening" in titles
    assert "## How strong" in titles
    for row in rows:
        cells = [cell.strip() for cell in row.strip("| ").split(" | ")]
        for cell in cells:
            assert same(cell.partition(" (")[0]) in shown, "each cell stands in the page"
    for each in end.dropped:
        assert f"| {each.what} | {each.after} | {each.why} |" in text
    assert COMMAND in text


def test_a_broken_or_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has a protocol\.json"):
        build_protocol_report(tmp_path)
    for text, said in (
        ("{", "is not JSON"),
        ("{}", "does not hold the settings"),
        ("[]", "must hold a JSON object"),
    ):
        (tmp_path / PROTOCOL_FILE).write_text(text)
        with pytest.raises(UsageError, match=said):
            build_protocol_report(tmp_path)


def test_the_replay_of_the_folder_is_that_of_the_memory(end: Finished) -> None:
    alone, _ = play(SETTINGS, SURFACE)
    assert alone.sentences == end.sentences


def test_it_needs_no_torch() -> None:
    code = (
        "import sys, redrop.report.protocol_write, redrop.report.map_report, redrop.report.paste;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
