import pytest
import torch

from redrop.models.residual import add_sub_layer, drop_path_site
from redrop.nn import DropPath

LAYER, NORM = torch.nn.Linear(6, 6), torch.nn.LayerNorm(6)
X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
EXPECTED = {
    ("pre", True): X + LAYER(NORM(X)),
    ("pre", False): LAYER(NORM(X)),
    ("post", True): NORM(X + LAYER(X)),
    ("post", False): NORM(LAYER(X)),
}


@pytest.mark.parametrize(("where", "has_residual"), EXPECTED)
def test_the_norm_stands_where_it_is_told(where, has_residual):
    y = add_sub_layer(X, LAYER, NORM, torch.nn.Identity(), where=where, has_residual=has_residual)
    torch.testing.assert_close(y, EXPECTED[where, has_residual])


@pytest.mark.parametrize("where", ["pre", "post"])
def test_a_dropped_branch_leaves_the_stream(where):
    y = add_sub_layer(X, LAYER, NORM, drop_path_site(1.0), where=where)
    torch.testing.assert_close(y, X if where == "pre" else NORM(X))


def test_stochastic_depth_is_there_where_its_rate_is_positive():
    assert type(drop_path_site(0.0)) is torch.nn.Identity
    assert type(drop_path_site(0.1)) is DropPath
