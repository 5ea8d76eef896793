import json
import math
import signal

import pytest
import torch

from redrop.errors import UsageError
from redrop.models.config import DropoutRates
from redrop.train import loop
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint
from redrop.train.loop import clip_gradients, train
from redrop.train.run import Run
from redrop.train.schedule import learning_rate
from tests.train.small import corpus, model_config, train_config, without_seconds


def run(directory, p=0.0, *, model=None, progress=None, **changes):
    """Train; return the result and the events."""
    events = []
    result = train(
        model_config(p, **(model or {})),
        train_config(**changes),
        corpus(),
        directory,
        events.append,
        progress=progress,
    )
    return result, events


def final_tensors(directory):
    return read_checkpoint(latest_checkpoint(directory)).tensors


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture
def watched(monkeypatch):
    """Note the batch, the weights and the attention mask of each training step."""
    steps = []
    original = loop.mean_loss

    def note(model, inputs, targets, precision):
        before, after = model.attention_weights(inputs, 0)
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        kept = (after != 0) | (before == 0)
        steps.append({"inputs": inputs, "targets": targets, "weights": weights, "kept": kept})
        return original(model, inputs, targets, precision)

    monkeypatch.setattr(loop, "mean_loss", note)
    return steps


def test_the_record_has_an_evaluation_each_period_and_at_the_end(tmp_path):
    result, events = run(tmp_path, steps=10)
    assert [event["kind"] for event in events] == ["eval", "eval", "eval", "end"]
    assert [event["step"] for event in events[:3]] == [4, 8, 10]
    assert set(events[0]) == {
        "kind", "step", "train_loss", "train_eval_loss", "validation_loss", "learning_rate",
        "gradient_norm", "clipped_share", "seconds",
    }  # fmt: skip
    assert [event["learning_rate"] for event in events[:3]] == [
        learning_rate(step, train_config(steps=10)) for step in (3, 7, 9)
    ]
    assert events[-1] == result.to_event()
    assert (result.status, result.steps, result.tokens) == ("done", 10, 10 * 4 * 12)
    assert result.final_validation_loss == events[2]["validation_loss"]
    assert result.best_validation_loss == min(e["validation_loss"] for e in events[:3])
    assert 0 < events[0]["seconds"] < events[1]["seconds"] < result.seconds


def test_training_learns(tmp_path):
    result, events = run(tmp_path, steps=150, eval_every=50)
    assert events[0]["validation_loss"] < math.log(corpus().tokenizer.vocab_size)
    assert result.final_validation_loss < events[0]["validation_loss"] - 0.1


def test_train_loss_is_the_mean_of_the_minibatch_losses_with_dropout_on(tmp_path, monkeypatch):
    losses = []
    original = loop.mean_loss

    def note(*args):
        loss = original(*args)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(loop, "mean_loss", note)
    _, events = run(tmp_path, p=0.5, steps=6)
    assert events[0]["train_loss"] == pytest.approx(sum(losses[:4]) / 4)
    assert events[1]["train_loss"] == pytest.approx(sum(losses[4:]) / 2)


def test_evaluation_has_no_dropout(tmp_path):
    # With a rate of 0 for learning, the weights of both runs are still the initial ones (nearly).
    tiny_rate = {"learning_rate": 1e-30, "min_learning_rate": 0.0, "weight_decay": 0.0}
    _, plain = run(tmp_path / "plain", steps=4, **tiny_rate)
    _, dropped = run(tmp_path / "dropped", p=0.7, steps=4, **tiny_rate)
    for name in ("train_eval_loss", "validation_loss"):
        assert dropped[0][name] == plain[0][name]
    assert dropped[0]["train_loss"] != plain[0]["train_loss"]
    assert dropped[-1]["test_loss_final"] == plain[-1]["test_loss_final"]


def test_arms_share_initial_weights_batches_and_nested_masks(tmp_path, watched):
    for p in (0.0, 0.2, 0.5):
        run(tmp_path / str(p), p=p)
    none, low, high = watched[:12], watched[12:24], watched[24:]
    assert len(high) == 12
    assert torch.equal(none[0]["weights"], low[0]["weights"])
    assert torch.equal(none[0]["weights"], high[0]["weights"])
    assert not torch.equal(low[5]["weights"], high[5]["weights"])
    for n, a, b in zip(none, low, high, strict=True):
        assert torch.equal(n["inputs"], a["inputs"])
        assert torch.equal(a["inputs"], b["inputs"])
        assert torch.equal(a["targets"], b["targets"])
        assert n["kept"].all()
        assert bool((a["kept"] | ~b["kept"]).all())  # what 0.5 keeps, 0.2 keeps
        assert a["kept"].sum() > b["kept"].sum()
    assert not torch.equal(low[0]["kept"], low[1]["kept"])
    assert not torch.equal(low[0]["inputs"], low[1]["inputs"])


