"""One sitting of a run, in a process of its own, that may be killed.

    python -m tests.train.victim DIRECTORY RECORD THREADS OPTIMIZER MOMENT COUNT

MOMENT is `step` (die after COUNT steps of this sitting), `fsync` (die inside the COUNTth flush of
a checkpoint) or `never`.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from redrop.train.loop import train
from tests.train.small import text_task, train_config


def main(directory, record, threads, optimizer, moment, count):
    torch.use_deterministic_algorithms(True)
    left = [int(count)]

    def die_when_due(of):
        if of == moment:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    fsync = os.fsync

    def counted_fsync(descriptor):
        die_when_due("fsync")
        fsync(descriptor)

    os.fsync = counted_fsync

    def observe(event):
        with Path(record).open("a") as file:
            file.write(json.dumps(event) + "\n")

    train(
        text_task(p=0.3, layers=2),
        train_config(
            steps=30, checkpoint_every=2, threads=int(threads), optimizer=optimizer, ema=0.9
        ),
        directory,
        observe,
        progress=lambda step: die_when_due("step"),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
