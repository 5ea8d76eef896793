import copy
import inspect
import math
import pickle
import re

import numpy as np
import pytest
import torch

from redrop.errors import UsageError
from redrop.mask import keep_mask
from redrop.nn import AttentionDropout, Dropout, Dropout1d, DropPath, GaussianDropout, attach
from redrop.nn import functional as F


def test_it_is_a_drop_in():
    assert issubclass(Dropout, torch.nn.Dropout)
    ours, theirs = (inspect.signature(cls.__init__) for cls in (Dropout, torch.nn.Dropout))
    assert [(p.name, p.default) for p in ours.parameters.values()] == [
        (p.name, p.default) for p in theirs.parameters.values()
    ]
    assert repr(Dropout(0.3, inplace=True)) == repr(torch.nn.Dropout(0.3, inplace=True))
    assert Dropout().state_dict() == {}


def test_eval_mode_returns_the_very_same_tensor_and_draws_nothing():
    x = torch.randn(3, 4)
    drop = Dropout(0.5).eval()
    before = torch.get_rng_state()
    assert drop(x) is x
    assert torch.equal(before, torch.get_rng_state())
    assert drop.train()(x) is not x


def test_manual_seed_makes_it_repeatable_and_each_call_differs():
    drop, x = Dropout(0.5), torch.ones(1000)
    torch.manual_seed(0)
    first, second = drop(x), drop(x)
    torch.manual_seed(0)
    assert torch.equal(drop(x), first)
    assert not torch.equal(first, second)


def test_zeros_and_rescaled_survivors_and_nothing_else():
    y = Dropout(0.2)(torch.ones(10_000))
    assert y.unique().tolist() == [0.0, 1.25]


def test_the_mask_comes_from_the_key_that_was_drawn():
    torch.manual_seed(3)
    y = Dropout(0.4)(torch.ones(7, 9))
    torch.manual_seed(3)
    key = int(torch.empty((), dtype=torch.int64).random_())
    assert torch.equal(y != 0, torch.from_numpy(keep_mask(key, 0.4, (7, 9))))


def test_pickle_and_deepcopy_keep_what_it_is():
    drop = Dropout(0.3, inplace=True).eval()
    for twin in (pickle.loads(pickle.dumps(drop)), copy.deepcopy(drop)):
        assert (type(twin), twin.p, twin.inplace, twin.training) == (Dropout, 0.3, True, False)


def test_inplace_writes_into_the_input():
    x = torch.ones(100)
    y = Dropout(0.5, inplace=True)(x)
    assert y is x or y.data_ptr() == x.data_ptr()
    assert (x == 0).any()


@pytest.mark.parametrize("p", [1.5, -0.1, math.nan])
@pytest.mark.parametrize("layer", [Dropout, AttentionDropout])
def test_bad_p_is_refused_when_it_is_made(layer, p):
    with pytest.raises(UsageError, match="`p` must lie in"):
        layer(p)


def test_p_that_is_set_later_is_checked_when_it_is_used():
    drop = Dropout(0.5)
    drop.p = 15
    with pytest.raises(UsageError, match="A percentage"):
        drop(torch.ones(3))


@pytest.mark.parametrize("layer", [Dropout, Dropout1d, DropPath, AttentionDropout])
@pytest.mark.parametrize("p", ["0.1", None, [0.1]])
def test_p_that_is_no_number_is_refused_when_it_is_made(layer, p):
    with pytest.raises(UsageError, match=f"`p` must be a number in .*; got {re.escape(repr(p))}"):
        layer(p)


NO_DENSE_TENSORS = {
    "list": lambda: [[1.0, 2.0]],
    "array": lambda: np.ones((2, 3)),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)]),
    "jagged": lambda: torch.nested.nested_tensor(
        [torch.ones(2, 3), torch.ones(1, 3)], layout=torch.jagged
    ),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": lambda: torch.eye(3).to_sparse_csr(),
}
ADVICE = {"list": "as_tensor", "array": "as_tensor", "nested": "Pad", "jagged": "Pad"}


@pytest.mark.filterwarnings("ignore:.*(prototype|beta):UserWarning")
@pytest.mark.parametrize("kind", NO_DENSE_TENSORS)
@pytest.mark.parametrize("is_attached", [True, False], ids=["attached", "not attached"])
def test_what_is_no_dense_tensor_is_refused_and_eval_mode_returns_it(kind, is_attached):
    x = NO_DENSE_TENSORS[kind]()
    for drop in (Dropout(), GaussianDropout(0.5)) if kind == "list" else (Dropout(),):
        if is_attached:
            attach(drop, seed=0)
        with pytest.raises(UsageError, match=ADVICE.get(kind, "to_dense")):
            drop(x)
        assert drop.eval()(x) is x


def test_a_failure_of_another_kind_stays_what_it_is():
    x = torch.ones(1).expand(3)  # three elements in one place
    with pytest.raises(UsageError, match="Clone it first"):
        Dropout(0.5, inplace=True)(x)
    leaf = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        Dropout(0.5, inplace=True)(leaf)


def test_torchscript_is_refused_with_a_way_out():
    with (
        pytest.warns(DeprecationWarning, match="script"),
        pytest.raises(UsageError, match="got Dropout. Use"),
    ):
        torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 2), Dropout()))


def test_p_0_is_the_same_tensor_and_p_1_is_zeros():
    x = torch.randn(3)
    assert Dropout(0.0)(x) is x
    assert torch.equal(Dropout(1.0)(x), torch.zeros(3))


def test_functional_has_torchs_meaning():
    x = torch.ones(50)
    assert F.dropout(x, training=False) is x
    kept = torch.from_numpy(keep_mask(7, 0.5, (50,)))
    assert torch.equal(F.dropout(x, 0.5, key=7) != 0, kept)
    with pytest.raises(UsageError):
        F.dropout(x, 1.5, training=False)
