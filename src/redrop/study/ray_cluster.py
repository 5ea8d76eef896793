"""The way to a Ray cluster: this machine, or one that somebody has started."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redrop.data.optional import import_optional
from redrop.errors import UsageError

_SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_NUM_REDIS_GET_RETRIES": "3"}
"""No reports to its makers; and who is refused is told so in 3 s, not in 20."""

_SECONDS_TO_CONNECT = 5.0

_has_run_here = False
"""Ray (2.60 at least) cancels actors on a cluster once its process has run a cluster of its own."""

# How a client of HTTP/2, on which gRPC runs, begins (RFC 9113, 3.4 and 6.5): the preface and an
# empty frame of settings; a server answers with a frame of the same type.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_TYPE_AT, _SETTINGS_FRAME = 3, 4


@contextmanager
def connect(address: str | None, workers: int | None, cores: int) -> Iterator[int | None]:
    """Be connected to a cluster inside `with`.

    Args:
        address: HOST:PORT, or "auto" for the cluster that runs on this machine; None starts Ray on
            this machine and stops it afterwards.
        workers: Runs side by side, or None for as many as there are cores.
        cores: That each run takes.

    Returns:
        The most runs to give to the cluster at once; None leaves that to the cluster.

    Raises:
        UsageError: Ray is not installed, no cluster answers that has so many cores, or this process
            ran Ray by itself before.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)  # before the import, which reads them
    ray = import_optional("ray", package="ray", need="The engine `ray`")
    if ray.is_initialized():
        raise UsageError(
            "A process talks to one Ray cluster, and this one is connected already. Call "
            "ray.shutdown() first."
        )
    options: dict[str, Any] = {"address": address}
    global _has_run_here
    if address is None:
        _has_run_here = True
        workers = workers or max(1, len(os.sched_getaffinity(0)) // cores)
        options = {"address": "local", "num_cpus": workers * cores, "include_dashboard": False}
    elif _has_run_here:
        raise UsageError(
            "This process has run Ray on this machine before, and Ray then loses what it starts on "
            f"the cluster at `{address}`. Start a new Python for the cluster."
        )
    else:
        _check_answers(address)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        ray.init(**options, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _unreachable(address, one_line(error)) from error
    try:
        if ray.cluster_resources().get("CPU", 0) < cores:
            raise UsageError(
                f"A run takes {cores} cores of one node; the cluster has none to give. Start a "
                "node with `ray start --address`."
            )
        yield workers
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Knock before Ray does: where no Ray is, it tries for minutes and does not heed Ctrl-C."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        raise UsageError(f'The address of a cluster is HOST:PORT or "auto"; got {address!r}.')
    try:
        place = (host.strip("[]"), int(port))
        with socket.create_connection(place, _SECONDS_TO_CONNECT) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return  # it speaks first with keys that only Ray has
            connection.sendall(_GREETING)
            answer = connection.recv(_TYPE_AT + 1)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or one_line(error)
        raise _unreachable(address, why) from error
    if answer[_TYPE_AT:] != bytes([_SETTINGS_FRAME]):
        raise _unreachable(address, "something else than Ray answers there")


def _unreachable(address: str | None, why: str) -> UsageError:
    if address is None:
        return UsageError(f"The engine `ray` starts Ray on this machine, which failed: {why}.")
    return UsageError(
        f"No Ray cluster can be reached at `{address}` ({why}). Start one with `ray start --head`, "
        "give its RAY_AUTH_MODE and RAY_AUTH_TOKEN to this command, too, or leave the address out "
        "to run on this machine."
    )


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