def test_another_seed_changes_weights_batches_and_masks(tmp_path, watched):
    for seed in (1, 2):
        run(tmp_path / str(seed), p=0.5, steps=1, seed=seed)
    one, two = watched
    for name in ("weights", "inputs", "kept"):
        assert not torch.equal(one[name], two[name])


def test_a_run_that_goes_on_sees_the_batches_and_masks_it_would_have_seen(tmp_path, watched):
    run(tmp_path / "straight", p=0.3)
    straight = list(watched)
    watched.clear()

    def fail(step):
        if step == 8:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", p=0.3, progress=fail)
    del watched[6:]  # the checkpoint before is that of step 6
    run(tmp_path / "cut", p=0.3)
    assert len(watched) == len(straight) == 12
    for one, other in zip(straight, watched, strict=True):
        assert same(one, other)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("cut", [1, 4, 7])
def test_a_run_that_goes_on_ends_with_the_same_bits(tmp_path, precision, tied, cut):
    settings = {"p": 0.3, "precision": precision, "model": {"tie_embeddings": tied}}
    straight, events = run(tmp_path / "straight", **settings)

    def fail(step):
        if step == cut:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", progress=fail, **settings)
    again, events_again = run(tmp_path / "cut", **settings)
    assert without_seconds(events_again) == without_seconds(events)
    one, other = final_tensors(tmp_path / "straight"), final_tensors(tmp_path / "cut")
    assert one.keys() == other.keys()
    for group in one.keys() - {"generator"}:
        assert same(one[group], other[group]), group
    assert again.test_loss_best == straight.test_loss_best


def test_a_run_that_has_ended_is_told_again_and_not_trained_again(tmp_path):
    first, events = run(tmp_path)

    def fail(step):
        raise AssertionError(step)

    again, events_again = run(tmp_path, progress=fail)
    assert again == first
    assert events_again == events


def test_the_clock_counts_all_sittings(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, progress=lambda step: 1 / 0 if step == 4 else None)
    before = read_checkpoint(latest_checkpoint(tmp_path)).state["seconds"]
    assert before > 0
    result, _ = run(tmp_path)
    assert result.seconds > before


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("step", [1, 5, 12])
def test_ctrl_c_finishes_the_step_writes_a_checkpoint_and_is_raised(tmp_path, step):
    def press(done):
        if done == step:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", p=0.3, progress=press, checkpoint_every=0)
    assert read_checkpoint(latest_checkpoint(tmp_path / "cut")).state["step"] == step
    _, events = run(tmp_path / "cut", p=0.3, checkpoint_every=0)
    _, expected = run(tmp_path / "straight", p=0.3, checkpoint_every=0)
    assert without_seconds(events) == without_seconds(expected)
    assert same(
        final_tensors(tmp_path / "cut")["weights"], final_tensors(tmp_path / "straight")["weights"]
    )


@pytest.mark.parametrize("when", [1, 6])
def test_a_run_that_diverges_ends_without_a_crash(tmp_path, monkeypatch, when):
    original = loop.mean_loss
    calls = []

    def diverge(*args):
        calls.append(None)
        return original(*args) * (float("nan") if len(calls) == when else 1.0)

    monkeypatch.setattr(loop, "mean_loss", diverge)
    result, events = run(tmp_path)
    assert result.status == "diverged"
    assert result.steps == when - 1
    assert len(calls) == math.ceil(when / 4) * 4, "it ends at the evaluation that sees it"
    assert events[-2]["train_loss"] is None
    assert events[-2]["validation_loss"] is None
    assert result.final_validation_loss is None
    assert result.test_loss_final is None
    has_best = when > 4
    assert result.best_step == (4 if has_best else None)
    assert (result.test_loss_best is not None) == has_best
    again, _ = run(tmp_path)
    assert again == result


def test_a_huge_learning_rate_does_not_crash(tmp_path):
    result, _ = run(tmp_path, learning_rate=1e30, clip_norm=0.0, weight_decay=0.0, warmup_steps=0)
    assert result.status == "diverged"


