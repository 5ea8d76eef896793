import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.kernels import cpu
from redrop.mask import Window, keep_mask
from redrop.mask.reference import random_bits
from redrop.mask.window import coordinates
from tests.kernels.cases import DTYPES, assert_same_bits, cases, expected, keys, thresholds

KEY = 0x8B1EF9904FBD598E
HALF = 2**31

every_isa = pytest.mark.parametrize("isa", cpu.supported_isa())


@pytest.fixture
def parallel_from_one(monkeypatch):
    """Let even small tensors use all threads, and put the thread count back afterwards."""
    monkeypatch.setattr(cpu, "PARALLEL_FROM", 1)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@every_isa
@given(case=cases(), key=keys, threshold=thresholds)
def test_any_layout_window_and_shared_dimension(isa, case, key, threshold):
    y = cpu.dropout(case.x, key, threshold, case.window, case.shared, isa=isa)
    assert_same_bits(y, expected(case.x, key, threshold, case.window, case.shared))
    assert y.stride() == torch.empty_like(case.x).stride()


@every_isa
@given(case=cases(), key=keys, threshold=thresholds)
def test_in_place(isa, case, key, threshold):
    x = case.x.clone()
    wanted = expected(x, key, threshold, case.window, case.shared)
    assert cpu.dropout(x, key, threshold, case.window, case.shared, out=x, isa=isa) is x
    assert_same_bits(x, wanted)


@every_isa
@pytest.mark.parametrize("shape", [(9001,), (70, 129), (3, 40, 96), (700, 13), (5, 3, 640)])
def test_thread_count_changes_nothing(isa, shape, parallel_from_one):
    x = torch.randn(shape)
    transposed = x.mT.contiguous().mT if x.dim() > 1 else x
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        for layout in (x, transposed):
            y = cpu.dropout(layout, KEY, HALF, isa=isa)
            assert_same_bits(y, expected(x, KEY, HALF))
        y = cpu.dropout(x, KEY, HALF, shared=(x.dim() - 1,), isa=isa)
        assert_same_bits(y, expected(x, KEY, HALF, shared=(x.dim() - 1,)))


def test_thread_count_changes_nothing_where_pieces_are_cut_at_huge_pages(parallel_from_one):
    x = torch.randn(9_000_001)[1:].reshape(-1, 1000)
    torch.set_num_threads(1)
    alone = cpu.dropout(x, KEY, HALF)
    assert_same_bits(alone[:50], expected(x[:50], KEY, HALF))
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert_same_bits(cpu.dropout(x, KEY, HALF), alone)
        assert_same_bits(cpu.dropout(x, KEY, HALF, out=torch.empty_like(x)), alone)


@pytest.fixture(scope="module")
def four_million_words():
    shape = (4, 1024, 1024)
    return random_bits(KEY, *coordinates(shape)).astype(np.uint32)


@every_isa
@pytest.mark.parametrize(
    "threshold", [1, 0x00030001, 0x00038000, 0x0003FFFF, 0x1999999A, 0xFFFF8000]
)
def test_four_million_decisions_with_all_their_ties(isa, threshold, four_million_words):
    words = four_million_words
    assert np.count_nonzero(words >> 16 == threshold >> 16) > 30  # the low half-word decides these
    y = cpu.dropout(torch.ones(words.shape), KEY, threshold, isa=isa)
    assert np.array_equal(y.numpy() != 0, words >= threshold)


@every_isa
@pytest.mark.parametrize("shape", [(1000,), (125, 8), (40, 3, 9)])
def test_each_element_is_dropped_from_its_own_word_on(isa, shape):
    words = random_bits(KEY, *coordinates(shape)).ravel().tolist()
    x = torch.ones(shape)
    for i in range(0, len(words), 17):
        assert cpu.dropout(x, KEY, words[i], isa=isa).flatten()[i] > 0
        assert cpu.dropout(x, KEY, words[i] + 1, isa=isa).flatten()[i] == 0


@every_isa
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("threshold", [0x15555555, 0x55555555, 0xFFFFFF00])
def test_every_half_is_scaled_in_float32_and_rounded_once(isa, dtype, threshold):
    x = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    kept = torch.zeros_like(x, dtype=torch.bool)
    for key in range(3):
        assert_same_bits(cpu.dropout(x, key, threshold, isa=isa), expected(x, key, threshold))
        kept |= torch.from_numpy(keep_mask(key, threshold / 2**32, x.shape))
    assert threshold > HALF or kept.float().mean() > 0.9


