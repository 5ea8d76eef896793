"""What is said where no cluster can be joined."""

import socket
import sys
import threading
import time

import pytest

from redrop.errors import UsageError
from redrop.study.engine import open_study
from redrop.study.ray_engine import run_study_on_ray
from tests.study import small

NOWHERE = "127.0.0.1:1"
"""Nothing listens there: port 1 is nobody's."""


@pytest.mark.parametrize("answer", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b""], ids=["http", "mute"])
def test_something_else_at_the_address_is_told_at_once(tmp_path, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(20)

        def reply():
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(answer)

        replying = threading.Thread(target=reply)
        replying.start()
        with pytest.raises(
            UsageError, match=f"No Ray cluster can be reached at `127.0.0.1:{port}`"
        ):
            start(tmp_path, f"127.0.0.1:{port}")
        replying.join()


def start(folder, address):
    study = open_study(folder, small.plan(seeds=1))
    return run_study_on_ray(folder, study, address=address, workers=None, observe=lambda *_: None)


def test_a_cluster_that_is_not_there_is_told_in_one_line_within_seconds(tmp_path, capfd):
    began = time.monotonic()
    with pytest.raises(
        UsageError, match=r"can be reached at `127.0.0.1:1` \(Connection refused"
    ) as e:
        start(tmp_path, NOWHERE)
    assert time.monotonic() - began < 10
    assert "\n" not in str(e.value)
    assert capfd.readouterr().err == ""
    assert not small.records(tmp_path)


@pytest.mark.parametrize("address", ["here", "host:", ":6379", "host:port", ""])
def test_an_address_is_a_host_and_a_port(tmp_path, address):
    with pytest.raises(UsageError, match='is HOST:PORT or "auto"; got'):
        start(tmp_path, address)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="engine `ray` needs .*`ray`"):
        start(tmp_path, None)