def test_early_stopping_ends_the_run_and_keeps_the_best_weights(tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.6])
    seen = []

    def planned(model, windows, precision):
        if windows is planned.validation:
            seen.append({n: p.detach().clone() for n, p in model.named_parameters()})
            return next(losses)
        return 1.0

    original = loop._Windows

    def windows(run):
        result = original(run)
        planned.validation = result.validation
        return result

    monkeypatch.setattr(loop, "_Windows", windows)
    monkeypatch.setattr(loop, "evaluate", planned)
    result, events = run(tmp_path, steps=100, patience=2)
    assert result.status == "stopped early"
    assert (result.steps, result.best_step, result.best_validation_loss) == (16, 8, 2.0)
    assert result.final_validation_loss == 2.6
    assert [event["step"] for event in events[:-1]] == [4, 8, 12, 16]
    kept = final_tensors(tmp_path)
    assert same(dict(kept["best_weights"]), seen[1])
    assert same(dict(kept["weights"]), seen[3])


def test_the_two_test_losses_are_those_of_the_best_and_the_last_weights(tmp_path):
    # A large rate at the end makes the last weights worse than the best.
    result, _ = run(tmp_path, steps=40, learning_rate=0.3, min_learning_rate=0.3)
    assert result.best_step < 40
    tensors = final_tensors(tmp_path)
    fresh = Run(model_config(), train_config(), corpus())
    windows = loop._Windows(fresh)
    for group, expected in [
        ("best_weights", result.test_loss_best),
        ("weights", result.test_loss_final),
    ]:
        loop.set_weights(fresh.model, tensors[group])
        assert loop.evaluate(fresh.model, windows.test, "float32") == pytest.approx(expected)
    assert result.test_loss_best != result.test_loss_final


@pytest.mark.parametrize(("clip", "expected"), [(0.5, 0.5), (5.0, 5.0), (50.0, 13.0), (0.0, 13.0)])
def test_gradients_are_scaled_down_to_the_norm_and_never_up(clip, expected):
    model = torch.nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0, 4.0]]), torch.tensor([12.0])
    assert clip_gradients(list(model.parameters()), clip).item() == pytest.approx(13.0)
    norm = math.hypot(*model.weight.grad[0].tolist(), model.bias.grad.item())
    assert norm == pytest.approx(expected, rel=1e-5)
    assert model.weight.grad[0, 0] / model.weight.grad[0, 1] == pytest.approx(0.75)


def test_the_loop_clips_and_the_record_says_how_often(tmp_path):
    _, loose = run(tmp_path / "loose", clip_norm=0.0)
    _, tight = run(tmp_path / "tight", clip_norm=1e-3)
    assert loose[0]["clipped_share"] == 0.0
    assert tight[0]["clipped_share"] == 1.0
    assert loose[0]["gradient_norm"] > 1e-3
    assert loose[1]["validation_loss"] != tight[1]["validation_loss"]


def test_the_thread_count_is_that_of_the_config_and_comes_back(tmp_path):
    before = torch.get_num_threads()
    seen = []
    run(tmp_path, threads=before + 1, progress=lambda step: seen.append(torch.get_num_threads()))
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": 13}, r"train\.steps = 12, asked for was 13"),
        ({"seed": 6}, r"train\.seed = 5, asked for was 6"),
        ({"p": 0.1}, r"model\.dropout\.attention_residual = 0\.0, asked for was 0\.1"),
        ({"model": {"norm": "post"}}, r"model\.norm = 'pre', asked for was 'post'"),
    ],
)
def test_the_directory_of_another_run_is_refused(tmp_path, changes, named):
    run(tmp_path)
    kept = final_tensors(tmp_path)["weights"]
    with pytest.raises(UsageError, match=named):
        run(tmp_path, **changes)
    assert same(final_tensors(tmp_path)["weights"], kept)


def test_other_data_and_another_mask_definition_are_refused(tmp_path, monkeypatch):
    run(tmp_path)
    monkeypatch.setattr("redrop.train.run.SPEC_VERSION", 999)
    with pytest.raises(UsageError, match="spec = 1, asked for was 999"):
        run(tmp_path)
    monkeypatch.undo()
    other = type(corpus())(**{**vars(corpus()), "sha256": "0" * 64})
    with pytest.raises(UsageError, match="data_sha256 = "):
        train(model_config(), train_config(), other, tmp_path, lambda event: None)


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


def test_model_and_corpus_must_fit(tmp_path):
    with pytest.raises(UsageError, match="`vocab_size` is 3 and 'reference' has"):
        run(tmp_path, model={"vocab_size": 3})
    with pytest.raises(UsageError, match="context of 700 needs at least 701 tokens"):
        run(tmp_path, model={"context": 700})
    assert not list(tmp_path.iterdir())


def test_every_site_trains_in_both_norms(tmp_path):
    for norm in ("pre", "post"):
        for kind in DropoutRates.sites():
            rates = DropoutRates(**{kind: 0.5})
            _, events = run(tmp_path / norm / kind, model={"norm": norm, "dropout": rates}, steps=2)
            assert math.isfinite(events[0]["validation_loss"])
