"""Where dropout acts in the transformer, which mask it uses, and what can be seen of it."""

import pytest
import torch

from redrop.errors import UsageError
from redrop.mask import keep_mask, mask_key
from redrop.models import DropoutRates
from redrop.models.attention import causal_weights
from redrop.nn import SiteModule, attach
from tests.models.tiny import shaken, tiny, tokens

NAMES = {
    "embedding": ["embedding_dropout"],
    "attention_weights": ["blocks.0.attention.weights", "blocks.1.attention.weights"],
    "attention_residual": ["blocks.0.attention.residual", "blocks.1.attention.residual"],
    "feed_forward_hidden": ["blocks.0.feed_forward.hidden", "blocks.1.feed_forward.hidden"],
    "feed_forward_residual": ["blocks.0.feed_forward.residual", "blocks.1.feed_forward.residual"],
}
SHAPES = {
    "embedding": (2, 9, 12),
    "attention_weights": (2, 3, 9, 9),
    "attention_residual": (2, 9, 12),
    "feed_forward_hidden": (2, 9, 48),
    "feed_forward_residual": (2, 9, 12),
}


def watch(model):
    """Note what goes into each site and what comes out of it.

    Attention weights are never in memory: their site is noted by the mix of values instead, with
    the mix that it would have been without dropout.
    """
    seen = {}
    for number, block in enumerate(model.blocks):

        def note_mix(module, args, number=number, attention=block.attention):
            q, k, v = attention._split_heads(seen.pop(f"input {number}"))
            plain = (causal_weights(q, k) @ v).transpose(1, 2).flatten(2)
            is_same = torch.allclose(plain, args[0], rtol=1e-4, atol=1e-5)
            seen[f"blocks.{number}.attention.weights"] = (plain, args[0], is_same)

        def note_input(module, args, number=number):
            seen[f"input {number}"] = args[0]

        block.attention.register_forward_pre_hook(note_input)
        block.attention.output.register_forward_pre_hook(note_mix)
    for name, module in model.named_modules():
        if isinstance(module, SiteModule) and not name.endswith("weights"):

            def note(module, args, output, name=name):
                seen[name] = (args[0].detach().clone(), output.detach().clone(), args[0] is output)

            module.register_forward_hook(note)
    return seen


def weights_that_make(mix, model, layer):
    """Return the model's attention weights, having seen that they made this mix in the step."""
    inputs = {}
    attention = model.blocks[layer].attention
    handle = attention.qkv.register_forward_pre_hook(lambda m, args: inputs.update(x=args[0]))
    before, after = model.attention_weights(tokens(), layer)
    handle.remove()
    _, _, v = attention._split_heads(inputs["x"])
    torch.testing.assert_close((after @ v).transpose(1, 2).flatten(2), mix, rtol=1e-4, atol=1e-5)
    return before, after


def expected_mask(name, p, shape, *, seed, step):
    return torch.from_numpy(keep_mask(mask_key(seed, step, name), p, shape))


def test_sites_have_the_names_of_the_specification():
    names = [name for name, m in tiny().named_modules() if isinstance(m, SiteModule)]
    assert sorted(names) == sorted(name for kind in NAMES.values() for name in kind)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_site_acts_when_its_own_rate_is_positive_and_only_then(kind, norm):
    model = shaken(norm=norm, dropout=DropoutRates(**{kind: 0.4}))
    attach(model, seed=21).set_step(6)
    seen = watch(model)
    model(tokens())
    acting = [name for name, (_, _, is_same) in seen.items() if not is_same]
    assert acting == NAMES[kind]
    assert sorted(seen) == sorted(name for names in NAMES.values() for name in names)
    for layer, name in enumerate(acting):
        before, after, _ = seen[name]
        if kind == "attention_weights":
            before, after = weights_that_make(after, model, layer)
        keep = expected_mask(name, 0.4, SHAPES[kind], seed=21, step=6)
        torch.testing.assert_close(after, torch.where(keep, before / 0.6, 0.0))
        assert not torch.equal(after, before)


