"""How a sub-layer meets the residual stream: where the norm stands, and whether it is added."""

from torch import Tensor, nn

from redrop.models.config import Norm
from redrop.models.fused import add_dropped, is_fusable, is_watched
from redrop.nn import Dropout, DropPath


class SubLayer(nn.Module):
    """Half of a block: a branch of the residual stream, and the dropout at its end.

    Sites:
        `residual` drops channels of what the branch gives.
    """

    residual: Dropout

    def branch(self, x: Tensor) -> Tensor:
        """Return what the sub-layer makes of its input, before the dropout at its end."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch as it is to be added."""
        out: Tensor = self.residual(self.branch(x))
        return out

    def is_fusable(self) -> bool:
        """Say whether the dropout at the end and the addition behind it may be one operation."""
        return is_fusable(self.residual) and not is_watched(self)


def add_sub_layer(
    x: Tensor,
    layer: nn.Module,
    norm: nn.Module,
    path: nn.Module,
    *,
    where: Norm = "pre",
    has_residual: bool = True,
) -> Tensor:
    """Return what the residual stream is after a sub-layer.

    pre-norm:  x + path(layer(norm(x)));  post-norm:  norm(x + path(layer(x))).  Without residual
    connection, nothing is added: layer(norm(x)) and norm(layer(x)).

    Args:
        x: The stream before.
        layer: Attention or feed-forward.
        norm: Its normalisation.
        path: Stochastic depth of the branch, or the identity.
        where: "pre" or "post".
        has_residual: Whether `x` is added.

    >>> import torch
    >>> add_sub_layer(torch.ones(2), nn.Identity(), nn.Identity(), nn.Identity())
    tensor([2., 2.])
    """
    read = norm(x) if where == "pre" else x
    y: Tensor
    if not has_residual:
        y = path(layer(read))
    elif isinstance(path, nn.Identity) and isinstance(layer, SubLayer) and layer.is_fusable():
        y = add_dropped(x, layer.branch(read), layer.residual)
    else:
        y = x + path(layer(read))
    return y if where == "pre" else norm(y)


def drop_path_site(p: float) -> nn.Module:
    """Return the site of stochastic depth, or where nothing is dropped the identity.

    >>> drop_path_site(0.0)
    Identity()
    """
    return DropPath(p) if p > 0 else nn.Identity()
