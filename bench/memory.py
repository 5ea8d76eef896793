"""What dropout keeps between forward and backward: `python -m bench.memory`.

Counted exactly, by the hooks through which autograd saves tensors, and as the peak of the bytes
that torch's allocator has handed out. (The resident set of the process says less: it depends on
what the C library gives back to the system.)
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import redrop
from bench.harness import DATA
from redrop.nn import functional as ours

LAYERS, COUNT = 8, 2**22
RIVALS: dict[str, Callable[[Tensor], Tensor]] = {
    "no dropout": lambda x: x + 0,
    "redrop": ours.dropout,
    "torch": F.dropout,
}


def saved_bytes(dropout: Callable[[Tensor], Tensor]) -> int:
    """Return the size of all tensors that a chain of layers saves for backward."""
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        saved[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = _chain(dropout)
    y.sum().backward()
    return sum(saved.values())


def peak_bytes(dropout: Callable[[Tensor], Tensor]) -> int:
    """Return the peak of the allocated bytes over forward and backward of the chain."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        _chain(dropout).sum().backward()
    total = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            total += event.nbytes()
            peak = max(peak, total)
    return peak


def _chain(dropout: Callable[[Tensor], Tensor]) -> Tensor:
    y = torch.ones(COUNT, requires_grad=True)
    for _ in range(LAYERS):
        y = dropout(y)
    return y


def main() -> None:
    """Compare the rivals and append a row for each."""
    case = f"{LAYERS} layers of {COUNT} float32, p = 0.5"
    print(case)
    DATA.mkdir(exist_ok=True)
    for name, dropout in RIVALS.items():
        row = {
            "subject": "memory",
            "case": case,
            "rival": name,
            "saved_mib": saved_bytes(dropout) / 2**20,
            "peak_mib": peak_bytes(dropout) / 2**20,
            "redrop": redrop.__version__,
            "torch": str(torch.__version__),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with (DATA / "memory.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"  {name:<12} saved {row['saved_mib']:6.0f} MiB   peak {row['peak_mib']:6.0f} MiB")


if __name__ == "__main__":
    main()
