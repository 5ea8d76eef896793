"""Strict settings for all tests: deterministic algorithms, repeatable examples, no time limits."""

import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.use_deterministic_algorithms(True)
# torch fills fresh memory with NaN under deterministic algorithms; that would hide nothing here
# and slow every test down.
torch.utils.deterministic.fill_uninitialized_memory = False

# A first call compiles and loads; a deadline would only say that a machine is busy. The examples
# are a pure function of the test, so a red test is red again.
settings.register_profile(
    "redrop", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("redrop")


@pytest.fixture(autouse=True)
def nothing_compiled_remains() -> Iterator[None]:
    """What one test compiled must not count as a recompilation in the next."""
    yield
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
