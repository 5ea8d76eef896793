import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from redrop.errors import UsageError
from redrop.models import DropoutRates
from tests.models import plain
from tests.models.tiny import VOCAB, shaken, tiny, tokens


class CountOperations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("length", [1, 4, 9])
@pytest.mark.parametrize(
    "changes",
    [{}, {"norm_layer": "rmsnorm"}, {"norm_layer": "none"}, {"residual": False}],
    ids=["", "rms", "no norm", "chain"],
)
def test_logits_and_gradients_are_those_of_a_second_implementation(norm, tied, length, changes):
    model = shaken(norm=norm, tie_embeddings=tied, **changes)
    weights = dict(model.named_parameters())
    exact = {name: w.detach().double().requires_grad_() for name, w in weights.items()}
    batch = tokens(length=length)
    ours = model(batch)
    has_residual = changes.get("residual", True)
    theirs = plain.logits(exact, batch, layers=2, heads=3, norm=norm, has_residual=has_residual)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    weighting = torch.linspace(-1, 1, ours.numel(), dtype=torch.float64).view_as(ours)
    our_grads = torch.autograd.grad((ours * weighting).sum(), list(weights.values()))
    their_grads = torch.autograd.grad((theirs * weighting).sum(), list(exact.values()))
    for name, one, other in zip(weights, our_grads, their_grads, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4, msg=name)


def test_pre_norm_and_post_norm_differ():
    assert not torch.allclose(shaken(norm="pre")(tokens()), shaken(norm="post")(tokens()))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_without_norm_layers_the_rest_of_the_network_is_the_same(norm):
    with_norms = dict(tiny(norm=norm).named_parameters())
    without = dict(tiny(norm=norm, norm_layer="none").named_parameters())
    gone = with_norms.keys() - without.keys()
    assert gone == {name for name in with_norms if "norm" in name}
    assert len(gone) == 2 * (5 if norm == "pre" else 4)
    assert all(torch.equal(weight, with_norms[name]) for name, weight in without.items())


def test_without_norm_layers_it_does_not_matter_where_they_would_stand():
    pre, post = (shaken(norm=norm, norm_layer="none") for norm in ("pre", "post"))
    assert torch.equal(pre(tokens()), post(tokens()))


def test_only_pre_norm_ends_in_a_norm():
    names = {norm: set(dict(tiny(norm=norm).named_parameters())) for norm in ("pre", "post")}
    assert names["pre"] - names["post"] == {"final_norm.weight", "final_norm.bias"}
    assert names["post"] < names["pre"]


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_a_later_token_changes_no_earlier_logit(p):
    model = shaken(dropout=DropoutRates(attention_weights=p))
    one = tokens()
    other = one.clone()
    other[:, 5:] = (other[:, 5:] + 1) % VOCAB
    torch.manual_seed(0)
    first = model(one)
    torch.manual_seed(0)
    second = model(other)
    assert torch.equal(first[:, :5], second[:, :5])
    assert not torch.allclose(first[:, 5:], second[:, 5:])


def test_more_tokens_than_the_context_are_refused():
    with pytest.raises(UsageError, match="at most 9 tokens; got 10"):
        tiny()(tokens(length=10))


def test_rates_leave_the_initial_weights_alone():
    weights = dict(tiny(seed=3).named_parameters())
    dropped = dict(tiny(seed=3, dropout=DropoutRates.everywhere(0.5)).named_parameters())
    assert weights.keys() == dropped.keys()
    assert all(torch.equal(weights[name], dropped[name]) for name in weights)


def test_another_seed_gives_other_weights():
    assert not torch.equal(tiny(seed=0).output.weight, tiny(seed=1).output.weight)


def test_building_a_model_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    tiny(seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_weights_are_those_of_gpt_2():
    model = tiny(width=240, layers=3, vocab_size=300, context=200)
    expected = {
        "blocks.1.attention.output.weight": 0.02 / math.sqrt(6),
        "blocks.2.feed_forward.contract.weight": 0.02 / math.sqrt(6),
        "blocks.0.attention.qkv.weight": 0.02,
        "blocks.0.feed_forward.expand.weight": 0.02,
        "token_embedding.weight": 0.02,
        "position_embedding.weight": 0.02,
        "output.weight": 0.02,
    }
    parameters = dict(model.named_parameters())
    for name, std in expected.items():
        # 48,000 draws and more: the standard error is at most 0.33 % of the deviation
        assert parameters[name].std().item() == pytest.approx(std, rel=0.02), name
        assert abs(parameters[name].mean().item()) < 5 * std / math.sqrt(parameters[name].numel())
    for name, parameter in parameters.items():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name


def test_tied_embeddings_are_one_parameter():
    model = tiny(tie_embeddings=True)
    assert model.output.weight is model.token_embedding.weight
    assert "output.weight" not in dict(model.named_parameters())
    elements = [sum(p.numel() for p in tiny(tie_embeddings=t).parameters()) for t in (False, True)]
    assert elements[0] - elements[1] == VOCAB * 12


def test_without_dropout_training_mode_adds_no_operation():
    batch = tokens()
    model = tiny()
    with CountOperations() as training:
        model(batch)
    model.eval()
    with CountOperations() as evaluating:
        model(batch)
    assert training.names == evaluating.names
    assert not [name for name in training.names if "dropout" in name and "attention" not in name]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_bfloat16_autocast_stays_near_float32(norm):
    model = shaken(norm=norm)
    exact = model(tokens())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(tokens())
    assert rough.dtype == torch.bfloat16
    scale = exact.abs().max().item()
    assert (rough.float() - exact).abs().max().item() < 0.05 * scale
