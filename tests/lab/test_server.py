"""The server answers its own page and nobody else, and never leaves its folder."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from redrop.errors import UsageError
from redrop.lab.security import LARGEST_BODY
from redrop.lab.server import listen
from tests.lab.conftest import TOKEN, LiveServer


def ask(
    server: LiveServer,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    own = {"Host": f"127.0.0.1:{server.port}"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {**own, **named})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content


def test_the_page_comes_with_a_strict_policy(server: LiveServer) -> None:
    status, headers, content = ask(server, "/")
    assert status == 200
    assert b"redrop lab" in content
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    for path in ("/js/app.js", "/api/state", "/nothing"):
        assert "content-security-policy" in ask(server, path)[1]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "", "[::1]:1"])
def test_a_foreign_host_is_refused(server: LiveServer, host: str) -> None:
    """A website whose name was made to point at 127.0.0.1 still sends its own name."""
    assert ask(server, "/api/state", Host=host)[0] == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_foreign_origin_is_refused(server: LiveServer, origin: str) -> None:
    assert ask(server, "/api/state", Origin=origin)[0] == 403


@pytest.mark.parametrize("path", ["/api/train", "/api/stop"])
def test_starting_and_stopping_needs_the_token(server: LiveServer, path: str) -> None:
    assert ask(server, path, "POST", b"{}")[0] == 403
    assert ask(server, path, "POST", b"{}", x_redrop_token="wrong")[0] == 403
    assert ask(server, path, "POST", b"{}", x_redrop_token="\xe9")[0] == 403
    assert ask(server, path, "GET", x_redrop_token=TOKEN)[0] in (404, 405)


def test_nothing_but_these_two_can_be_written_to(server: LiveServer) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "POST"):
        for path in ("/", "/api/state", "/js/app.js", "/models/little-english.json"):
            assert ask(server, path, method, b"{}", x_redrop_token=TOKEN)[0] in (404, 405)


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml", "/js/../../server.py", "/%2e%2e/server.py", "/..%2fserver.py",
        "/js/%2e%2e/%2e%2e/security.py", "//etc/passwd", "/models/../language.py", "/%00",
        "/js/app.js%00.html", "/models/%2e%2e%2flanguage.py",
    ],
)  # fmt: skip
def test_no_file_outside_is_read(server: LiveServer, path: str) -> None:
    status, _, content = ask(server, path)
    assert status in (400, 404, 500)
    assert b"import" not in content
    assert b"root:" not in content
    assert ask(server, "/")[0] == 200


@pytest.mark.parametrize(
    "name", ["..", "../work", "studies:..", "studies/finished", "", "x" * 9000]
)
def test_only_studies_that_were_found_are_opened(server: LiveServer, name: str) -> None:
    status, _, content = ask(server, f"/api/study?name={name}")
    assert status == 400
    assert "No study of that name" in json.loads(content)["error"]


def test_links_are_not_followed(live: Callable[..., LiveServer], tmp_path: Path) -> None:
    from tests.study.synthetic import make_plan, write_study

    write_study(tmp_path / "elsewhere" / "secret", make_plan(seeds=(0,)))
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "served" / "link2").symlink_to(tmp_path / "elsewhere" / "secret")
    server = live(folder=tmp_path / "served")
    assert json.loads(ask(server, "/api/state")[2])["studies"] == []


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"A" * 100_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /api/train HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"GET /api/study?name=%ff%fe&have=%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)  # fmt: skip
def test_malformed_requests_leave_the_server_alive(server: LiveServer, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(200)
    assert b" 200 " not in answer
    assert ask(server, "/api/state")[0] == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"data": "markov:16000"}', b'{"a": NaN}', b"[" * 30_000],
)
def test_malformed_requests_to_train_are_refused(server: LiveServer, body: bytes) -> None:
    status, _, content = ask(server, "/api/train", "POST", body, x_redrop_token=TOKEN)
    assert status in (400, 413)
    assert content
    assert json.loads(ask(server, "/api/state")[2])["trainer"]["is_running"] is False


def test_a_long_body_is_refused(server: LiveServer) -> None:
    body = b"x" * (LARGEST_BODY + 1)
    assert ask(server, "/api/train", "POST", body, x_redrop_token=TOKEN)[0] == 413


@pytest.mark.parametrize("have", ["a", "a:b", "a:-1", "a:1:2", "a:99999999999"])
def test_a_broken_cursor_is_refused(server: LiveServer, have: str) -> None:
    assert ask(server, f"/api/study?name=studies:finished&have={have}")[0] == 400


def test_a_taken_port_is_a_message() -> None:
    with listen(0) as taken, pytest.raises(UsageError, match="`port` must be a free one"):
        listen(taken.getsockname()[1])


def test_it_listens_on_loopback_only() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_it_starts_says_where_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\nfrom redrop.lab import serve\n"
        f"serve(Path({str(tmp_path)!r}), open_browser=False,"
        " announce=lambda address: print(address, flush=True))\nprint('ended')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", address)
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert b"redrop lab" in answer.read()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("ended\n", "", 0)


def test_the_server_loads_no_torch() -> None:
    code = "import sys, redrop.lab.server, redrop.lab.export; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
