"""A study that is killed: processes that sit down to it and never get up by themselves.

    python -m tests.study.sitting once FOLDER LOG       one sitting: the whole tree of processes
    python -m tests.study.sitting nursery FOLDER LOG    many sittings, forked from a warm process

A cold sitting takes seconds to load torch, twice: in itself and in the engine's fork server. The
nursery has loaded it and forks sittings whose engine forks its runs, so that a hundred kills fit
into a test. It reads a line for each sitting, `MARK SECONDS`: kill it so long after MARK (`start`,
or `report` for the begin of the report), and answers `killed` or `ended`.

LOG gets a line for each run that is started and for the begin of each report.
"""

import functools
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import torch

from redrop.report import write_report
from redrop.study import engine
from redrop.study.code import code_digest
from tests.study import small


def plan():
    return small.plan(arms=("none", "all-0.3"), seeds=4, steps=60)


def sit(folder, log, planned):
    note = functools.partial(os.write, os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644))
    start = engine._start

    def noted_start(context, folder, plan, run):
        note(f"{run.name}\n".encode())
        return start(context, folder, plan, run)

    engine._start = noted_start
    planned = engine.open_study(folder, planned)
    engine.run_study(folder, planned, workers=2, observe=lambda run, event: None)
    note(b"report\n")
    write_report(folder)


def nursery(folder, log):
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    planned = plan()  # loads the data, which the forked runs find loaded
    code_digest()
    real = multiprocessing.get_context
    engine.multiprocessing.get_context = lambda method: real("fork")
    print("ready", flush=True)
    for line in sys.stdin:
        mark, seconds = line.split()
        print(_sitting(folder, log, planned, mark, float(seconds)), flush=True)


def _sitting(folder, log, planned, mark, seconds):
    reports = _reports(log)
    alive, theirs = os.pipe()  # closed when the last process of the sitting is gone
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        code = 1
        try:
            sit(folder, log, planned)
            code = 0
        finally:
            os._exit(code)
    os.setpgid(child, child)
    os.close(theirs)
    began = time.monotonic() if mark == "start" else None
    status = None
    while status is None and (began is None or time.monotonic() - began < seconds):
        time.sleep(0.002)
        if began is None and _reports(log) > reports:
            began = time.monotonic()
        done, code = os.waitpid(child, os.WNOHANG)
        status = code if done else None
    if status is None:
        os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    os.read(alive, 1)
    os.close(alive)
    return {0: "ended", signal.SIGKILL: "killed"}.get(status, f"failed {status}")


def _reports(log):
    return Path(log).read_text().count("report\n") if Path(log).exists() else 0


if __name__ == "__main__":
    way, place, notes = sys.argv[1:]
    if way == "nursery":
        nursery(Path(place), notes)
    else:
        sit(Path(place), notes, plan())
