import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

import redrop
from redrop.errors import UsageError
from redrop.integrations import convert, find_sites
from redrop.mask import replay as replay_from_integers
from redrop.nn import Dropout, attach, replay


class TwoSites(torch.nn.Module):
    """Two sites; the second one is used twice in a forward."""

    def __init__(self, p=0.5):
        super().__init__()
        self.first = Dropout(p)
        self.inner = torch.nn.Sequential(Dropout(p))

    def forward(self, x):
        a = self.first(x)
        return torch.stack([a, self.inner(x), self.inner(x)])


def ones():
    return torch.ones(4, 6, 10)


def masks(seed, step, pass_=0, site="first", shape=(4, 6, 10)):
    return torch.from_numpy(
        replay_from_integers(seed=seed, step=step, site=site, p=0.5, shape=shape, pass_=pass_)
    )


def test_each_site_step_and_pass_has_its_mask():
    model = TwoSites()
    state = attach(model, seed=9)
    for step in (0, 5):
        state.set_step(step)
        kept = model(ones()) != 0
        assert torch.equal(kept[0], masks(9, step))
        assert torch.equal(kept[1], masks(9, step, 0, "inner.0"))
        assert torch.equal(kept[2], masks(9, step, 1, "inner.0"))


def test_without_set_step_each_training_forward_is_a_step():
    model = TwoSites()
    state = attach(model, seed=9)
    for step in range(3):
        assert torch.equal((model(ones()) != 0)[0], masks(9, step))
        model.eval()(ones())
        model.train()
    assert state.step == 2


def test_a_step_that_was_set_stays_until_the_next_one():
    model = TwoSites()
    attach(model, seed=9).set_step(4)
    first, second = model(ones()) != 0, model(ones()) != 0
    assert torch.equal(first[0], masks(9, 4, 0))
    assert torch.equal(second[0], masks(9, 4, 1))


def test_micro_batches_together_get_the_mask_of_the_batch():
    model = TwoSites()
    state = attach(model, seed=2)
    whole = masks(2, 3)
    for offset in (0, 2):
        state.set_step(3, sample_offset=offset)
        kept = model(ones()[:2]) != 0
        assert torch.equal(kept[0], whole[offset : offset + 2])


def test_replay_by_model_and_by_integers():
    model = TwoSites()
    attach(model, seed=1)
    shape = (2, 3, 4)
    expected = masks(1, 7, 1, "inner.0", shape)
    assert torch.equal(replay(model, "inner.0", step=7, shape=shape, pass_=1), expected)
    by_name = redrop.replay(seed=1, step=7, site="inner.0", p=0.5, shape=shape, pass_=1)
    assert torch.equal(torch.from_numpy(by_name), expected)
    with pytest.raises(UsageError, match="Sites: first, inner.0"):
        replay(model, "inner.1", step=0, shape=shape)


def test_attached_and_unattached_consume_the_same_of_torchs_generator():
    after = []
    for seed in (None, 3):
        model = TwoSites()
        if seed is not None:
            attach(model, seed=seed)
        torch.manual_seed(0)
        model(ones())
        after.append(torch.get_rng_state())
    assert torch.equal(*after)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_a_run_of_its_own(copied):
    model = TwoSites()
    attach(model, seed=5)
    model(ones())
    twin = copied(model)
    assert torch.equal((twin(ones()) != 0)[0], masks(5, 1))
    assert model.first.site.state.step == 0
    assert twin.first.site.state is twin.inner[0].site.state


def test_attaching_again_starts_a_new_run():
    model = TwoSites()
    attach(model, seed=5)
    model(ones())
    state = attach(model, seed=6)
    assert torch.equal((model(ones()) != 0)[0], masks(6, 0))
    assert state.step == 0


class Repeated(torch.nn.Module):
    """One layer used by three regions, each of which may be recomputed in backward."""

    def __init__(self, layout):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)
        self.drop = Dropout(0.5)
        self.layout = layout

    def region(self, x):
        return self.drop(self.linear(self.drop(x)).tanh())

    def forward(self, x):
        for _ in range(3):
            x = self.layout(self.region, x)
        return x


LAYOUTS = {
    "plain": lambda f, x: f(x),
    "checkpoint": lambda f, x: checkpoint(f, x, use_reentrant=False),
    "reentrant": lambda f, x: checkpoint(f, x, use_reentrant=True),
}


