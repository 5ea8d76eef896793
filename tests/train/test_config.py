import json
from dataclasses import asdict, replace

import pytest

from redrop.errors import UsageError
from redrop.train import TrainConfig


@pytest.mark.parametrize("name", ["steps", "batch_size", "eval_every", "eval_tokens"])
@pytest.mark.parametrize("value", [0, -3, 2.0, True])
def test_counts_are_integers_of_at_least_1(name, value):
    with pytest.raises(UsageError, match=f"`{name}` must be an integer of at least 1; got {value}"):
        replace(TrainConfig(), **{name: value})


@pytest.mark.parametrize(
    "name", ["warmup_steps", "patience", "checkpoint_every", "threads", "seed"]
)
def test_some_counts_may_be_0(name):
    assert getattr(replace(TrainConfig(), **{name: 0}), name) == 0
    with pytest.raises(UsageError, match=f"`{name}` must be an integer of at least 0; got -1"):
        replace(TrainConfig(), **{name: -1})


@pytest.mark.parametrize(
    "name",
    ["learning_rate", "min_learning_rate", "weight_decay", "l2", "clip_norm", "clip_value",
     "min_delta", "label_smoothing", "entropy_penalty", "r_drop", "ema"],
)  # fmt: skip
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "1"])
def test_real_numbers_are_finite_and_not_negative(name, value):
    with pytest.raises(UsageError, match=f"`{name}` must be a finite number of at least 0; got"):
        replace(TrainConfig(), **{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0}, "`learning_rate` must be positive"),
        ({"learning_rate": 1e-5}, "must not exceed `learning_rate`; got 0.0001 and 1e-05"),
        ({"precision": "float16"}, "`precision` must be .*; got 'float16'"),
        ({"schedule": "step"}, '`schedule` must be "cosine" or "linear" or "constant"; got .step.'),
        (
            {"optimizer": "adagrad"},
            '`optimizer` must be "adamw" or "adam" or "sgd"; got .adagrad.',
        ),
        ({"optimizer": "adam"}, r"Adam has no decoupled decay; got `weight_decay` 0\.1\. Pass 0"),
        ({"label_smoothing": 1.0}, r"`label_smoothing` must lie in \[0, 1\); got 1.0"),
        ({"ema": 1}, r"`ema` must lie in \[0, 1\); got 1"),
        ({"dropout_schedule": "later"}, "A dropout schedule must be one of .*; got 'later'"),
        ({"dropout_schedule": "early"}, "needs a share of the steps"),
        ({"dropout_schedule": "late-x"}, "A dropout schedule must be one of .*; got 'late-x'"),
        ({"dropout_schedule": 3}, "`dropout_schedule` must be a word; got 3"),
        ({"seed": 2**63}, r"`seed` must lie in \[0, 2\^63\); got 9223372036854775808"),
        ({"steps": 2**32}, r"below 2\^32.*got 4294967296"),
    ],
)
def test_other_rules_are_named(changes, message):
    with pytest.raises(UsageError, match=message):
        replace(TrainConfig(), **changes)


def test_a_config_comes_back_from_json():
    config = TrainConfig(
        steps=3, precision="bfloat16", min_delta=0.125, ema=0.5, dropout_schedule="early-0.2"
    )
    assert TrainConfig.from_json(json.loads(json.dumps(asdict(config)))) == config


OPTIMIZERS = ("adamw", "adam", "sgd")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_json_says_everything_but_the_optimizer_there_always_was(optimizer):
    config = TrainConfig(steps=3, optimizer=optimizer, weight_decay=0.0)
    stored = json.loads(json.dumps(config.to_json()))
    assert TrainConfig.from_json(stored) == config
    left_out = {"optimizer"} if optimizer == "adamw" else set()
    assert asdict(config).keys() - stored.keys() == left_out
    assert stored.items() <= asdict(config).items()


def test_json_of_a_run_of_before_is_the_same_to_the_letter():
    """Ids of runs are made of it; each setting here was in the records of version 0.1.0."""
    config = TrainConfig(steps=7, ema=0.9)
    assert TrainConfig.from_json(BEFORE) == config
    assert config.to_json() == BEFORE


BEFORE = {
    "steps": 7, "batch_size": 24, "learning_rate": 1e-3, "warmup_steps": 50,
    "min_learning_rate": 1e-4, "schedule": "cosine", "weight_decay": 0.1, "l2": 0.0,
    "clip_norm": 1.0, "clip_value": 0.0, "label_smoothing": 0.0, "entropy_penalty": 0.0,
    "r_drop": 0.0, "ema": 0.9, "dropout_schedule": "constant", "concrete": 0.0, "eval_every": 100,
    "eval_tokens": 8192, "patience": 0, "min_delta": 0.0, "precision": "float32", "seed": 0,
    "checkpoint_every": 200, "threads": 0,
}  # fmt: skip


def test_a_config_of_another_version_is_refused():
    with pytest.raises(UsageError, match=r"'epochs'.*another version"):
        TrainConfig.from_json({"epochs": 3})
