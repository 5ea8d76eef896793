"""The page in one file, opened from disk."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from redrop.errors import UsageError
from redrop.lab import export
from redrop.lab.linker import PREFIX, modules_from
from tests.lab.conftest import STATIC
from tests.study.synthetic import make_plan, write_study


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, studies: Path) -> Path:
    file = tmp_path_factory.mktemp("export") / "page.html"
    export(file, studies)
    return file


def test_every_view_works_from_disk(open_page: Callable[..., Page], exported: Path) -> None:
    page = open_page("", base=exported.as_uri())
    expect(page.locator("main h2")).to_have_text("Runs")
    expect(page.get_by_text("12 of 12 runs complete")).to_be_visible()
    expect(page.locator(".uplot canvas").first).to_be_visible()
    page.get_by_role("link", name="Attention").click()
    page.get_by_label("Layer 0, head 1").check(force=True)
    sentence = page.get_by_role("textbox", name="Sentence")
    sentence.fill("The cat sat on the mat and it")
    expect(page.locator(".rd-odds-table")).to_contain_text("purred")
    page.get_by_role("application").focus()
    for key in ("End", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_text("Severed: 1.")).to_be_visible()
    page.get_by_role("link", name="Activations").click()
    page.get_by_role("button", name="Resample").click()
    page.wait_for_timeout(300)
    assert "step=1" in page.evaluate("location.hash")
    page.get_by_role("link", name="Block").click()
    expect(page.get_by_text("An exported page cannot train")).to_be_visible()
    page.get_by_role("link", name="Story").click()
    expect(page.locator(".rd-count")).to_have_text("1 of 13")


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_folder_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match=f"looks into a folder of studies; `.*{name}` is none"):
        export(tmp_path / "page.html", tmp_path / name)
    assert not (tmp_path / "page.html").exists()


def test_masks_of_the_file_are_those_of_the_server(
    open_page: Callable[..., Page], exported: Path
) -> None:
    view = "#v=1&view=activations&seed=5&step=3&p=0.3"
    hashes = {
        open_page(view, base=base).locator(".rd-hash-value").inner_text()
        for base in (exported.as_uri(), None)
        if base
    } | {open_page("/" + view).locator(".rd-hash-value").inner_text()}
    assert len(hashes) == 1


def test_the_file_may_load_nothing(exported: Path) -> None:
    text = exported.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert "default-src 'none'" in policy[1]
    assert "unsafe-inline' data" not in policy[1]
    assert "src=" not in re.sub(
        r"data:[\w/;,+=-]+", "", text.split("rd-data-")[0].split("<style>")[0]
    )
    assert '<link rel="stylesheet"' not in text


def test_a_name_cannot_become_a_script(open_page: Callable[..., Page], tmp_path: Path) -> None:
    name = "</script><script>document.title = 'broken'</script><!-- <script>"
    write_study(tmp_path / "work" / "s", replace(make_plan(seeds=(0,)), name=name))
    export(tmp_path / "page.html", tmp_path / "work")
    page = open_page("", base=(tmp_path / "page.html").as_uri())
    expect(page.get_by_label("Study").locator("option")).to_have_text(name)
    assert page.title() == "Runs · redrop lab"


def test_without_studies_it_begins_with_the_story(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    export(tmp_path / "page.html")
    page = open_page("", base=(tmp_path / "page.html").as_uri())
    expect(page.locator("main h2")).to_have_text("Story")
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_text("exported without a study")).to_be_visible()


def test_a_folder_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        export(tmp_path / "no" / "page.html")


def test_all_modules_are_linked_and_every_import_is_renamed() -> None:
    modules = modules_from(STATIC, "js/app.js")
    used = {
        f"js/{file.relative_to(STATIC / 'js').as_posix()}" for file in (STATIC / "js").rglob("*.js")
    }
    assert set(modules) == used - {"js/widget.js"} | {"vendor/signals-core.js"}
    for name, text in modules.items():
        assert not re.search(r'from "\.', text), name
        for imported in re.findall(r'from "([^"]+)";', text):
            assert imported.removeprefix(PREFIX) in modules
