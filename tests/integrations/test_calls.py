import threading

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.overrides import TorchFunctionMode

import redrop
from redrop.integrations import convert, set_rates
from redrop.mask import scale, threshold
from redrop.nn import Dropout2d, attach
from redrop.nn.mc_dropout import mc_samples
from redrop.nn.rates import Rates
from tests.integrations.networks import Calls, Net, example

FUNCTIONS = {
    "F.dropout": ("dropout", lambda x, p, on: F.dropout(x, p, on)),
    "by keyword": ("dropout", lambda x, p, on: F.dropout(input=x, training=on, p=p)),
    "in place": ("dropout", lambda x, p, on: F.dropout(x.clone(), p, on, inplace=True)),
    "torch.dropout": ("dropout", torch.dropout),
    "torch.dropout_": ("dropout", lambda x, p, on: torch.dropout_(x.clone(), p, on)),
}


def keep(name, shape, p=0.5, seed=3, step=2, pass_=0):
    kept = redrop.replay(seed=seed, step=step, site=name, p=p, shape=shape, pass_=pass_)
    return torch.from_numpy(kept)


def converted(function, *inputs, seed=3, step=2):
    model = Calls(function)
    convert(model, inputs)
    attach(model, seed=seed).set_step(step)
    return model


@pytest.mark.parametrize("name", FUNCTIONS)
@given(p=st.sampled_from([0.1, 0.5, 0.9, 1.0]), shape=st.sampled_from([(1,), (3, 7), (2, 3, 127)]))
def test_elementwise_functions_have_the_masks_of_the_reference(name, p, shape):
    short, function = FUNCTIONS[name]
    x = torch.arange(1.0, torch.Size(shape).numel() + 1).view(shape)
    model = converted(lambda self, x: function(x, p, self.training), x)
    kept = keep(f"Calls:{short}", shape, p)
    want = torch.where(kept, x * scale(threshold(p)), 0.0)
    torch.testing.assert_close(model(x), want)
    assert torch.equal(model.eval()(x), x)


@pytest.mark.parametrize(
    ("function", "shape", "shared"),
    [
        (F.dropout1d, (4, 6, 5), (2,)),
        (F.dropout2d, (4, 6, 5, 3), (2, 3)),
        (F.dropout3d, (4, 6, 5, 3, 2), (2, 3, 4)),
    ],
)
def test_functions_of_channels_drop_channels(function, shape, shared):
    x = torch.ones(shape)
    model = converted(lambda self, x: function(x, 0.5, self.training), x)
    name = f"Calls:{function.__name__}"
    kept = redrop.nn.replay(model, name, step=2, shape=shape)
    assert torch.equal(model(x) != 0, kept)
    layer = nn.Sequential(Dropout2d(0.5))
    if function is F.dropout2d:  # its rule is the layer's
        assert torch.equal(layer[0].mask_of(5, 0.5, shape), model_mask(model, name, 5, shape))
    assert (kept == kept.amin(shared, keepdim=True)).all()


def model_mask(model, name, key, shape):
    return dict(model.named_modules())[name].mask_of(key, 0.5, shape)


@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_functions_saturate_and_are_off_by_default(function):
    x = torch.zeros(4, 6, 5)
    model = converted(lambda self, x: function(x, 0.5, self.training), x)
    y = model(x)
    kept = redrop.nn.replay(model, f"Calls:{function.__name__}", step=2, shape=x.shape)
    assert torch.equal(y > 0, kept)
    quiet = converted(lambda self, x: function(x, 0.5), x)
    assert torch.equal(quiet(x), x)


def dropped_weights(out):
    """With the identity as value, attention gives its weights."""
    return out == 0


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 2, 3)], ids=str)
@pytest.mark.parametrize("p", [0.3, 1.0])
def test_attention_has_the_mask_of_its_weights(lead, p):
    q, k = torch.randn(*lead, 5, 4), torch.randn(*lead, 7, 4)
    v = torch.eye(7).expand(*lead, 7, 7)
    model = converted(
        lambda self, q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=p), q, k, v
    )
    name = "Calls:scaled_dot_product_attention"
    kept = keep(name, (*lead, 5, 7), p)
    weights = (q @ k.mT / 2).softmax(-1)
    want = torch.where(kept, weights * scale(threshold(p)), 0.0)
    torch.testing.assert_close(model(q, k, v), want)


def test_grouped_heads_and_masks_reach_attention():
    q, k = torch.randn(2, 4, 5, 4), torch.randn(2, 2, 5, 4)
    v = torch.eye(5).expand(2, 2, 5, 5)
    sees = torch.ones(5, 5, dtype=torch.bool).tril()

    def attend(self, q, k, v):
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=sees, dropout_p=0.5, scale=0.3, enable_gqa=True
        )

    model = converted(attend, q, k, v)
    kept = keep("Calls:scaled_dot_product_attention", (2, 4, 5, 5))
    scores = (q @ k.repeat_interleave(2, 1).mT * 0.3).masked_fill(~sees, -torch.inf)
    want = torch.where(kept, scores.softmax(-1) * 2, 0.0)
    torch.testing.assert_close(model(q, k, v), want)


@pytest.mark.parametrize("lead", [(4,), (4, 2), (4, 2, 3)], ids=str)
def test_micro_batches_together_get_the_masks_of_the_batch(lead):
    q, v = torch.randn(*lead, 5, 8), torch.eye(5).expand(*lead, 5, 5)

    def both(self, q, v):
        y = F.scaled_dot_product_attention(q, q, v, dropout_p=0.5)
        return F.dropout(y, 0.5)

    model = converted(both, q, v)
    whole = model(q, v)
    state = next(iter(model.named_modules()))[1]._forward_pre_hooks.popitem()[1].state
    for first in (0, 2):
        state.set_step(2, sample_offset=first)
        torch.testing.assert_close(model(q[first : first + 2], v[first : first + 2]),
                                   whole[first : first + 2])  # fmt: skip


