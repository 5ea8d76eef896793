"""PyTorch operators: the kernels with schema, fake and autograd."""

from redrop.ops.dropout import dropout
from redrop.ops.gaussian_dropout import gaussian_dropout, gaussian_noise
from redrop.ops.random_bits import random_bits

__all__ = ["dropout", "gaussian_dropout", "gaussian_noise", "random_bits"]
