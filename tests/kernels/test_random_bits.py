import numpy as np
import pytest
import torch
from hypothesis import given

from redrop.errors import UsageError
from redrop.kernels import cpu, dispatch, eager, random_bits
from redrop.mask import Window
from redrop.mask.reference import random_bits as defined
from redrop.mask.window import coordinates
from tests.kernels.cases import cases, keys

KEY = 0x8B1EF9904FBD598E

every_isa = pytest.mark.parametrize("isa", cpu.supported_isa())


def reference(key, shape, window=None, shared=()):
    bits = defined(key, *coordinates(shape, window, shared))
    return torch.from_numpy(np.broadcast_to(bits, shape).astype(np.int64))


@every_isa
@given(case=cases(), key=keys)
def test_any_window_and_shared_dimension(isa, case, key):
    shape = tuple(case.x.shape)
    bits = random_bits.random_bits(key, shape, case.window, case.shared, isa)
    assert bits.dtype == torch.int64
    assert bits.is_contiguous()
    assert torch.equal(bits, reference(key, shape, case.window, case.shared))


@every_isa
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_thread_count_changes_nothing(isa, threads, monkeypatch):
    monkeypatch.setattr(random_bits, "PARALLEL_FROM", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        bits = random_bits.random_bits(KEY, (5, 900, 3), isa=isa)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(bits, reference(KEY, (5, 900, 3)))


def test_falling_back_says_so_and_gives_the_same_bits():
    native = dispatch.select_random_bits(torch.device("cpu"), 2)
    assert native is random_bits.random_bits
    shape = (1,) * 16 + (11,)
    with pytest.warns(dispatch.BackendWarning, match="at most 16 dimensions, this tensor has 17"):
        portable = dispatch.select_random_bits(torch.device("cpu"), 17)
    assert portable.func is eager.random_bits
    assert torch.equal(portable(KEY, shape, None, ()).view(11), native(KEY, (11,)))


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="window"):
        random_bits.random_bits(KEY, (3, 3), Window((3, 3), (1, 0)))
    with pytest.raises(UsageError, match="at most 16 dimensions"):
        random_bits.random_bits(KEY, (1,) * 17)