def test_calls_are_counted_within_a_forward_and_passes_within_a_step():
    def twice(self, x):
        return torch.stack([F.dropout(x), F.dropout(x)])

    inner = Calls(twice)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return torch.cat([self.inner(x), self.inner(x)])

    model = Outer()
    x = torch.ones(64)
    convert(model, x)
    attach(model, seed=3).set_step(2)
    kept = model(x) != 0
    for row, (name, pass_) in enumerate(
        [("inner:dropout", 0), ("inner:dropout.2", 0), ("inner:dropout", 1), ("inner:dropout.2", 1)]
    ):
        assert torch.equal(kept[row], keep(name, (64,), pass_=pass_))


def test_dropout_that_forgets_the_mode_drops_nothing_in_eval_and_says_so():
    q = torch.randn(1, 2, 4, 4)
    model = converted(lambda self, q: F.scaled_dot_product_attention(q, q, q, dropout_p=0.5), q)
    want = F.scaled_dot_product_attention(q, q, q)
    model.eval()
    with pytest.warns(UserWarning, match="asks for dropout while its module is in eval mode"):
        assert torch.equal(model(q), want)
    assert torch.equal(model(q), want)  # and says so once


def test_training_false_is_respected_in_training_mode():
    x = torch.ones(64)
    model = converted(lambda self, x: F.dropout(x, 0.5, training=False), x)
    assert torch.equal(model(x), x)


def test_the_rate_is_the_callers_until_somebody_sets_it():
    x = torch.ones(4096)
    model = Calls(lambda self, x: F.dropout(x, self.p, self.training))
    model.p = 0.0
    conversion = convert(model, x)
    attach(model, seed=3).set_step(2)
    name = "Calls:dropout"
    assert torch.equal(model(x), x)
    model.p = 0.25
    state = conversion.sites[name].site.state
    state.set_step(2)
    assert torch.equal(model(x) != 0, keep(name, (4096,), 0.25))
    rates = Rates(model)
    rates.scale(0.5)
    state.set_step(2)
    assert torch.equal(model(x) != 0, keep(name, (4096,), 0.125))
    rates.restore()
    model.p = 0.75
    state.set_step(2)
    assert torch.equal(model(x) != 0, keep(name, (4096,), 0.75))


def test_mc_dropout_reaches_calls():
    model = Net().eval()
    set_rates(convert(model, example()), {"all": 0.0, "*:*": 0.5})
    samples = mc_samples(model, example(), passes=2, seed=1)
    assert not torch.equal(samples[0], samples[1])
    with torch.no_grad():
        assert torch.equal(model(example()), model(example()))


def test_an_error_in_a_forward_leaves_nothing_behind():
    def fails(self, x):
        raise RuntimeError("on purpose")

    model = Calls(fails)
    convert(model)
    with pytest.raises(RuntimeError, match="on purpose"):
        model(torch.ones(2))
    assert torch._C._len_torch_function_stack() == 0
    torch.manual_seed(0)
    want = F.dropout(torch.ones(64))
    torch.manual_seed(0)
    assert torch.equal(F.dropout(torch.ones(64)), want)


def test_a_converted_model_inside_another_one_keeps_its_sites():
    teacher = Calls(lambda self, x: F.dropout(x))
    convert(teacher, torch.ones(64))
    attach(teacher, seed=9).set_step(2)
    model = Calls(lambda self, x: torch.stack([F.dropout(x), teacher(x), F.dropout(x)]))
    convert(model, torch.ones(64))
    attach(model, seed=3).set_step(2)
    teacher.named_modules.conversion.sites["Calls:dropout"].site.state.set_step(2)
    kept = model(torch.ones(64)) != 0
    assert torch.equal(kept[0], keep("Calls:dropout", (64,)))
    assert torch.equal(kept[1], keep("Calls:dropout", (64,), seed=9))
    assert torch.equal(kept[2], keep("Calls:dropout.2", (64,)))


def test_threads_do_not_see_each_others_scopes():
    model = converted(lambda self, x: F.dropout(x), torch.ones(64))
    plain = Calls(lambda self, x: F.dropout(x))
    results, barrier = [], threading.Barrier(2)

    def slow(self, x):
        barrier.wait(10)
        y = F.dropout(x)
        barrier.wait(10)
        return y

    model.function = plain.function = slow
    threads = [
        threading.Thread(target=lambda m=m: results.append((m, m(torch.ones(64)))))
        for m in (model, plain)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    kept = dict(results)[model] != 0
    assert torch.equal(kept, keep("Calls:dropout", (64,)))
    assert len(results) == 2


class Passing(TorchFunctionMode):
    """A mode of the user's that does nothing."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_a_mode_of_the_users_between_two_scopes_changes_nothing(p):
    inner = Calls(lambda self, x: torch.stack([F.dropout(x, p), F.dropout(x, 0.5)]))

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            with Passing():
                return self.inner(x)

    model, x = Outer(), torch.ones(64)
    conversion = convert(model, x)
    attach(model, seed=3).set_step(2)
    kept = model(x) != 0
    assert list(conversion.sites) == ["inner:dropout", "inner:dropout.2"]
    assert torch.equal(kept[0], keep("inner:dropout", (64,), p))
    assert torch.equal(kept[1], keep("inner:dropout.2", (64,)))
