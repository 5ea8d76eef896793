"""The machine that a run was computed on, as its record tells it."""

import os
import platform
from pathlib import Path

import torch

from redrop.ops.backend import describe_backend

_CPU_INFO = Path("/proc/cpuinfo")


def describe_machine(threads: int) -> dict[str, object]:
    """Return processor, cores, threads in use and the kernels that serve dropout.

    Args:
        threads: Of the run; 0 means torch's own number.

    >>> sorted(describe_machine(1))
    ['backend', 'cores', 'cpu', 'system', 'threads']
    """
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "backend": describe_backend().replace("\n", "; "),
        "system": platform.system(),
    }


def _processor() -> str:
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
