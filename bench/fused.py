"""Dropout fused with its neighbours beside single operations: `python -m bench.fused`."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.harness import compare
from redrop.ops import dropout_add, gelu_dropout

KEY, P = 0x8B1EF9904FBD598E, 0.1


def main() -> None:
    """Time residual + dropout(x) beside a plain add, and dropout(gelu(x + bias)) beside torch."""
    for dtype in (torch.float32, torch.bfloat16):
        for count in (2**18, 2**22):
            compare_add(count, dtype, dtype)
        compare_gelu(dtype)
    for count in (2**18, 2**22):
        compare_add(count, torch.bfloat16, torch.float32)


def compare_add(count: int, dtype: torch.dtype, stream: torch.dtype) -> None:
    """Time residual + dropout(x), forward alone and with backward.

    Where the dtypes differ, as under autocast, PyTorch widens `x` first, as an add of both would.
    """
    x = torch.randn(count // 1024, 1024).to(dtype).requires_grad_()
    residual = torch.randn(count // 1024, 1024).to(stream).requires_grad_()
    upstream = torch.randn(count // 1024, 1024).to(stream)
    rivals: dict[str, Callable[[], Tensor]] = {
        "torch.add": lambda: residual + x.to(stream),
        "redrop": lambda: dropout_add(x, residual, KEY, P),
        "torch": lambda: residual + F.dropout(x, P).to(stream),
    }
    case = f"{count} {name_of(dtype)}" + ("" if dtype == stream else f" to {name_of(stream)}")
    with torch.no_grad():
        compare("fused", f"residual + dropout(x), forward, {case}", rivals)
    both = {name: with_backward(call, (x, residual), upstream) for name, call in rivals.items()}
    compare("fused", f"residual + dropout(x), forward and backward, {case}", both)


def compare_gelu(dtype: torch.dtype) -> None:
    """Time dropout(gelu(x + bias)), forward and backward."""
    x = torch.randn(4096, 1024).to(dtype).requires_grad_()
    bias = torch.randn(1024).to(dtype).requires_grad_()
    upstream = torch.randn(4096, 1024).to(dtype)
    rivals: dict[str, Callable[[], Tensor]] = {
        "torch": lambda: F.dropout(F.gelu(x + bias), P),
        "redrop": lambda: gelu_dropout(x, bias, KEY, P),
    }
    case = f"dropout(gelu(x + bias)), forward and backward, 2^22 {name_of(dtype)}"
    both = {name: with_backward(call, (x, bias), upstream) for name, call in rivals.items()}
    compare("fused", case, both)


def with_backward(
    forward: Callable[[], Tensor], inputs: tuple[Tensor, ...], upstream: Tensor
) -> Callable[[], object]:
    """Return the call that also computes the gradients of `inputs`."""
    return lambda: torch.autograd.grad(forward(), inputs, upstream)


def name_of(dtype: torch.dtype) -> str:
    """Return float32 for torch.float32."""
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    main()
