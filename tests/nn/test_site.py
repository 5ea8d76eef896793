"""Sites under torch.func: the masks of the step, and the bits of ordinary autograd."""

import pytest
import torch

from redrop.mask import keep_mask, mask_key, replay, scale, threshold
from redrop.nn import (
    AlphaDropout,
    DropConnect,
    Dropout,
    Dropout1d,
    DropPath,
    GaussianDropout,
    LayerDrop,
    MultiheadAttention,
    TokenDropout,
    attach,
)

P = 0.4


class Attends(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = MultiheadAttention(8, 2, dropout=P, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class TwoUses(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = Dropout(P)

    def forward(self, x):
        return self.drop(self.drop(x).sin())


LAYERS = {
    "dropout": lambda: Dropout(P),
    "in place": lambda: Dropout(P, inplace=True),
    "two uses": TwoUses,
    "feature": lambda: Dropout1d(P),
    "alpha": lambda: AlphaDropout(P),
    "gaussian": lambda: GaussianDropout(P),
    "tokens": lambda: TokenDropout(P),
    "path": lambda: DropPath(P),
    "layer": lambda: LayerDrop(torch.nn.Linear(8, 8), P),
    "weights": lambda: DropConnect(8, 8, p=P),
    "attention": Attends,
}


def network(layer):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 8), LAYERS[layer](), torch.nn.Linear(8, 5))


def loss_of(model):
    x = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(1))

    def loss(params):
        y = torch.func.functional_call(model, params, (x,))
        return (y * torch.arange(y.numel()).cos().view(y.shape)).sum()

    return loss


def transformed(loss, params):
    return list(torch.func.grad(loss)(params).values())


def ordinary(loss, params):
    at = list(params.values())  # of which a skipped layer uses none
    return torch.autograd.grad(loss(params), at, materialize_grads=True)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("is_attached", [True, False], ids=["attached", "not attached"])
def test_gradients_have_the_bits_of_ordinary_autograd(layer, is_attached):
    model = network(layer)
    state = attach(model, seed=1) if is_attached else None
    loss, params = loss_of(model), dict(model.named_parameters())
    results, generators = [], []
    for gradients in (transformed, ordinary):
        torch.manual_seed(2)
        if state is not None:
            state.set_step(3)
        results.append([*gradients(loss, params), *gradients(loss, params)])
        generators.append(torch.get_rng_state())
    for ours, expected in zip(*results, strict=True):
        assert torch.equal(ours, expected)
    assert torch.equal(*generators)
    first, second = results[0][: len(params)], results[0][len(params) :]
    if layer != "layer":  # which is skipped or run as a whole
        assert not all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def slopes(model, *, of=torch.func.grad):
    """What each element of ones is multiplied by."""
    return of(lambda x: torch.func.functional_call(model, {}, (x,)).sum())(torch.ones(4, 6))


def mask_of_step(step, pass_=0):
    keep = replay(seed=9, step=step, site="0", p=P, shape=(4, 6), pass_=pass_)
    return torch.from_numpy(keep) * torch.tensor(scale(threshold(P)), dtype=torch.float32)


def test_the_masks_are_those_of_the_step():
    model = torch.nn.Sequential(Dropout(P))
    state = attach(model, seed=9)
    for step in (0, 7):
        state.set_step(step)
        for pass_ in range(2):
            assert torch.equal(slopes(model), mask_of_step(step, pass_))
        tangent = torch.func.jvp(model, (torch.ones(4, 6),), (torch.ones(4, 6),))[1]
        assert torch.equal(tangent, mask_of_step(step, 2))


def test_without_set_step_each_call_is_a_step():
    model = torch.nn.Sequential(Dropout(P))
    state = attach(model, seed=9)
    for step in range(3):
        assert torch.equal(slopes(model), mask_of_step(step))
    assert torch.equal(model(torch.ones(4, 6)), mask_of_step(3))
    assert state.step == 3
    assert not torch._C._functorch.is_functorch_wrapped_tensor(state.step_tensor)


def test_a_step_may_be_set_inside():
    model = torch.nn.Sequential(Dropout(P))
    state = attach(model, seed=9)

    def f(x):
        state.set_step(5)
        return model(x).sum()

    assert torch.equal(torch.func.grad(f)(torch.ones(4, 6)), mask_of_step(5))
    assert state.step == 5


def test_transforms_of_transforms():
    model = torch.nn.Sequential(Dropout(P))
    attach(model, seed=9).set_step(2)

    def square(x):
        return model(x).square().sum()

    curvature = torch.func.grad(lambda x: torch.func.grad(square)(x).sum())(torch.ones(4, 6))
    assert torch.equal(curvature, 2 * mask_of_step(2).square())


def test_gradients_of_single_samples_share_a_mask():
    model = torch.nn.Sequential(Dropout(P))
    state = attach(model, seed=9)
    each = torch.func.vmap(torch.func.grad(lambda x: model(x).sum()), randomness="same")
    for step in range(2):
        assert torch.equal(each(torch.ones(3, 4, 6)), mask_of_step(step).expand(3, 4, 6))
    assert state.step == 1


