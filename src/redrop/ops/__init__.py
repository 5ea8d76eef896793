"""PyTorch operators: the kernels with schema, fake and autograd."""

from redrop.ops.attention import attention
from redrop.ops.attention_weights import attention_weights
from redrop.ops.dropout import dropout
from redrop.ops.gaussian_dropout import gaussian_dropout, gaussian_noise
from redrop.ops.gelu import gelu_dropout
from redrop.ops.random_bits import random_bits
from redrop.ops.residual import dropout_add

__all__ = [
    "attention",
    "attention_weights",
    "dropout",
    "dropout_add",
    "gaussian_dropout",
    "gaussian_noise",
    "gelu_dropout",
    "random_bits",
]
