"""Time attention with dropped weights beside PyTorch's: `python -m bench.attention`.

A training step's share: forward and backward, causal, batch 4, 8 heads of size 64.
"""

import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.harness import compare
from redrop.kernels import attention
from redrop.kernels.attention_plan import AttentionPlan
from redrop.kernels.attention_tensors import AttentionInputs
from redrop.mask import threshold

BATCH, HEADS, HEAD_SIZE = 4, 8, 64
CASES = [
    (512, torch.float32),
    (1024, torch.float32),
    (2048, torch.float32),
    (1024, torch.bfloat16),
    (2048, torch.bfloat16),
]
P = 0.1
MEMORY_LENGTH = 4096


def inputs(length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (BATCH, HEADS, length, HEAD_SIZE)
    query, key, value, upstream = (
        torch.randn(shape, generator=generator).to(dtype) for _ in range(4)
    )
    return query.requires_grad_(), key.requires_grad_(), value.requires_grad_(), upstream


def theirs(query: Tensor, key: Tensor, value: Tensor, upstream: Tensor, p: float) -> None:
    out = F.scaled_dot_product_attention(query, key, value, dropout_p=p, is_causal=True)
    torch.autograd.grad(out, (query, key, value), upstream)


def ours(query: Tensor, key: Tensor, value: Tensor, upstream: Tensor, p: float) -> None:
    plan = AttentionPlan(
        scale=HEAD_SIZE**-0.5, is_causal=True, key=0x8B1EF9904FBD598E, threshold=threshold(p)
    )
    tensors = AttentionInputs(query, key, value)
    attention.backward(upstream, tensors, attention.forward(tensors, plan), plan)


def peak_memory(name: str) -> int:
    """Return the peak resident set, in KiB, of a fresh process that runs one step."""
    code = f"import bench.attention as b; b.report_peak({name!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def report_peak(name: str) -> None:
    """Print by how many KiB one step raises the peak resident set over that of a tiny step."""
    torch.set_num_threads(2)
    call, p = (ours, P) if name == "redrop" else (theirs, 0.0)
    call(*inputs(64, torch.float32), p)  # libraries and threads are there before the tensors are
    before = _peak_resident_set()
    call(*inputs(MEMORY_LENGTH, torch.float32), p)
    print(_peak_resident_set() - before)


def _peak_resident_set() -> int:
    # Not getrusage: a child starts with its parent's maximum there.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Time everything in turns, then compare the peaks of memory."""
    for length, dtype in CASES:
        tensors = inputs(length, dtype)
        # What is compared comes first: it is the baseline of the ratios.
        rivals = {
            "torch, p = 0": lambda tensors=tensors: theirs(*tensors, 0.0),
            "redrop, p = 0.1": lambda tensors=tensors: ours(*tensors, P),
            "redrop, p = 0": lambda tensors=tensors: ours(*tensors, 0.0),
        }
        if dtype == torch.float32:  # half a minute a call in bfloat16
            rivals["torch, p = 0.1"] = lambda tensors=tensors: theirs(*tensors, P)
        name = str(dtype).removeprefix("torch.")
        case = f"forward and backward, causal, T = {length}, {name}"
        compare("attention", case, rivals, seconds=0.0, least_rounds=5)
    ours_peak, their_peak = peak_memory("redrop"), peak_memory("torch")
    print(f"peak memory of one step at T = {MEMORY_LENGTH}, float32")
    print(f"  redrop, p = 0.1   {ours_peak / 1024:8.1f} MiB   {ours_peak / their_peak:.3f} x torch")
    print(f"  torch, p = 0      {their_peak / 1024:8.1f} MiB")


if __name__ == "__main__":
    main()