def gradients(layout, accumulate=1):
    torch.manual_seed(0)
    model = Repeated(LAYOUTS[layout])
    attach(model, seed=8)
    x = torch.randn(5, 8, requires_grad=True)
    losses = [model(x).sum() for _ in range(accumulate)]
    sum(losses).backward()
    return [x.grad, *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("layout", ["checkpoint", "reentrant"])
@pytest.mark.parametrize("accumulate", [1, 2], ids=["one forward", "two forwards"])
def test_recomputation_meets_the_masks_of_its_forward(layout, accumulate):
    for ours, plain in zip(
        gradients(layout, accumulate), gradients("plain", accumulate), strict=True
    ):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


def test_recomputation_without_the_generators_state_is_an_error():
    model = Repeated(lambda f, x: checkpoint(f, x, use_reentrant=False, preserve_rng_state=False))
    attach(model, seed=8)
    with pytest.raises(UsageError, match="preserve_rng_state=True"):
        model(torch.randn(5, 8, requires_grad=True)).sum().backward()


def test_compiled_model_uses_the_masks_of_its_steps():
    model = TwoSites()
    state = attach(model, seed=4)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in (0, 1, 6):
            state.set_step(step)
            kept = compiled(ones()) != 0
            assert torch.equal(kept[0], masks(4, step))
            assert torch.equal(kept[2], masks(4, step, 1, "inner.0"))


def test_a_model_without_sites_is_refused():
    with pytest.raises(UsageError, match="Linear has none"):
        attach(torch.nn.Linear(2, 2), seed=0)


def test_a_seed_out_of_range_is_refused():
    with pytest.raises(UsageError, match="`seed` must lie in"):
        attach(TwoSites(), seed=-1)


@pytest.mark.parametrize(
    ("model", "seed"), [("x", 0), (None, 0), (Dropout(), "1"), (Dropout(), 1.5)]
)
def test_what_is_no_model_or_no_seed_is_refused(model, seed):
    with pytest.raises(UsageError, match="`model` must be|`seed` must be an integer"):
        attach(model, seed=seed)


def test_a_seed_of_numpy_is_an_integer():
    assert attach(TwoSites(), seed=np.int64(2**40 + 1)).seed == 2**40 + 1


class CallsFunctions(torch.nn.Module):
    def forward(self, x):
        return torch.nn.functional.dropout(x, 0.5, self.training)


def test_a_model_with_torchs_layers_alone_is_told_both_ways():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.1))
    with pytest.raises(UsageError, match=r"redrop\.nn\.Dropout.*redrop\.integrations\.convert\("):
        attach(model, seed=0)
    with convert(model):
        assert list(attach(model, seed=0).sites) == ["1"]


@pytest.mark.parametrize("is_inside", [False, True], ids=["itself", "inside another"])
def test_a_model_that_drops_in_functions_is_told_of_example_inputs(is_inside):
    part = CallsFunctions()
    model = torch.nn.Sequential(part) if is_inside else part
    with pytest.raises(UsageError, match=r"F\.dropout.*convert\(model, example_inputs\)"):
        attach(model, seed=0)
    with convert(part):
        with pytest.raises(UsageError, match=r"find_sites\(model, example_inputs\)"):
            attach(model, seed=0)
        find_sites(part, torch.ones(3))
        assert len(attach(model, seed=0).sites) == 1


def test_a_shape_that_is_a_number_is_refused():
    model = TwoSites()
    attach(model, seed=0)
    with pytest.raises(UsageError, match=r"one size per dimension; got 5. Pass \(5,\)"):
        replay(model, "first", step=0, shape=5)


def test_two_names_with_one_id_are_refused():
    # A known pair of texts with the same 64-bit FNV-1a.
    model = torch.nn.ModuleDict(
        {"8yn0iYCKYHlIj4-BwPqk": Dropout(), "GReLUrM4wMqfg9yzV3KQ": Dropout()}
    )
    with pytest.raises(UsageError, match="must not share an id"):
        attach(model, seed=0)


def test_torchs_own_attention_stays_outside_too():
    model = torch.nn.ModuleList([Dropout(), torch.nn.MultiheadAttention(4, 2, dropout=0.1)])
    with pytest.warns(UserWarning, match="1 dropout layers are torch's own .*: 1\\."):
        attach(model, seed=0)


def test_torchs_own_layers_stay_outside_and_are_named():
    model = torch.nn.Sequential(Dropout(), torch.nn.Dropout(0.1), torch.nn.Dropout(0.0))
    with pytest.warns(UserWarning, match="1 dropout layers are torch's own .*: 1\\."):
        attach(model, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attach(torch.nn.Sequential(Dropout(), torch.nn.Dropout(0.0)), seed=0)
