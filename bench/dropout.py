"""Elementwise dropout beside copies and beside PyTorch's own: `python -m bench.dropout`."""

import os

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.harness import compare
from redrop.nn import Dropout

CASES = [
    (2**24, torch.float32),
    (2**24, torch.bfloat16),
    (2**20, torch.float32),
    (2**16, torch.float32),
    (2**16, torch.bfloat16),
    (16, torch.float32),
]


def main() -> None:
    """Time forward and backward of each, with fresh outputs, as training has them.

    Large fresh tensors are paid for in page faults. With MALLOC_MMAP_THRESHOLD_=8589934592 and
    MALLOC_TRIM_THRESHOLD_=17179869184 in the environment glibc keeps memory, and the kernels show.
    """
    is_kept = "MALLOC_MMAP_THRESHOLD_" in os.environ
    memory = ", memory kept by the allocator" if is_kept else ""
    for count, dtype in CASES:
        x = torch.randn(count).to(dtype).requires_grad_()
        upstream = torch.randn(count).to(dtype)
        layer = Dropout(0.1)

        def copies(x: Tensor = x, upstream: Tensor = upstream) -> None:
            x.detach().clone()
            upstream.clone()

        def ours(x: Tensor = x, upstream: Tensor = upstream, layer: Dropout = layer) -> None:
            torch.autograd.grad(layer(x), x, upstream)

        def theirs(x: Tensor = x, upstream: Tensor = upstream) -> None:
            torch.autograd.grad(F.dropout(x, 0.1), x, upstream)

        name = str(dtype).removeprefix("torch.")
        compare(
            "dropout",
            f"forward and backward, {count} {name}, p = 0.1{memory}",
            {"two copies (clone)": copies, "redrop": ours, "torch.nn.functional.dropout": theirs},
        )


if __name__ == "__main__":
    main()