def test_each_site_stands_where_its_name_says():
    model = shaken(dropout=DropoutRates.everywhere(0.4))
    inputs, outputs = {}, {}
    for name, module in model.named_modules():

        def note(module, args, output, name=name):
            inputs[name], outputs[name] = args[0], output

        module.register_forward_hook(note)
    model(tokens())
    embedded = outputs["token_embedding"] + model.position_embedding.weight[:9]
    assert torch.equal(inputs["embedding_dropout"], embedded)
    assert inputs["blocks.0"] is outputs["embedding_dropout"]
    for block in ("blocks.0", "blocks.1"):
        attention, feed_forward = f"{block}.attention", f"{block}.feed_forward"
        assert inputs[f"{attention}.residual"] is outputs[f"{attention}.output"]
        assert outputs[attention] is outputs[f"{attention}.residual"]
        activated = torch.nn.functional.gelu(outputs[f"{feed_forward}.expand"])
        assert torch.equal(inputs[f"{feed_forward}.hidden"], activated)
        assert inputs[f"{feed_forward}.contract"] is outputs[f"{feed_forward}.hidden"]
        assert inputs[f"{feed_forward}.residual"] is outputs[f"{feed_forward}.contract"]
        assert outputs[feed_forward] is outputs[f"{feed_forward}.residual"]


def test_no_site_acts_in_eval_mode():
    model = shaken(dropout=DropoutRates.everywhere(0.5))
    reference = shaken()(tokens())
    assert not torch.allclose(model(tokens()), reference)
    assert torch.equal(model.eval()(tokens()), reference)


def test_at_p_1_training_still_gives_finite_numbers_and_gradients():
    model = shaken(dropout=DropoutRates.everywhere(1.0))
    model(tokens()).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("layer", [0, 1, -1])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_attention_weights_are_those_of_the_step(layer, norm):
    model = shaken(norm=norm, dropout=DropoutRates.everywhere(0.3))
    attach(model, seed=4).set_step(17)
    seen = watch(model)
    model(tokens())
    name = NAMES["attention_weights"][layer]
    before, after = weights_that_make(seen[name][1], model, layer)
    keep = expected_mask(name, 0.3, before.shape, seed=4, step=17)
    torch.testing.assert_close(after, torch.where(keep, before / 0.7, 0.0))


def test_attention_weights_before_dropout_are_distributions_over_the_past():
    before, after = shaken(dropout=DropoutRates(attention_weights=0.5)).attention_weights(
        tokens(), 0
    )
    torch.testing.assert_close(before.sum(-1), torch.ones(2, 3, 9))
    assert not before.triu(1).any()
    assert (before.tril() > 0).sum() == 2 * 3 * 45
    assert not torch.allclose(after.sum(-1), torch.ones(2, 3, 9))


def test_looking_at_attention_weights_moves_no_mask_and_no_generator():
    model = shaken(dropout=DropoutRates.everywhere(0.3))
    state = attach(model, seed=4)
    state.set_step(1)
    expected = [model(tokens()), model(tokens())]
    assert not torch.equal(*expected)  # the second forward of a step is another pass
    state.set_step(1)
    first = model(tokens())
    generator = torch.get_rng_state()
    model.attention_weights(tokens(), 1)
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(first, expected[0])
    assert torch.equal(model(tokens()), expected[1])


def test_in_eval_mode_both_attention_weights_are_the_same_tensor():
    model = shaken(dropout=DropoutRates.everywhere(0.3)).eval()
    before, after = model.attention_weights(tokens(), 0)
    assert before is after
    assert not before.requires_grad


@pytest.mark.parametrize("layer", [2, -3])
def test_a_layer_that_is_not_there_is_refused(layer):
    with pytest.raises(UsageError, match=f"one of 2 blocks; got {layer}"):
        tiny().attention_weights(tokens(), layer)


def test_masks_of_two_rates_are_nested_and_of_two_steps_are_not():
    seen = {}
    for p, step in [(0.2, 3), (0.5, 3), (0.5, 4)]:
        model = shaken(dropout=DropoutRates(attention_weights=p))
        attach(model, seed=8).set_step(step)
        before, after = model.attention_weights(tokens(), 0)
        seen[p, step] = (after != 0)[before != 0]
    assert bool((seen[0.2, 3] | ~seen[0.5, 3]).all())  # what 0.5 keeps, 0.2 keeps
    assert not torch.equal(seen[0.2, 3], seen[0.5, 3])
    assert not torch.equal(seen[0.5, 3], seen[0.5, 4])


def test_micro_batches_of_a_step_get_the_masks_of_the_whole_batch():
    model = shaken(dropout=DropoutRates.everywhere(0.3))
    state = attach(model, seed=2)
    batch = tokens(batch=5)
    state.set_step(9)
    whole = model(batch)
    state.set_step(9, sample_offset=0)
    first = model(batch[:2])
    state.set_step(9, sample_offset=2)
    second = model(batch[2:])
    torch.testing.assert_close(torch.cat((first, second)), whole)
