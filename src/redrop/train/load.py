"""A trained model from its directory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from redrop.data.tokenizer import Tokenizer, tokenizer_from_json
from redrop.errors import UsageError
from redrop.models.config import TransformerConfig
from redrop.models.transformer import Transformer
from redrop.nn import attach
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint
from redrop.train.config import TrainConfig
from redrop.train.weights import set_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """A model in eval mode, attached to the seed of its run, and what is needed to use it.

    Args:
        step: Optimizer steps behind its weights.
    """

    model: Transformer
    tokenizer: Tokenizer
    train_config: TrainConfig
    step: int


def load_trained(directory: str | Path, which: Literal["best", "last"] = "best") -> TrainedModel:
    """Return the model of a run, ended or not.

    Args:
        directory: That `train` was given.
        which: Weights of the lowest validation loss, or of the last checkpoint.

    Raises:
        UsageError: There is no checkpoint, it is damaged, or it has no best weights yet.
    """
    folder = latest_checkpoint(Path(directory))
    if folder is None:
        raise UsageError(
            f"A model is loaded from the directory of a run; `{directory}` holds no checkpoint. "
            "Train first."
        )
    snapshot = read_checkpoint(folder)
    if "vocab_size" not in snapshot.state.get("model", {"vocab_size": None}):
        raise UsageError(
            f"Only a model that was trained on text can write; `{folder}` holds one of other data."
        )
    try:
        state, weights = snapshot.state, snapshot.tensors["weights"]
        step = state["step"]
        if which == "best":
            weights = snapshot.tensors["best_weights"]
            step = state["early_stopping"]["best_step"]
        train_config = TrainConfig.from_json(state["train"])
        model = Transformer(TransformerConfig.from_json(state["model"]), seed=train_config.seed)
        tokenizer = tokenizer_from_json(state["tokenizer"])
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"A checkpoint must hold a whole run; `{folder}` does not: {error}. Train anew."
        ) from error
    if step is None:
        raise UsageError(
            f"`{folder}` has no best weights: nothing was evaluated yet. Ask for the last ones."
        )
    set_weights(model, weights)
    attach(model, seed=train_config.seed).set_step(step)
    return TrainedModel(
        model=model.eval(), tokenizer=tokenizer, train_config=train_config, step=step
    )
