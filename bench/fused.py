"""Dropout fused with its neighbours beside single operations: `python -m bench.fused`."""

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.harness import compare
from redrop.ops import dropout_add, gelu_dropout

KEY, P = 0x8B1EF9904FBD598E, 0.1


def main() -> None:
    """Time residual + dropout(x) beside a plain add, and dropout(gelu(x + bias)) beside torch."""
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        for count in (2**18, 2**22):
            x, residual = (torch.randn(count // 1024, 1024).to(dtype) for _ in range(2))
            compare(
                "fused",
                f"residual + dropout(x), forward, {count} {name}",
                {
                    "torch.add": lambda x=x, r=residual: torch.add(r, x),
                    "redrop": lambda x=x, r=residual: dropout_add(x, r, KEY, P),
                    "torch": lambda x=x, r=residual: r + F.dropout(x, P),
                },
            )
        x = torch.randn(4096, 1024).to(dtype).requires_grad_()
        bias = torch.randn(1024).to(dtype).requires_grad_()
        upstream = torch.randn(4096, 1024).to(dtype)

        def ours(x: Tensor = x, bias: Tensor = bias, upstream: Tensor = upstream) -> None:
            torch.autograd.grad(gelu_dropout(x, bias, KEY, P), (x, bias), upstream)

        def theirs(x: Tensor = x, bias: Tensor = bias, upstream: Tensor = upstream) -> None:
            torch.autograd.grad(F.dropout(F.gelu(x + bias), P), (x, bias), upstream)

        case = f"dropout(gelu(x + bias)), forward and backward, 2^22 {name}"
        compare("fused", case, {"torch": theirs, "redrop": ours})


if __name__ == "__main__":
    main()
