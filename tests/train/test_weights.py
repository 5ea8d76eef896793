import pytest
import torch

from redrop.errors import UsageError
from redrop.models.transformer import Transformer
from redrop.train.weights import get_weights, set_weights
from tests.train.small import model_config


def test_tied_weights_are_stored_once_and_stay_tied():
    one, other = (Transformer(model_config(tie_embeddings=True), seed=seed) for seed in (0, 1))
    weights = get_weights(one)
    pointers = [weight.data_ptr() for weight in weights.values()]
    assert len(set(pointers)) == len(pointers)
    set_weights(other, weights)
    assert torch.equal(other.output.weight, one.token_embedding.weight)
    assert other.output.weight is other.token_embedding.weight


def test_weights_are_copied_in():
    one, other = (Transformer(model_config(), seed=seed) for seed in (0, 1))
    set_weights(other, get_weights(one))
    with torch.no_grad():
        one.output.weight.zero_()
    assert other.output.weight.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("output.weight"), "`output.weight` has shape .* and None"),
        (lambda w: w.update(extra=torch.zeros(3)), r"`extra` has shape None there and \(3,\)"),
        (lambda w: w.update({"output.weight": torch.zeros(2)}), r"`output.weight`.* and \(2,\)"),
    ],
    ids=["missing", "unknown", "other shape"],
)
def test_weights_of_another_model_are_refused_and_nothing_is_copied(change, message):
    model = Transformer(model_config(), seed=0)
    before = {name: weight.clone() for name, weight in get_weights(model).items()}
    weights = get_weights(Transformer(model_config(), seed=1))
    change(weights)
    with pytest.raises(UsageError, match=message):
        set_weights(model, weights)
    assert all(torch.equal(weight, before[name]) for name, weight in get_weights(model).items())
