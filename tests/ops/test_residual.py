import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.kernels.dispatch import BackendWarning
from redrop.mask import Window, keep_mask, scale, threshold
from redrop.ops import dropout_add
from redrop.ops.key import signed

KEY = 0x8B1EF9904FBD598E
HALVES = [torch.bfloat16, torch.float16]
TENSOR_KEY = torch.tensor(signed(KEY))  # which leads to the operator, as tracing does
KEYS = pytest.mark.parametrize("key", [KEY, TENSOR_KEY], ids=["plain", "operator"])


def expected(x, residual, p, window=None):
    return (residual.float() + dropped(x.float(), p, window)).to(residual.dtype)


def dropped(x, p, window=None):
    kept = torch.from_numpy(keep_mask(KEY, p, x.shape, window=window))
    return torch.where(kept, x * torch.tensor(scale(threshold(p)), dtype=x.dtype), 0.0)


@given(
    p=st.floats(0, 1),
    shape=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_it_is_the_formula_rounded_once(p, shape, dtype):
    x, residual = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    assert torch.equal(dropout_add(x, residual, KEY, p), expected(x, residual, p))


@KEYS
@given(
    p=st.floats(0, 1),
    shape=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    half=st.sampled_from(HALVES),
)
def test_half_precision_is_added_to_a_float32_residual(key, p, shape, half):
    x = torch.randn(shape).to(half).requires_grad_()
    residual = torch.randn(shape, requires_grad=True)
    y = dropout_add(x, residual, key, p)
    assert y.dtype == torch.float32
    assert torch.equal(y, expected(x, residual, p))
    upstream = torch.randn(shape)
    y.backward(upstream)
    assert torch.equal(x.grad, dropped(upstream, p).to(half))
    assert torch.equal(residual.grad, upstream)


@KEYS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_windows_reach_the_kernel(key, dtype):
    x, residual = torch.randn(2, 3, 5).to(dtype).requires_grad_(), torch.randn(2, 3, 5)
    window = Window((4, 6, 8), (2, 3, 1))
    ours = dropout_add(x, residual, key, 0.4, window=window)
    assert torch.equal(ours, expected(x, residual, 0.4, window))
    ours.backward(residual)
    assert torch.equal(x.grad, dropped(residual, 0.4, window).to(dtype))


@KEYS
def test_gradients_are_dropouts_and_the_identity(key):
    x, residual = (torch.randn(3, 7, requires_grad=True) for _ in range(2))
    upstream = torch.randn(3, 7)
    dropout_add(x, residual, key, 0.3).backward(upstream)
    assert torch.equal(x.grad, expected(upstream, torch.zeros(3, 7), 0.3))
    assert torch.equal(residual.grad, upstream)


@KEYS
def test_gradcheck_twice(key):
    x, residual = (torch.randn(3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: dropout_add(a, b, key, 0.3), (x, residual))
    assert torch.autograd.gradgradcheck(
        lambda a, b: dropout_add(a, b, key, 0.3) ** 2, (x, residual)
    )


@KEYS
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_mixed_gradients_have_gradients(key, half):
    x, residual = torch.randn(3, 5).to(half).requires_grad_(), torch.randn(3, 5).requires_grad_()
    second = []
    for y in (dropout_add(x, residual, key, 0.3), residual + dropped(x.float(), 0.3)):
        first = torch.autograd.grad(y.sin().sum(), (x, residual), create_graph=True)
        assert first[0].dtype == half
        total = sum(g.float().square().sum() for g in first)
        second.append((*first, *torch.autograd.grad(total, (x, residual))))
    for ours, theirs in zip(*second, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_operators_pass_opcheck(dtype, requires_grad):
    wide = torch.promote_types(dtype, torch.float32)
    x = torch.randn(2, 3, 5, dtype=dtype, requires_grad=requires_grad)
    residual = torch.randn(2, 3, 5, dtype=wide, requires_grad=requires_grad)
    turned = torch.randn(2, 5, 3, dtype=wide).mT.requires_grad_(requires_grad)
    window = ([4, 6, 8], [2, 3, 1])
    for operator, arguments in [
        (torch.ops.redrop.dropout_add, (x, residual, TENSOR_KEY, 2**30, None, None)),
        (torch.ops.redrop.dropout_add, (x, turned, TENSOR_KEY, 2**30, *window)),
        (torch.ops.redrop.dropout_add_backward, (residual, TENSOR_KEY, 2**30, *window, dtype)),
    ]:
        result = torch.library.opcheck(operator.default, arguments)
        assert set(result.values()) == {"SUCCESS"}


def test_under_a_transform_of_torch_func_it_is_the_formula():
    x, residual = torch.randn(6, 4).bfloat16(), torch.randn(6, 4)
    upstream = torch.randn(6, 4)
    grad = torch.func.grad(lambda a: (dropout_add(a, residual, KEY, 0.3) * upstream).sum())(x)
    assert torch.equal(grad, dropped(upstream, 0.3).bfloat16())
    each = torch.func.vmap(lambda a, b: dropout_add(a, b, KEY, 0.3))(x, residual)
    for one, a, b in zip(each, x, residual, strict=True):
        assert torch.equal(one, expected(a, b, 0.3))


def test_the_portable_kernel_adds_and_differentiates_mixed_precision():
    shape = (1,) * 16 + (9,)  # one dimension too many for the native kernel
    x, residual = torch.randn(shape).bfloat16().requires_grad_(), torch.randn(shape)
    with pytest.warns(BackendWarning):
        y = dropout_add(x, residual, KEY, 0.3)
    with pytest.warns(BackendWarning):
        y.backward(residual)
    assert torch.equal(y, expected(x, residual, 0.3))
    assert torch.equal(x.grad, dropped(residual, 0.3).bfloat16())


def test_nothing_is_saved_for_backward():
    saved = []
    x = torch.randn(8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda t: t):
        dropout_add(x, torch.zeros(8, 8), KEY, 0.5)
    assert saved == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_compiled_equals_eager(dtype):
    x, residual = torch.randn(4, 6).to(dtype).requires_grad_(), torch.randn(4, 6)
    compiled = torch.compile(
        lambda a, b, key: dropout_add(a, b, key, 0.3), fullgraph=True, backend="aot_eager"
    )
    ours, theirs = compiled(x, residual, TENSOR_KEY), dropout_add(x, residual, KEY, 0.3)
    assert torch.equal(ours, theirs)
    gradients = [torch.autograd.grad(y, x, residual)[0] for y in (ours, theirs)]
    assert gradients[0].dtype == gradients[1].dtype == dtype
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    ("x", "residual"),
    [
        (torch.zeros(2, 3), torch.zeros(3)),
        (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bfloat16)),
        (torch.zeros(2, 3, dtype=torch.bfloat16), torch.zeros(2, 3, dtype=torch.float64)),
        (torch.zeros(2, 3, dtype=torch.bfloat16), torch.zeros(3)),
    ],
)
def test_a_residual_that_does_not_go_with_x_is_refused(x, residual):
    with pytest.raises(UsageError, match="`residual` must be like `x`, or float32"):
        dropout_add(x, residual, KEY, 0.5)


def test_bad_p_is_refused():
    with pytest.raises(UsageError, match="`p` must lie in"):
        dropout_add(torch.zeros(3), torch.zeros(3), KEY, 1.5)
