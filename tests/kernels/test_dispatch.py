import subprocess
import sys
import textwrap
import warnings

import pytest
import torch

from redrop.errors import UsageError
from redrop.kernels import cpu, dispatch, eager, eager_fused, gelu
from tests.kernels.cases import DTYPES, assert_same_bits, expected


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_floating_point_on_the_cpu_runs_native(dtype):
    backend = dispatch.select(torch.zeros(3, dtype=dtype))
    assert backend.dropout is cpu.dropout
    assert cpu.supported_isa()[0] in backend.reason


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (torch.zeros((1,) * 17), "at most 16 dimensions, this tensor has 17"),
        (torch.zeros(3, device="meta"), "no fast kernel for meta tensors"),
    ],
    ids=["dimensions", "device"],
)
def test_falling_back_says_so(x, reason):
    with pytest.warns(dispatch.BackendWarning, match=reason):
        backend = dispatch.select(x)
    assert backend.dropout is eager.dropout


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_gelu_falls_back_for_dtypes_it_does_not_compute(dtype):
    assert dispatch.select_gelu(torch.zeros(3)).gelu_dropout is gelu.gelu_dropout
    with pytest.warns(dispatch.BackendWarning, match="GELU kernel takes float32 and bfloat16"):
        backend = dispatch.select_gelu(torch.zeros(3, dtype=dtype))
    assert backend.gelu_dropout is eager_fused.gelu_dropout


def test_a_fallback_warns_once_by_default():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            dispatch.select(torch.zeros(3, device="meta"))
    assert len(caught) == 1


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool], ids=str)
def test_dtypes_without_dropout_are_refused(dtype):
    with pytest.raises(UsageError, match=f"got {dtype}"):
        dispatch.select(torch.zeros(3, dtype=dtype))


def test_a_tree_that_was_never_built_works_and_says_so():
    script = """
        import sys, warnings
        sys.modules["redrop._core"] = None  # as if it were not there
        import torch
        from redrop.kernels import dispatch
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            backend = dispatch.select(torch.zeros(3))
        print(backend.name, len(caught), "pip install" in str(caught[0].message))
        print(dispatch.describe())
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith(
        "eager 1 True\nCPU: eager (the native module cannot be imported"
    )


def test_describe_names_the_kernel_and_the_reason():
    best = cpu.supported_isa()[0]
    assert dispatch.describe().startswith(f"CPU: cpu (native code with the instruction set {best}")


def test_backends_agree():
    x = torch.randn(5, 1025)
    with pytest.warns(dispatch.BackendWarning):
        portable = dispatch.select(x.reshape(x.shape + (1,) * 15))
    for backend in (portable, dispatch.select(x)):
        assert_same_bits(backend.dropout(x, 7, 2**30), expected(x, 7, 2**30))
