"""The native kernels (csrc/core.cpp). Nothing is checked there; redrop.kernels.cpu checks."""

def isa() -> list[str]:
    """Return the instruction sets this machine can run, best first."""

def dropout(
    in_ptr: int,
    out_ptr: int,
    storage: int,
    shape: tuple[int, ...],
    key: int,
    threshold: int,
    threads: int,
    isa: str = "",
) -> None:
    """Drop out a contiguous tensor that is the whole itself."""

def dropout_part(
    in_ptr: int,
    out_ptr: int,
    storage: int,
    dims: tuple[tuple[int, int, int, int, int, bool], ...],
    key: int,
    threshold: int,
    threads: int,
    isa: str = "",
) -> None:
    """Drop out any tensor; a dimension is (size, in_stride, out_stride, global, offset, shared)."""
