"""Training started from the page: a real, short run in a real browser."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from redrop.errors import UsageError
from redrop.lab.jobs import FOLDER, Trainer, command_for
from redrop.study.records import read_study
from tests.lab.conftest import TOKEN, LiveServer

ASKED: dict[str, Any] = {
    "data": "markov:16000",
    "norm": "pre",
    "steps": 20,
    "seed": 0,
    "rates": {"embedding": 0.1},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "/etc/passwd"}, "`data` must be one of"),
        ({"data": ["x"]}, "`data` must be one of"),
        ({"norm": "--out=/tmp"}, "`norm` must be"),
        ({"steps": 10**9}, "`steps` must lie in"),
        ({"steps": "5"}, "`steps` must lie in"),
        ({"steps": True}, "`steps` must lie in"),
        ({"seed": -1}, "`seed` must be"),
        ({"seed": "0; rm"}, "`seed` must be"),
        ({"rates": {"embedding": 7}}, "rate"),
        ({"rates": {"--out": 0.1}}, "rates"),
        ({"rates": {"embedding": "x"}}, "rates"),
        ({"rates": []}, "asked for with exactly"),
        ({"more": 1}, "asked for with exactly"),
    ],
)
def test_what_the_command_line_would_refuse_is_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        command_for({**ASKED, **change})


def test_a_request_is_no_list() -> None:
    with pytest.raises(UsageError, match="asked for with exactly"):
        command_for([])  # type: ignore[arg-type]


def test_a_run_is_started_seen_and_stopped_from_the_page(
    open_page: Callable[..., Page], live: Callable[..., LiveServer], tmp_path: Path
) -> None:
    base = live(folder=tmp_path).url("")
    page = open_page(f"/?token={TOKEN}#v=1&view=block&rates=0.1,0.2,0,0,0&seed=5", base=base)
    assert "token" not in page.url, "a copied address must not carry the token"
    page.get_by_label("Text").select_option("markov:16000")
    page.get_by_label("Steps").fill("5000")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("button", name="Stop")).to_be_enabled()
    page.get_by_role("button", name="Start").click(force=True)
    page.get_by_role("button", name="See its curves").click()
    expect(page.get_by_text("0 of 1 run complete, 1 under way")).to_be_visible(timeout=60_000)
    page.get_by_text("Show as a table").click()
    expect(page.locator(".rd-table tbody tr").first).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="Block").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("The run has ended")).to_be_visible(timeout=30_000)
    (folder,) = (tmp_path / FOLDER).iterdir()
    study = read_study(folder)
    (run,) = study.incomplete
    assert run.header.seed == 5
    assert run.header.config["model"]["dropout"]["attention_weights"] == 0.2
    assert list((folder / "checkpoints").rglob("state.json")), "it can go on where it stopped"
    page.get_by_role("link", name="Attention").click()
    model = page.get_by_label("Model").locator("option", has_text="attention_weights-0.2-s5")
    expect(model).to_have_count(1)
    page.get_by_label("Model").select_option(model.get_attribute("value"))
    page.get_by_role("textbox", name="Sentence").fill("abcdabcd")
    expect(page.get_by_text("Next word after")).to_be_visible()


def test_without_the_token_the_page_says_why(
    open_page: Callable[..., Page], live: Callable[..., LiveServer], tmp_path: Path, browser: Any
) -> None:
    # Chromium reports the refusal on its console, so this page has no guard of its own.
    page = browser.new_page()
    page.goto(live(folder=tmp_path).url("/#v=1&view=block"))
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("needs the token of the address")).to_be_visible()
    page.close()
    assert not (tmp_path / FOLDER).exists()


def test_one_run_at_a_time_and_none_outlives_the_server(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)
    assert trainer.start({**ASKED, "steps": 5000})["is_running"]
    with pytest.raises(UsageError, match="One run at a time"):
        trainer.start(ASKED)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert trainer.stop() == {
        "is_running": False,
        "study": trainer.status()["study"],
        "failure": "",
    }


def test_why_a_run_failed_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(tmp_path)
    monkeypatch.setattr("redrop.lab.jobs.command_for", lambda _: (["train", "nowhere.txt"], "x"))
    trainer.start(ASKED)
    deadline = time.monotonic() + 60
    while trainer.is_running and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "nowhere.txt" in json.dumps(trainer.status()["failure"])
