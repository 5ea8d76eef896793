import re
import sys
from pathlib import Path

import pytest
import torch

from redrop.kernels.memory import LARGE_FROM, empty_like


@pytest.mark.parametrize("count", [0, 1, LARGE_FROM, 3 * LARGE_FROM])
def test_it_is_like_its_model_and_can_be_written(count):
    x = torch.arange(count, dtype=torch.float32)
    out = empty_like(x)
    assert (out.shape, out.dtype, out.stride()) == (x.shape, x.dtype, x.stride())
    assert torch.equal(out.copy_(x), x)


def test_the_memory_format_stays():
    x = torch.empty(4, 64, 80, 80).to(memory_format=torch.channels_last)
    assert empty_like(x).stride() == x.stride()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc/self/smaps")
def test_large_memory_asks_for_huge_pages():
    if not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("this kernel has no transparent huge pages")
    out = empty_like(torch.empty(16 * LARGE_FROM))
    middle = out.data_ptr() + out.nbytes // 2
    assert "hg" in _flags(middle)


def _flags(address):
    """The VmFlags of the mapping that holds an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(match[1], 16) <= address < int(match[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError("the address is not mapped")
