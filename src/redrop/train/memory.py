"""Memory that a training process keeps, because its next step wants it again."""

import ctypes
import sys

# The parameters' numbers in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30


def keep_memory() -> None:
    """Let this process keep up to 1 GiB of freed memory, instead of giving it back at each step.

    A step frees the tensors that the next one allocates again. glibc returns large free blocks to
    the system and asks for them anew, and the first touch of each page of 4 KiB then costs a fault:
    2,500 faults per step, a fifth of its time, for the network of the default study (docs/LOG.md).
    For processes of redrop's own; it changes nothing where there is no glibc.

    References:
        mallopt(3), M_TRIM_THRESHOLD and M_MMAP_THRESHOLD.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
