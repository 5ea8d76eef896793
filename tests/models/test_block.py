"""What the sites do that drop more than an element: in the decoder and the vision transformer."""

import pytest
import torch

from redrop.mask import keep_mask, mask_key
from redrop.nn import attach
from tests.models.networks import built, inputs

SEED, STEP = 8, 3
BATCH = 12
each_network = pytest.mark.parametrize("name", ["decoder", "decoder-post", "vision"])


def watch(module):
    """Note what goes into a module and what comes out, of its last use."""
    seen = {}
    module.register_forward_hook(lambda _, args, out: seen.update(before=args[0], after=out))
    return seen


def run(name, module_name, **rates):
    """What the module of that name made of its input in the step."""
    model = built(name, layers=3, **rates)
    attach(model, seed=SEED).set_step(STEP)
    seen = watch(model.get_submodule(module_name))
    model(inputs(name, BATCH))
    return model, seen["before"].detach(), seen["after"].detach()


def kept(site, p, shape):
    return torch.from_numpy(keep_mask(mask_key(SEED, STEP, site), p, shape))


@each_network
def test_token_dropout_takes_whole_embeddings_and_leaves_the_position(name):
    model, before, after = run(name, "token_dropout", token_dropout=0.4)
    keep = kept("token_dropout", 0.4, (BATCH, 9, 1))
    torch.testing.assert_close(after, torch.where(keep, before / 0.6, 0.0))
    assert 0 < keep.sum() < keep.numel()
    model.token_dropout.p = 1.0
    seen = watch(model.embedding_dropout)
    model(inputs(name, BATCH))
    assert torch.equal(seen["before"][5], model.position_embedding.weight)


@each_network
@pytest.mark.parametrize("layer", [0, 2])
def test_drop_head_takes_what_whole_heads_give(name, layer):
    site = f"blocks.{layer}.attention.drop_head"
    _, before, after = run(name, site, drop_head=0.4)
    assert before.shape == (BATCH, 3, 9, 4)
    keep = kept(site, 0.4, (BATCH, 3, 1, 1))
    count = keep.sum(1, keepdim=True)
    assert 0 < keep.sum() < keep.numel()
    torch.testing.assert_close(after, torch.where(keep, before * 3 / count.clamp(min=1), 0.0))


@each_network
@pytest.mark.parametrize("half", ["attention", "feed_forward"])
def test_stochastic_depth_takes_branches_of_samples_more_with_depth(name, half):
    for layer, p in enumerate((0.2, 0.4, 0.6)):
        site = f"blocks.{layer}.{half}_drop_path"
        model, before, after = run(name, site, drop_path=0.6)
        assert model.get_submodule(site).p == pytest.approx(p)
        keep = kept(site, model.get_submodule(site).p, (BATCH, 1, 1))
        torch.testing.assert_close(after, torch.where(keep, before / (1 - p), 0.0))
        assert 0 < keep.sum() < BATCH


@each_network
def test_layer_drop_skips_blocks_for_all_samples(name):
    model = built(name, layers=3, layer_drop=0.5)
    state = attach(model, seed=SEED)
    seen = [watch(block) for block in model.blocks]
    skipped = []
    for step in range(8):
        state.set_step(step)
        model(inputs(name))
        for layer, block in enumerate(seen):
            key = mask_key(SEED, step, f"blocks.{layer}.layer_drop")
            skipped.append(not keep_mask(key, 0.5, ()))
            assert (block["after"] is block["before"]) == skipped[-1]
    assert 0 < sum(skipped) < 24


@pytest.mark.parametrize(("name", "is_causal"), [("decoder", True), ("vision", False)])
def test_only_the_decoder_hides_the_future(name, is_causal):
    model = built(name)
    seen = watch(model.blocks[0])
    model(inputs(name))
    one = seen["before"].detach()
    other = one.clone()
    other[:, 5:] += 1
    first, second = model.blocks[0](one), model.blocks[0](other)
    assert torch.equal(first[:, :5], second[:, :5]) == is_causal
    assert not torch.allclose(first[:, 5:], second[:, 5:])


@each_network
def test_every_kind_of_a_network_together(name):
    """Where all sites drop, each still meets the mask of its own name."""
    rates = {"embedding": 0.1, "attention_weights": 0.2, "feed_forward_hidden": 0.3}
    site = "blocks.1.feed_forward_drop_path"
    _, before, after = run(name, site, drop_head=0.3, token_dropout=0.2, drop_path=0.9, **rates)
    keep = kept(site, 0.6, (BATCH, 1, 1))
    torch.testing.assert_close(after, torch.where(keep, before / 0.4, 0.0), rtol=1e-5, atol=1e-5)
