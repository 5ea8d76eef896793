"""Random transforms that repeat: the global generators begin at a key, for the time of a block."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(key: int) -> Iterator[None]:
    """Let Python's, NumPy's and torch's generators begin at a key within the block.

    They are left as they were. Only the processor's generator of torch is seeded: data are read
    there, and to look for others costs more than everything else here.

    Args:
        key: 0 <= key < 2^64.

    >>> with seeded(7):
    ...     first = random.random(), np.random.rand(), torch.rand(()).item()
    >>> with seeded(7):
    ...     first == (random.random(), np.random.rand(), torch.rand(()).item())
    True
    """
    generator = torch.default_generator
    states = random.getstate(), np.random.get_state(), generator.get_state()  # noqa: NPY002
    try:
        random.seed(key)
        np.random.seed(key % 2**32)  # noqa: NPY002 - transforms draw from it
        generator.manual_seed(key % 2**63)
        yield
    finally:
        python_state, numpy_state, torch_state = states
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        generator.set_state(torch_state)
