"""What a run carries from step to step beside its weights: rates, and an average."""

import json

import pytest
import torch

from redrop.errors import UsageError
from redrop.mask import mask_key
from redrop.mask.reference import keep_mask
from redrop.tasks.text import TextTask
from redrop.train import loop
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint
from redrop.train.load import load_trained
from redrop.train.loop import train
from redrop.train.run import Run
from redrop.train.weights import get_weights, set_weights
from tests.train.small import corpus, run, text_task, train_config, without_seconds

STEPS = 12
SITE = "embedding_dropout"
FACTORS = {
    # word: factor at each of 12 steps, from the table of redrop.regularize.dropout_schedule
    "constant": [1.0] * 12,
    "early-0.25": [1.0] * 3 + [0.0] * 9,
    "early-linear-0.5": [1 - s / 6 for s in range(6)] + [0.0] * 6,
    "late-0.5": [0.0] * 6 + [1.0] * 6,
    "linear": [s / 11 for s in range(12)],
    "linear-down": [1 - s / 11 for s in range(12)],
}


def tensors(directory):
    return read_checkpoint(latest_checkpoint(directory)).tensors


def fail_at(cut):
    def fail(step):
        if step == cut:
            raise ZeroDivisionError

    return fail


@pytest.fixture
def masks(monkeypatch):
    """Note what the embedding site keeps at each training step."""
    seen = []
    original = loop.objective

    def note(task, model, batch, config, decayed):
        def look(module, args, output):
            seen.append(((output != 0) | (args[0] == 0)).numpy())

        with model.get_submodule(SITE).register_forward_hook(look):
            return original(task, model, batch, config, decayed)

    monkeypatch.setattr(loop, "objective", note)
    return seen


@pytest.mark.parametrize("word", FACTORS)
def test_a_schedule_changes_the_masks_of_training_as_its_table_says(tmp_path, masks, word):
    run(tmp_path, p=0.5, dropout_schedule=word)
    assert len(masks) == STEPS
    for step, (kept, factor) in enumerate(zip(masks, FACTORS[word], strict=True)):
        key = mask_key(train_config().seed, step, SITE)
        expected = keep_mask(key, 0.5 * factor, kept.shape)
        assert (kept == expected).all(), step
        assert kept.all() == (factor == 0.0), step


def test_what_a_schedule_drops_full_dropout_drops_too(tmp_path, masks):
    run(tmp_path / "full", p=0.5)
    run(tmp_path / "rising", p=0.5, dropout_schedule="linear")
    full, rising = masks[:STEPS], masks[STEPS:]
    for whole, part in zip(full, rising, strict=True):
        assert (part | ~whole).all()
    dropped = [int((~kept).sum()) for kept in rising]
    assert dropped[0] == 0
    assert dropped[3] < dropped[7] < dropped[11]
    assert (full[11] == rising[11]).all()


def test_evaluation_has_no_dropout_whatever_the_schedule(tmp_path):
    tiny_rate = {"learning_rate": 1e-30, "min_learning_rate": 0.0, "weight_decay": 0.0}
    losses = set()
    for word in ("constant", "late-0.5", "linear"):
        _, events = run(tmp_path / word, p=0.7, dropout_schedule=word, **tiny_rate)
        losses.add((events[-2]["train_eval_loss"], events[-2]["validation_loss"]))
    assert len(losses) == 1


@pytest.mark.parametrize("cut", [1, 7])
@pytest.mark.parametrize(
    "settings",
    [
        *({"dropout_schedule": word} for word in (*FACTORS, "curriculum")),
        {"schedule": "linear"},
        {"schedule": "constant"},
        {"optimizer": "sgd", "learning_rate": 0.1},
        {"optimizer": "adam", "weight_decay": 0.0},
        {"ema": 0.9},
        {"ema": 0.9, "dropout_schedule": "early-0.5", "r_drop": 1.0, "clip_value": 1e-3},
        {"label_smoothing": 0.1, "entropy_penalty": 0.1, "l2": 1e-3, "patience": 2, "ema": 0.5},
    ],
    ids=lambda value: (
        "+".join(f"{k}-{v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
    ),
)
def test_a_run_that_goes_on_ends_with_the_same_bits(tmp_path, settings, cut):
    straight, events = run(tmp_path / "straight", p=0.3, **settings)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", progress=fail_at(cut), p=0.3, **settings)
    again, events_again = run(tmp_path / "cut", p=0.3, **settings)
    assert without_seconds(events_again) == without_seconds(events)
    assert again.test_loss_best == straight.test_loss_best
    one, other = tensors(tmp_path / "straight"), tensors(tmp_path / "cut")
    assert one.keys() == other.keys()
    assert ("average" in one) == ("ema" in settings)
    for group in one.keys() - {"generator"}:
        assert one[group].keys() == other[group].keys()
        for name, tensor in one[group].items():
            assert torch.equal(tensor, other[group][name]), (group, name)


def test_the_average_is_that_of_the_formula_and_is_what_is_judged_and_kept(tmp_path):
    decay, weights = 0.5, []

    def note(step):
        weights.append({n: w.clone() for n, w in get_weights(runs[0].model).items()})

    runs, original = [], Run.__init__

    def remember(self, *args):
        original(self, *args)
        runs.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "__init__", remember)
        result, events = run(tmp_path, p=0.3, ema=decay, progress=note)
    averages, average = [], None
    for t, now in enumerate(weights):
        d = min(decay, (1 + t) / (10 + t))
        average = now if t == 0 else {n: d * average[n] + (1 - d) * w for n, w in now.items()}
        averages.append(average)
    stored = tensors(tmp_path)
    for group, expected in [
        ("average", averages[-1]),
        ("best_weights", averages[result.best_step - 1]),
        ("weights", weights[-1]),
    ]:
        for name, tensor in stored[group].items():
            torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    assert not torch.equal(stored["average"]["output.weight"], stored["weights"]["output.weight"])

    fresh = Run(text_task(), train_config())
    set_weights(fresh.model, averages[-1])
    parts = loop._Parts(fresh)
    score = loop.evaluate(fresh.task, fresh.model, parts.validation)
    assert events[-2]["validation_loss"] == pytest.approx(score.loss, rel=1e-5)
    test = loop.evaluate(fresh.task, fresh.model, parts.test)
    assert result.test_loss_final == pytest.approx(test.loss, rel=1e-5)


