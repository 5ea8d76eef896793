"""A user's own models and data, as `my_module:build` and `my_module:loaders`."""

import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from redrop.tasks.loaders import read_loaders
from redrop.tasks.module import ModuleTask
from redrop.train.recipe import Recipe

ROWS, WIDTH, CLASSES = 48, 6, 3


def rows(seed, count=ROWS):
    """Rows of numbers whose class is where their largest of three stands."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, WIDTH, generator=generator)
    return x, x[:, :CLASSES].argmax(1)


def loaders():
    return {
        name: DataLoader(TensorDataset(*rows(seed)), batch_size=8, shuffle=name == "train")
        for seed, name in enumerate(("train", "validation", "test"))
    }


def two_loaders():
    parts = loaders()
    return parts["train"], parts["validation"]


def value_loaders():
    """Values of one dimension less than the outputs of a network of one number."""
    return tuple((x, x.sum(1)) for x, _ in (rows(seed) for seed in range(3)))


def sequences():
    return tuple((x.reshape(-1, 3, 2), y) for x, y in (rows(seed) for seed in range(2)))


def mappings():
    x, y = rows(0)
    data = [{"x": row.tolist(), "labels": int(label)} for row, label in zip(x, y, strict=True)]
    return data, data, data


class Perceptron(nn.Module):
    """Two layers, and dropout in both ways: a layer and a function call."""

    def __init__(self, hidden=16, p=0.2, outputs=CLASSES):
        super().__init__()
        self.first = nn.Linear(WIDTH, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.drop = nn.Dropout(p)
        self.last = nn.Linear(hidden, outputs)
        self.p = p

    def forward(self, x):
        x = F.dropout(self.first(x), self.p, self.training)
        return self.last(self.drop(self.norm(x).relu()))


class Attending(nn.Module):
    """torch's own encoder layer, and attention of its own, over sequences of two numbers."""

    def __init__(self, p=0.3):
        super().__init__()
        self.read = nn.Linear(2, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=p, batch_first=True)
        self.attention = nn.MultiheadAttention(8, 2, dropout=p, batch_first=True)
        self.last = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.layer(self.read(x))
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.last(x.mean(1))


SITES = ("drop", ":dropout")
ATTENDING_SITES = (
    "layer.self_attn",
    "layer.dropout1",
    "layer.dropout",
    "layer.dropout2",
    "attention",
)


def build(hidden: int = 16, p: float = 0.2):
    return Perceptron(hidden, p)


def build_attending():
    return Attending()


def build_without_sites():
    return nn.Linear(WIDTH, CLASSES)


def build_keyword_model():
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Perceptron()

        def forward(self, x):
            return {"logits": None} if x is None else (self.inner(x), "more")

    return Keyword()


def global_numpy():
    """A number from the generator that NumPy advises against, and people use."""
    return float(np.random.rand())  # noqa: NPY002


def fail():
    raise RuntimeError("on purpose.\nsecond line")


def squared(outputs, targets):
    """A loss of the user's own: squared error to one-hot classes."""
    return (outputs - F.one_hot(targets, CLASSES)).square().mean()


def nan_with_dropout(outputs, targets):
    """NaN once the outputs repeat a value exactly, as those of an arm that drops everything."""
    loss = F.cross_entropy(outputs, targets)
    return loss * float("nan") if outputs.std(0).max() == 0 else loss


def no_loaders():
    return [], []


def no_mean(outputs, targets):
    return F.cross_entropy(outputs, targets, reduction="none")


def split_at_random():
    """Parts that are drawn anew at every call, by every generator that people use."""
    x, y = rows(0)
    order = torch.from_numpy(np.random.permutation(ROWS))  # noqa: NPY002
    order = order[torch.randperm(ROWS)].tolist()
    random.shuffle(order)
    return tuple((x[part], y[part]) for part in (order[:24], order[24:]))


def task(builder=build, loaders=loaders, **fields):
    """Return the task of a user's model and loaders, without a recipe."""
    return ModuleTask("mine", builder, read_loaders(loaders()), "0" * 64, **fields)


def dropping(**dropout):
    return Recipe(name="r", dropout=dropout)
