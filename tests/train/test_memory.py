"""Freed memory stays with a training process."""

import subprocess
import sys

import pytest

USED_AGAIN = """
import resource
import sys

import torch

from redrop.train.memory import keep_memory

if sys.argv[1] == "kept":
    keep_memory()
for _ in range(8):  # aligned blocks find their places after a few rounds
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB, more than glibc ever keeps by itself
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Page faults of a later use of as much memory, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", USED_AGAIN, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a property of glibc")
def test_memory_that_was_freed_is_used_again_without_faults():
    assert faults("kept") < 10 < faults("given back")