@every_isa
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("special", [float("inf"), float("-inf"), float("nan")])
def test_what_is_dropped_is_gone_even_if_not_finite(isa, dtype, special):
    x = torch.full((3, 77), special, dtype=dtype)
    y = cpu.dropout(x, KEY, HALF, isa=isa)
    kept = torch.from_numpy(keep_mask(KEY, 0.5, x.shape))
    assert torch.equal(y[~kept], torch.zeros_like(y[~kept]))
    assert_same_bits(y[kept], x[kept])


@every_isa
def test_coordinates_up_to_their_limits(isa):
    x = torch.randn(2, 3, 5, 300)
    sizes = (2**16, 2**16, 2**32, 2**35)
    offset = tuple(size - count for size, count in zip(sizes, x.shape, strict=True))
    window = Window(sizes, offset)
    wanted = expected(x, KEY, HALF, window)
    assert_same_bits(cpu.dropout(x, KEY, HALF, window, isa=isa), wanted)


@settings(max_examples=20)
@given(case=cases(), key=keys)
def test_a_threshold_of_zero_keeps_everything(case, key):
    assert_same_bits(cpu.dropout(case.x, key, 0, case.window, case.shared), case.x)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_the_memory_format_stays(memory_format):
    x = torch.randn(2, 16, 7, 5).to(memory_format=memory_format)
    y = cpu.dropout(x, KEY, HALF)
    assert y.is_contiguous(memory_format=memory_format)
    assert_same_bits(y, expected(x, KEY, HALF))


def test_the_negative_bit_is_honoured():
    x = torch.randn(65, dtype=torch.complex64).conj().imag
    assert x.is_neg()
    for part in (x, x[3:4], x[5]):
        wanted = expected(part.clone(), KEY, HALF // 4)
        assert_same_bits(cpu.dropout(part, KEY, HALF // 4), wanted)
        cpu.dropout(part, KEY, HALF // 4, out=part)
        assert torch.equal(part, wanted)  # a dropped element is +0 in memory, and reads as -0


def test_out_may_be_a_tensor_elsewhere():
    x, out = torch.randn(9, 130), torch.full((130, 9), 7.0).mT
    assert cpu.dropout(x, KEY, HALF, out=out) is out
    assert_same_bits(out, expected(x, KEY, HALF))


def test_out_that_cannot_be_written_is_refused():
    x = torch.randn(4, 6)
    memory = torch.randn(30)
    with pytest.raises(UsageError, match="`out` must be like `x`"):
        cpu.dropout(x, KEY, HALF, out=torch.empty(4, 5))
    with pytest.raises(UsageError, match="`out` must be like `x`"):
        cpu.dropout(x, KEY, HALF, out=torch.empty(4, 6, dtype=torch.float64))
    with pytest.raises(UsageError, match="overlap in memory"):
        cpu.dropout(memory[:24], KEY, HALF, out=memory[6:])
    expanded = torch.randn(4, 1).expand(4, 6)
    with pytest.raises(UsageError, match="two elements in one place"):
        cpu.dropout(expanded, KEY, HALF, out=expanded)


def test_tensors_it_cannot_read_are_refused():
    with pytest.raises(UsageError, match=r"floating-point CPU tensors; got torch\.int64 on cpu"):
        cpu.dropout(torch.zeros(3, dtype=torch.int64), KEY, HALF)
    with pytest.raises(UsageError, match="on meta"):
        cpu.dropout(torch.zeros(3, device="meta"), KEY, HALF)
    with pytest.raises(UsageError, match="at most 16 dimensions; got 17"):
        cpu.dropout(torch.zeros((1,) * 17), KEY, HALF, shared=(0,))
    with pytest.raises(UsageError, match="must lie inside its whole"):
        cpu.dropout(torch.zeros(3), KEY, HALF, Window((4,), (2,)))
    with pytest.raises(UsageError, match="shared dimension must exist"):
        cpu.dropout(torch.zeros(3), KEY, HALF, shared=(1,))
    with pytest.raises(UsageError, match="2\\^35 columns"):
        cpu.dropout(torch.zeros(3), KEY, HALF, Window((2**36,), (0,)))


def test_an_unknown_instruction_set_is_refused():
    with pytest.raises(ValueError, match="no instruction set 'sse9'"):
        cpu.dropout(torch.zeros(3), KEY, HALF, isa="sse9")


@given(st.data())
def test_shared_dimensions_may_be_negative_and_repeated(data):
    dim = data.draw(st.integers(0, 2))
    x = torch.randn(3, 4, 9)
    y = cpu.dropout(x, KEY, HALF, shared=(dim - 3, dim))
    assert_same_bits(y, expected(x, KEY, HALF, shared=(dim,)))
