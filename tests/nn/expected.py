"""What the layers have to give, from the reference's masks and from torch's own layers."""

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from redrop.mask import keep_mask, scale, threshold


def reference(key, p, shape, **where):
    """The keep mask of the reference, as a tensor."""
    return torch.from_numpy(keep_mask(key, p, shape, **where))


def dropped(x, key, p, **where):
    """Dropout by its formula, in plain PyTorch, with the reference's mask."""
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    factor = torch.tensor(scale(threshold(p)), dtype=compute)
    kept = reference(key, p, x.shape, **where)
    return torch.where(kept, (x.to(compute) * factor).to(x.dtype), torch.zeros_like(x))


class GivenMask(TorchDispatchMode):
    """Lets torch's own layers run with a given keep mask in place of their Bernoulli numbers."""

    def __init__(self, kept: Tensor):
        super().__init__()
        self.kept = kept
        self.has_been_used = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is not torch.ops.aten.bernoulli_.float:
            return func(*args, **(kwargs or {}))
        noise = args[0]
        kept = self.kept.reshape((1,) * (noise.dim() - self.kept.dim()) + self.kept.shape)
        self.has_been_used = True
        return noise.copy_(kept[tuple(slice(size) for size in noise.shape)])


def torchs_own(layer, x, kept):
    """What torch's layer gives for `x` when it draws the mask `kept`."""
    with GivenMask(kept) as mode:
        y = layer(x)
    assert mode.has_been_used
    return y
