import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop import nn
from redrop.mask import mask_key
from redrop.nn.feature_dropout import dropout1d, dropout2d, dropout3d
from tests.nn.expected import dropped, reference, torchs_own

KEY = 0x8B1EF9904FBD598E

# Number of dimensions of the input, and those that torch's layer shares a decision over.
LAYOUTS = [
    pytest.param(dropout1d, torch.nn.Dropout1d, 3, (2,), id="1d (N, C, L)"),
    pytest.param(dropout1d, torch.nn.Dropout1d, 2, (1,), id="1d (C, L)"),
    pytest.param(dropout2d, torch.nn.Dropout2d, 4, (2, 3), id="2d (N, C, H, W)"),
    pytest.param(dropout2d, torch.nn.Dropout2d, 3, (2,), id="2d (N, C, L)"),
    pytest.param(dropout3d, torch.nn.Dropout3d, 5, (2, 3, 4), id="3d (N, C, D, H, W)"),
    pytest.param(dropout3d, torch.nn.Dropout3d, 4, (1, 2, 3), id="3d (C, D, H, W)"),
]
SIZES = st.lists(st.integers(1, 5), min_size=5, max_size=5)


@pytest.mark.parametrize(("ours", "torchs", "ndim", "shared"), LAYOUTS)
@given(key=st.integers(0, 2**64 - 1), p=st.floats(0, 1), sizes=SIZES)
def test_channels_are_dropped_as_a_whole_and_rescaled(ours, torchs, ndim, shared, key, p, sizes):
    x = torch.randn(sizes[:ndim])
    assert torch.equal(ours(x, key, p), dropped(x, key, p, shared=shared))


@pytest.mark.parametrize(("ours", "torchs", "ndim", "shared"), LAYOUTS)
@pytest.mark.filterwarnings("ignore:dropout2d. Received a 3D input:UserWarning")
@given(p=st.floats(0.01, 0.99), sizes=SIZES)
def test_values_are_torchs_under_the_same_mask(ours, torchs, ndim, shared, p, sizes):
    x = torch.randn(sizes[:ndim], dtype=torch.float64)
    expected = torchs_own(torchs(p), x, reference(KEY, p, x.shape, shared=shared))
    # p is rounded to 2^-32 here, which moves 1 / (1 - p) by up to 2^-32 / (1 - p) of itself.
    torch.testing.assert_close(ours(x, KEY, p), expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize(("ours", "torchs", "ndim", "shared"), LAYOUTS)
def test_backward_has_the_mask_of_forward(ours, torchs, ndim, shared):
    x = torch.randn((3, 6, 4, 2, 5)[:ndim], requires_grad=True)
    upstream = torch.randn(x.shape)
    ours(x, KEY, 0.4).backward(upstream)
    assert torch.equal(x.grad, dropped(upstream, KEY, 0.4, shared=shared))


@pytest.mark.parametrize(("layer", "shape"), [(nn.Dropout1d, (8, 4)), (nn.Dropout3d, (8, 2, 3, 4))])
@pytest.mark.parametrize("inplace", [False, True])
def test_without_a_batch_it_is_the_sample_at_its_offset(layer, shape, inplace):
    model = torch.nn.Sequential(layer(0.5, inplace=inplace))
    state = nn.attach(model, seed=4)
    batch = layer.function(torch.ones((3, *shape)), mask_key(4, 1, "0"), 0.5)
    for sample in range(3):
        state.set_step(1, sample_offset=sample)
        x = torch.ones(shape, requires_grad=True)
        hidden = x * 1
        y = model(hidden)
        assert torch.equal(y, batch[sample])
        assert (y.data_ptr() == hidden.data_ptr()) == inplace
        y.sum().backward()
        assert torch.equal(x.grad, batch[sample])
    assert torch.equal(nn.replay(model, "0", step=1, shape=shape), batch[0] != 0)


def test_without_a_batch_p_0_is_the_very_same_tensor():
    x = torch.ones(3, 4)
    assert nn.Dropout1d(0.0)(x) is x


def test_three_dimensions_in_dropout2d_are_read_as_torch_does_with_a_warning():
    with pytest.warns(UserWarning, match=r"as \(N, C, L\), as torch still does"):
        y = nn.Dropout2d(0.5)(torch.ones(4, 50, 6))
    kept = y != 0
    assert torch.equal(kept, kept[:, :, :1].expand(4, 50, 6))
    assert 0 < kept.sum() < kept.numel()
