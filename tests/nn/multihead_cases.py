"""Attention layers, inputs for them, and what torch's layer gives with the masks of a run."""

import torch

import redrop
from redrop.nn import MultiheadAttention, attach
from tests.nn.expected import GivenMask

B, T, S, C, H = 3, 5, 6, 8, 2
SEED, P = 11, 0.4


class Model(torch.nn.Module):
    """One attention layer, called `attn`."""

    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.attn = MultiheadAttention(C, H, **{"dropout": P, **options})
        for parameter in self.attn.parameters():  # PyTorch makes the biases zero
            torch.nn.init.normal_(parameter, std=0.5)

    def forward(self, *inputs, **where):
        return self.attn(*inputs, **where)


def torchs_twin(layer, dtype=torch.float32, **options):
    twin = torch.nn.MultiheadAttention(C, H, **{"dropout": P, **options}).to(dtype)
    twin.load_state_dict(layer.state_dict())
    return twin.train(layer.training)


def arguments(layer, call, dtype=torch.float32):
    """Inputs and masks as a dictionary; the same numbers for every dtype."""
    torch.manual_seed(1)
    is_batched, keys = call["is_batched"], T if call["inputs"] == "one" else S

    def tokens(count, width):
        x = torch.randn(B, count, width) if is_batched else torch.randn(count, width)
        x = x.transpose(0, 1) if is_batched and not layer.batch_first else x
        return x.to(dtype).requires_grad_()

    query = tokens(T, C)
    key = tokens(keys, layer.kdim)
    value = tokens(keys, layer.vdim)
    if call["inputs"] == "one" and layer.kdim == layer.vdim == C:
        key = value = query
    if call["inputs"] == "two" and layer.kdim == layer.vdim:
        value = key
    hidden = torch.rand(B if is_batched else 1, keys) < 0.3
    hidden[:, 0] = False  # where a query sees nothing, torch's weights are NaN
    padding = {"boolean": hidden, "additive": torch.randn(hidden.shape).to(dtype)}.get(
        call["padding"]
    )
    if padding is not None and not is_batched:
        padding = padding.squeeze(0)
    numbers = torch.randn((B if is_batched else 1) * H, T, keys)
    numbers[..., 0] = 1.0
    causal = torch.ones(T, keys).triu(1).bool()
    mask = {
        "boolean": numbers[0] < -0.5,
        "additive": numbers[0].to(dtype),
        "per head": numbers < -0.5,
        "hint": causal,
    }.get(call["mask"])
    return {
        "query": query,
        "key": key,
        "value": value,
        "key_padding_mask": padding,
        "attn_mask": mask,
        "is_causal": call["mask"] == "hint",
        "need_weights": call["need_weights"],
        "average_attn_weights": call["average_attn_weights"],
    }


def gradients(results, layer, inputs):
    loss = sum((x * x.detach().cos()).sum() for x in results if x is not None)
    tensors = {id(x): x for x in (inputs["query"], inputs["key"], inputs["value"])}
    return torch.autograd.grad(loss, [*tensors.values(), *layer.parameters()])


def agree(ours, theirs, **tolerance):
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            torch.testing.assert_close(a.to(b.dtype), b, **tolerance)


def with_mask(twin, inputs, step, pass_=0):
    """What torch's layer gives when its Bernoulli numbers are the mask of the run."""
    kept = mask_of_run((*shape_of(twin, inputs),), step, pass_)
    # With need_weights torch's layer holds samples and heads in one dimension.
    with GivenMask(kept.flatten(0, 1) if inputs["need_weights"] else kept) as mode:
        results = twin(**inputs)
    assert mode.has_been_used
    return results


def shape_of(layer, inputs):
    """(B, H, T, S) of the weights, appended keys counted."""
    sizes = [
        (1, *x.shape[:-1]) if x.dim() == 2 else x.shape[:-1]
        for x in (inputs["query"], inputs["key"])
    ]
    sizes = [s if layer.batch_first or inputs["query"].dim() == 2 else s[::-1] for s in sizes]
    appended = (layer.bias_k is not None) + layer.add_zero_attn
    return sizes[0][0], H, sizes[0][1], sizes[1][1] + appended


def mask_of_run(shape, step, pass_=0, p=P, site="attn"):
    return torch.from_numpy(
        redrop.replay(seed=SEED, step=step, site=site, p=p, shape=shape, pass_=pass_)
    )


def itself(*, batch_first=True, tokens=T, requires_grad=False):
    """A batch to attend to itself."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(B, tokens, C, generator=generator)
    return (x if batch_first else x.transpose(0, 1)).requires_grad_(requires_grad)


def attached(**options):
    model = Model(**{"batch_first": True, **options})
    return model, attach(model, seed=SEED)
