"""The first lesson: ten ones through a dropout layer, in training and in evaluation.

Run it:  python examples/first_dropout.py
"""

import torch

from redrop.nn import Dropout

torch.manual_seed(0)  # the layer draws from torch's generator: your numbers are these numbers

drop = Dropout(p=0.5)  # zeroes each value with probability 0.5
x = torch.ones(10)  # ten activations, all 1.0

drop.train()  # training mode: dropout acts
y = drop(x)
print(y)  # zeros, and survivors of 1 / (1 - 0.5) = 2
print(f"mean in training: {y.mean():.2f}")  # near 1; exactly 1 only on average over many masks

drop.eval()  # evaluation mode: dropout does nothing
print(f"identity in eval mode: {drop(x) is x}")
