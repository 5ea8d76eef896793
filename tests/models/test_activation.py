import math
from typing import get_args

import pytest
import torch

from redrop.models.activation import ACTIVATIONS
from redrop.models.config import Activation

FORMULAS = {
    "relu": lambda x: max(x, 0.0),
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


def test_every_word_has_its_function():
    assert set(ACTIVATIONS) == set(FORMULAS) == set(get_args(Activation))


@pytest.mark.parametrize("name", FORMULAS)
def test_functions_are_their_formulas(name):
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    expected = torch.tensor([FORMULAS[name](v) for v in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](x), expected)