def test_vmap_asks_what_randomness_is_meant_as_for_torchs_dropout():
    for model in (Dropout(P), torch.nn.Sequential(Dropout(P))):
        if isinstance(model, torch.nn.Sequential):
            attach(model, seed=9)
        with pytest.raises(RuntimeError, match="randomness error mode"):
            torch.func.vmap(model)(torch.ones(3, 4))


def mapped(model, x, **how):
    return torch.func.vmap(model, **how)(x)


@pytest.mark.parametrize("layer", [n for n in LAYERS if n != "two uses"])
@pytest.mark.parametrize("is_attached", [True, False], ids=["attached", "not attached"])
def test_vmap_with_different_samples_is_a_loop_over_them(layer, is_attached):
    model = LAYERS[layer]()
    x = torch.randn(5, 2, 3, 8, generator=torch.Generator().manual_seed(1))
    state = attach(model, seed=1) if is_attached else None
    results, generators = [], []
    for run in (
        lambda x: mapped(model, x, randomness="different"),
        lambda x: torch.stack([model(one) for one in x]),
    ):
        torch.manual_seed(2)
        if state is not None:
            state.set_step(3)
        results.append(run(x.clone()))
        generators.append(torch.get_rng_state())
    torch.testing.assert_close(*results)
    assert torch.equal(*generators)
    drawn = results[0] if layer == "weights" else results[0] / x
    assert not all(torch.equal(drawn[0], one) for one in drawn[1:])


def test_in_a_mapped_use_each_sample_is_a_pass():
    model = torch.nn.Sequential(Dropout(P))
    attach(model, seed=9).set_step(7)
    y = mapped(model, torch.ones(4, 3, 6), randomness="different", in_dims=1)
    masks = [replay(seed=9, step=7, site="0", p=P, shape=(4, 6), pass_=i) for i in range(4)]
    assert torch.equal(y != 0, torch.stack([torch.from_numpy(m) for m in masks[:3]]))
    assert torch.equal(model(torch.ones(4, 6)) != 0, torch.from_numpy(masks[3]))


@pytest.mark.parametrize("inner", ["same", "different"])
@pytest.mark.parametrize("outer", ["same", "different"])
@pytest.mark.parametrize("is_attached", [True, False], ids=["attached", "not attached"])
def test_maps_of_maps(inner, outer, is_attached):
    model = torch.nn.Sequential(Dropout(P))
    if is_attached:
        attach(model, seed=9).set_step(0)
    each = torch.func.vmap(model, randomness=inner)
    y = mapped(each, torch.ones(3, 4, 64), randomness=outer)
    masks = {tuple(row) for row in y.view(12, 64).tolist()}
    assert len(masks) == (3 if outer == "different" else 1) * (4 if inner == "different" else 1)
    assert torch.equal(y[0, 0], y[0, 1]) == (inner == "same")
    assert torch.equal(y[0, 0], y[1, 0]) == (outer == "same")


def test_gradients_of_single_samples_may_have_masks_of_their_own():
    model = torch.nn.Sequential(Dropout(P))
    state = attach(model, seed=9)
    for of in (torch.func.grad, lambda f: lambda x: torch.func.jvp(f, (x,), (x,))[1]):
        state.set_step(2)
        f = of(lambda x: model(x).square().sum())
        slope = mapped(f, torch.ones(3, 4, 6), randomness="different")
        factors = torch.stack([mask_of_step(2, i) for i in range(3)]).square() * 2
        expected = factors if slope.dim() == 3 else factors.sum((1, 2))
        torch.testing.assert_close(slope, expected)


def test_a_tensor_that_is_not_mapped_is_dropped_for_each_sample():
    drop, x = Dropout(P), torch.ones(64)
    y = mapped(lambda _: drop(x), torch.ones(3), randomness="different")
    assert len({tuple(row) for row in y.tolist()}) == 3
    assert mapped(drop, torch.ones(0, 4), randomness="different").shape == (0, 4)


def test_a_mapped_use_is_recomputed_with_its_masks():
    model = torch.nn.Sequential(Dropout(P))
    attach(model, seed=9).set_step(1)

    def region(x):
        first = mapped(model, x.sin(), randomness="different")
        return mapped(model, first.sin(), randomness="different").sin()

    x = torch.randn(3, 8, requires_grad=True)
    y = torch.utils.checkpoint.checkpoint(region, x, use_reentrant=False)
    model[0].site.passes = 0
    expected = torch.autograd.grad(region(x).sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], expected)


def test_not_attached_torchs_generator_decides_as_ever():
    model = torch.nn.Sequential(Dropout(P))
    torch.manual_seed(3)
    ours = slopes(model)
    torch.manual_seed(3)
    key = int(torch.empty((), dtype=torch.int64).random_())
    assert key != mask_key(9, 0, "0")
    assert torch.equal(ours != 0, torch.from_numpy(keep_mask(key, P, (4, 6))))
