import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from redrop.lab.server import create_app, listen
from tests.study.synthetic import make_plan, write_study

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / "src" / "redrop" / "lab" / "static"
TOKEN = "the-token-of-the-tests"


class LiveServer:
    """The real server on a free port, in a thread."""

    def __init__(self, **settings: Any) -> None:
        listener = listen(0)
        self.port = listener.getsockname()[1]
        app = create_app(port=self.port, token=TOKEN, **settings)
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def url(self, address: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{address}"

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture
def live() -> Iterator[Callable[..., LiveServer]]:
    """Start servers with settings of their own; all are closed after the test."""
    servers: list[LiveServer] = []

    def start(**settings: Any) -> LiveServer:
        servers.append(LiveServer(**settings))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished study: four arms, three seeds."""
    folder = tmp_path_factory.mktemp("work")
    write_study(folder / "studies" / "finished", make_plan(seeds=(0, 1, 2)))
    return folder


@pytest.fixture(scope="session")
def server(studies: Path) -> Iterator[LiveServer]:
    """One server for all tests that only look."""
    running = LiveServer(folder=studies)
    yield running
    running.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for each module: Playwright's event loop runs for as long as it is open."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "The page is tested in a real browser: apt-get install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Browser, server: LiveServer) -> Iterator[Callable[..., Page]]:
    """Open an address in a fresh context; fail on any console error or foreign request."""
    contexts = []
    troubles: list[str] = []

    def open_one(address: str = "/", *, base: str | None = None, **settings: Any) -> Page:
        settings.setdefault("viewport", {"width": 1280, "height": 900})
        context = browser.new_context(**settings)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: (
                troubles.append(f"console: {message.text}")
                if message.type in ("error", "warning")
                else None
            ),
        )
        page.on("request", lambda request: check_request(request.url))
        page.goto((server.url("") if base is None else base) + address)
        return page

    def check_request(url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:", "file:", "blob:", "about:")):
            troubles.append(f"request to {url}")

    yield open_one
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., Any]:
    """Run a module's body in node with `input` at hand; return what it passes to `give`."""

    def run(body: str, given: object) -> Any:
        (tmp_path / "given.json").write_text(json.dumps(given), encoding="utf-8")
        script = tmp_path / "run.mjs"
        script.write_text(
            "import fs from 'node:fs';\n"
            f"const input = JSON.parse(fs.readFileSync('{tmp_path}/given.json', 'utf8'));\n"
            "const give = (value) => process.stdout.write(JSON.stringify(value));\n" + body,
            encoding="utf-8",
        )
        done = subprocess.run(
            ["node", str(script)], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
