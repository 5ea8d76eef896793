import json

import pytest
import torch

from redrop.errors import UsageError
from redrop.nn import replay
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint
from redrop.train.load import load_trained
from redrop.train.loop import train
from tests.train.small import corpus, model_config, text_task, train_config


@pytest.fixture
def directory(tmp_path):
    settings = train_config(steps=32, learning_rate=0.3, min_learning_rate=0.3)
    task = text_task(p=0.25, tie_embeddings=True)
    train(task, settings, tmp_path, lambda event: None)
    return tmp_path


@pytest.mark.parametrize(("which", "group"), [("best", "best_weights"), ("last", "weights")])
def test_the_model_has_the_weights_of_the_step_asked_for(directory, which, group):
    trained = load_trained(directory, which)
    snapshot = read_checkpoint(latest_checkpoint(directory))
    parameters = dict(trained.model.named_parameters())
    assert parameters.keys() == snapshot.tensors[group].keys()
    assert all(torch.equal(parameters[n], t) for n, t in snapshot.tensors[group].items())
    best = snapshot.state["early_stopping"]["best_step"]
    assert best < 32
    assert trained.step == (best if which == "best" else 32)
    assert trained.model.output.weight is trained.model.token_embedding.weight


def test_it_is_ready_for_use(directory):
    trained = load_trained(directory)
    assert not trained.model.training
    assert trained.model.config == model_config(p=0.25, tie_embeddings=True)
    assert trained.tokenizer == corpus().tokenizer
    assert trained.train_config.steps == 32
    assert replay(trained.model, "embedding_dropout", step=3, shape=(2, 4)).shape == (2, 4)


def test_without_a_checkpoint_it_says_so(tmp_path):
    with pytest.raises(UsageError, match="holds no checkpoint"):
        load_trained(tmp_path / "nowhere")


def test_a_run_without_an_evaluation_has_last_weights_only(tmp_path):
    with pytest.raises(ZeroDivisionError):
        train(
            text_task(), train_config(), tmp_path, lambda event: None,
            progress=lambda step: 1 / 0 if step == 4 else None,
        )  # fmt: skip
    assert load_trained(tmp_path, "last").step == 3
    with pytest.raises(UsageError, match="no best weights"):
        load_trained(tmp_path, "best")


@pytest.mark.parametrize("missing", ["model", "train", "tokenizer", "step", "early_stopping"])
def test_a_state_that_lacks_something_is_refused(directory, missing):
    path = directory / "final" / "state.json"
    state = json.loads(path.read_text())
    del state[missing]
    path.write_text(json.dumps(state))
    with pytest.raises(UsageError, match=f"must hold a whole run.*{missing}"):
        load_trained(directory)
