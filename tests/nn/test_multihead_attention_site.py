"""The attention layer as a dropout site: which mask it gets, and when."""

import copy
import pickle

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from redrop.nn import replay
from tests.nn.multihead_cases import B, H, Model, P, T, agree, attached, itself, mask_of_run


def dropped_weights(model, x, **where):
    return model(x, x, x, average_attn_weights=False, **where)[1]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_a_run_of_its_own(copied):
    model, state = attached()
    state.set_step(3)
    twin = copied(model)
    x = itself()
    assert torch.equal(model(x, x, x)[0], twin(x, x, x)[0])
    assert twin.attn.site.state is not state
    assert (twin.attn.p, twin.attn.dropout) == (P, P)


def test_replay_gives_the_mask_that_the_weights_show():
    model, state = attached()
    state.set_step(7)
    for pass_ in (0, 1):
        weights = dropped_weights(model, itself())
        kept = replay(model, "attn", step=7, shape=(B, H, T, T), pass_=pass_)
        assert torch.equal(weights != 0, kept)
        assert torch.equal(kept, mask_of_run((B, H, T, T), 7, pass_))


@pytest.mark.parametrize("need_weights", [False, True])
def test_micro_batches_together_get_the_masks_of_the_batch(need_weights):
    model, state = attached()
    x = itself()
    state.set_step(5)
    whole, _ = model(x, x, x, need_weights=need_weights)
    parts = []
    for offset in range(B):
        state.set_step(5, sample_offset=offset)
        one = x[offset : offset + 1]
        parts.append(model(one, one, one, need_weights=need_weights)[0])
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("need_weights", [False, True])
def test_the_layout_of_the_batch_moves_no_bit(need_weights):
    results = []
    for batch_first in (True, False):
        model, state = attached(batch_first=batch_first)
        state.set_step(5)
        x = itself(batch_first=batch_first)
        out, _ = model(x, x, x, need_weights=need_weights)
        results.append(out if batch_first else out.transpose(0, 1))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_weights_wanted_or_not_the_output_is_the_same():
    model, state = attached()
    x = itself()
    outs = []
    for need_weights in (False, True):
        state.set_step(5)
        outs.append(model(x, x, x, need_weights=need_weights)[0])
    torch.testing.assert_close(*outs, rtol=1e-5, atol=1e-6)


def test_weights_in_training_are_those_after_dropout_and_carry_a_gradient():
    model, _ = attached()
    weights = dropped_weights(model, itself())
    sums = weights.sum(-1)
    assert sums.max() > 1.05
    assert sums.min() < 0.95
    weights.square().sum().backward()
    assert model.attn.in_proj_weight.grad.abs().max() > 0


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
def test_a_checkpointed_region_meets_its_masks_again(need_weights, reentrant):
    def region(model, x):
        for _ in range(2):  # the site is used twice in a region
            x = model(x, x, x, need_weights=need_weights)[0].tanh()
        return x

    grads = []
    for is_checkpointed in (False, True):
        model, state = attached()
        state.set_step(2)
        x = itself(requires_grad=True)
        y = x
        for _ in range(2):
            y = (
                checkpoint(region, model, y, use_reentrant=reentrant)
                if is_checkpointed
                else (region(model, y))
            )
        y.sum().backward()
        grads.append([x.grad, *(p.grad for p in model.parameters())])
    for plain, again in zip(*grads, strict=True):
        torch.testing.assert_close(plain, again, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("need_weights", [False, True])
def test_compiled_it_uses_the_masks_of_its_steps(need_weights):
    model, state = attached(add_bias_kv=True)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    padding = torch.zeros(B, T, dtype=torch.bool)
    padding[1, 3:] = True
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in (0, 6):
            results = []
            for f in (compiled, model):
                state.set_step(step)
                x = itself(requires_grad=True)
                out, _ = f(x, x, x, key_padding_mask=padding, need_weights=need_weights)
                results.append((out, *torch.autograd.grad(out.square().sum(), x)))
            agree(*results, rtol=1e-5, atol=1e-6)


def test_compiled_and_not_attached_each_call_has_its_own_mask():
    model = Model(batch_first=True)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = itself()
    torch.manual_seed(0)
    first, second = (compiled(x, x, x, need_weights=False)[0] for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(compiled(x, x, x, need_weights=False)[0], first)


def test_not_attached_torchs_generator_decides():
    model, x = Model(), itself()
    torch.manual_seed(0)
    first, second = (model(x, x, x, need_weights=False)[0] for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(model(x, x, x, need_weights=False)[0], first)


def test_p_is_dropout_and_0_draws_nothing():
    model = Model(dropout=0.3)
    assert model.attn.p == 0.3
    model.attn.p = 0.0
    assert model.attn.dropout == 0.0
    before = torch.get_rng_state()
    x = itself()
    model(x, x, x)
    assert torch.equal(before, torch.get_rng_state())
