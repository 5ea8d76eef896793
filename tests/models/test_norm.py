import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.models.norm import norm_layer


def drawn(seed, scale):
    return torch.randn(5, 8, generator=torch.Generator().manual_seed(seed)).double() * scale


scales = st.floats(0.01, 100.0)


@given(st.integers(0, 99), scales)
def test_layernorm_takes_off_the_mean_and_divides_by_the_deviation(seed, scale):
    x = drawn(seed, scale)
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
    torch.testing.assert_close(norm_layer("layernorm", 8).double()(x), expected)


@given(st.integers(0, 99), scales)
def test_rmsnorm_divides_only(seed, scale):
    x = drawn(seed, scale)
    expected = x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-5)
    torch.testing.assert_close(norm_layer("rmsnorm", 8).double()(x), expected)


def test_none_gives_back_its_input_and_has_no_parameters():
    x = drawn(0, 3.0)
    layer = norm_layer("none", 8)
    assert layer(x) is x
    assert not list(layer.parameters())


def test_rmsnorm_has_a_gain_and_no_bias():
    assert [name for name, _ in norm_layer("rmsnorm", 8).named_parameters()] == ["weight"]