def test_to_average_the_weights_does_not_change_how_they_are_trained(tmp_path):
    run(tmp_path / "plain", p=0.3)
    run(tmp_path / "averaged", p=0.3, ema=0.9)
    plain, averaged = (tensors(tmp_path / name)["weights"] for name in ("plain", "averaged"))
    for name, weight in plain.items():
        assert torch.equal(weight, averaged[name])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": 13}, r"train\.steps = 12, asked for was 13"),
        ({"seed": 6}, r"train\.seed = 5, asked for was 6"),
        ({"p": 0.1}, r"model\.dropout\.attention_residual = 0\.0, asked for was 0\.1"),
        ({"model": {"norm": "post"}}, r"model\.norm = 'pre', asked for was 'post'"),
        ({"ema": 0.9}, r"train\.ema = 0\.0, asked for was 0\.9"),
        ({"optimizer": "sgd"}, r"train\.optimizer = 'adamw', asked for was 'sgd'"),
        ({"dropout_schedule": "linear"}, r"train\.dropout_schedule = 'constant', asked for was"),
    ],
)
def test_the_directory_of_another_run_is_refused(tmp_path, changes, named):
    run(tmp_path)
    kept = tensors(tmp_path)["weights"]
    with pytest.raises(UsageError, match=named):
        run(tmp_path, **changes)
    after = tensors(tmp_path)["weights"]
    assert all(torch.equal(after[name], weight) for name, weight in kept.items())


def as_of_old(directory):
    """Make a checkpoint what it was before there was another optimizer."""
    path = latest_checkpoint(directory) / "state.json"
    state = json.loads(path.read_text())
    assert state["train"].pop("optimizer") == "adamw"
    path.write_text(json.dumps(state))


def test_a_run_of_before_there_was_another_optimizer_goes_on(tmp_path):
    _, straight = run(tmp_path / "straight")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", progress=fail_at(7))
    as_of_old(tmp_path / "cut")
    with pytest.raises(UsageError, match=r"train\.optimizer = 'adamw', asked for was 'sgd'"):
        run(tmp_path / "cut", optimizer="sgd")
    _, events = run(tmp_path / "cut")
    assert without_seconds(events) == without_seconds(straight)
    as_of_old(tmp_path / "cut")
    assert load_trained(tmp_path / "cut").train_config == train_config()


def test_other_data_and_another_mask_definition_are_refused(tmp_path, monkeypatch):
    run(tmp_path)
    monkeypatch.setattr("redrop.train.run.SPEC_VERSION", 999)
    with pytest.raises(UsageError, match="spec = 1, asked for was 999"):
        run(tmp_path)
    monkeypatch.undo()
    other = type(corpus())(**{**vars(corpus()), "sha256": "0" * 64})
    with pytest.raises(UsageError, match="data_sha256 = "):
        train(TextTask(other, text_task().model), train_config(), tmp_path, lambda event: None)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    run(tmp_path)
    path = tmp_path / "final" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UsageError, match=r"weights\.safetensors.*is not what was written"):
        run(tmp_path)


@pytest.mark.parametrize("missing", ["step", "events", "early_stopping", "seconds", "result"])
def test_a_checkpoint_that_lacks_something_is_refused(tmp_path, missing):
    run(tmp_path)
    path = tmp_path / "final" / "state.json"
    state = json.loads(path.read_text())
    del state[missing]
    path.write_text(json.dumps(state))
    with pytest.raises(UsageError, match=f"must hold a whole run; .*'{missing}'"):
        run(tmp_path)
