import math
import signal

import pytest
import torch

from redrop.errors import UsageError
from redrop.models.config import DropoutRates
from redrop.train import loop
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint
from redrop.train.run import Run
from redrop.train.schedule import learning_rate
from redrop.train.task import Score
from tests.train.small import corpus, run, text_task, train_config, without_seconds


def final_tensors(directory):
    return read_checkpoint(latest_checkpoint(directory)).tensors


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture
def watched(monkeypatch):
    """Note the batch, the weights and the attention mask of each training step."""
    steps = []
    original = loop.objective

    def note(task, model, batch, config, decayed):
        inputs, targets = batch.inputs, batch.targets
        before, after = model.attention_weights(inputs, 0)
        weights = torch.cat([p.detach().flatten() for p in model.parameters()])
        kept = (after != 0) | (before == 0)
        steps.append({"inputs": inputs, "targets": targets, "weights": weights, "kept": kept})
        return original(task, model, batch, config, decayed)

    monkeypatch.setattr(loop, "objective", note)
    return steps


def test_the_record_has_an_evaluation_each_period_and_at_the_end(tmp_path):
    result, events = run(tmp_path, steps=10)
    assert [event["kind"] for event in events] == ["eval", "eval", "eval", "end"]
    assert [event["step"] for event in events[:3]] == [4, 8, 10]
    assert set(events[0]) == {
        "kind", "step", "train_loss", "train_eval_loss", "validation_loss", "validation_metrics",
        "learning_rate", "gradient_norm", "clipped_share", "seconds",
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
    original = loop.objective

    def note(*args):
        loss = original(*args)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(loop, "objective", note)
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
    original = loop.objective
    calls = []

    def diverge(*args):
        calls.append(None)
        return original(*args) * (float("nan") if len(calls) == when else 1.0)

    monkeypatch.setattr(loop, "objective", diverge)
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

    def planned(task, model, batches, precision):
        if batches is planned.validation:
            seen.append({n: p.detach().clone() for n, p in model.named_parameters()})
            return Score(next(losses), {})
        return Score(1.0, {})

    original = loop._Parts

    def parts(run):
        result = original(run)
        planned.validation = result.validation
        return result

    monkeypatch.setattr(loop, "_Parts", parts)
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
    fresh = Run(text_task(), train_config())
    parts = loop._Parts(fresh)
    for group, loss, metrics in [
        ("best_weights", result.test_loss_best, result.test_metrics_best),
        ("weights", result.test_loss_final, result.test_metrics_final),
    ]:
        loop.set_weights(fresh.model, tensors[group])
        score = loop.evaluate(fresh.task, fresh.model, parts.test, "float32")
        assert score.loss == pytest.approx(loss)
        assert score.metrics == pytest.approx(metrics)
    assert result.test_loss_best != result.test_loss_final


def test_the_loop_clips_and_the_record_says_how_often(tmp_path):
    _, loose = run(tmp_path / "loose", clip_norm=0.0)
    _, tight = run(tmp_path / "tight", clip_norm=1e-3)
    assert loose[0]["clipped_share"] == 0.0
    assert tight[0]["clipped_share"] == 1.0
    assert loose[0]["gradient_norm"] > 1e-3
    assert loose[1]["validation_loss"] != tight[1]["validation_loss"]


def test_clipping_by_value_counts_as_clipping_and_bounds_each_number(tmp_path, monkeypatch):
    largest = []
    original = loop.clip_by_norm

    def note(parameters, clip_norm):
        largest.append(max(p.grad.abs().max().item() for p in parameters))
        return original(parameters, clip_norm)

    monkeypatch.setattr(loop, "clip_by_norm", note)
    _, loose = run(tmp_path / "loose", clip_norm=0.0)
    unclipped = list(largest)
    largest.clear()
    _, tight = run(tmp_path / "tight", clip_norm=0.0, clip_value=1e-3)
    assert min(unclipped) > 1e-3
    assert max(largest) == pytest.approx(1e-3)
    assert (loose[0]["clipped_share"], tight[0]["clipped_share"]) == (0.0, 1.0)
    assert loose[1]["validation_loss"] != tight[1]["validation_loss"]


def test_the_clipped_share_counts_the_steps_whose_gradient_was_cut(tmp_path, monkeypatch):
    norms = []
    original = loop.clip_by_norm

    def note(parameters, clip_norm):
        norms.append(original(parameters, clip_norm).item())
        return torch.tensor(norms[-1])

    monkeypatch.setattr(loop, "clip_by_norm", note)
    run(tmp_path / "first", clip_norm=0.0, steps=4, learning_rate=1e-30, min_learning_rate=0.0)
    middle = sorted(norms)[1]  # of four norms, two are above it
    _, events = run(
        tmp_path / "second", clip_norm=middle, steps=4, learning_rate=1e-30, min_learning_rate=0.0
    )
    assert events[0]["clipped_share"] == sum(norm > middle for norm in norms[:4]) / 4 == 0.5
    assert events[0]["gradient_norm"] == pytest.approx(sum(norms[:4]) / 4)


def test_metrics_stand_in_the_record(tmp_path):
    result, events = run(tmp_path)
    for event in events[:-1]:
        assert 0 <= event["validation_metrics"]["accuracy"] <= 1
    assert result.test_metrics_final.keys() == result.test_metrics_best.keys() == {"accuracy"}
    assert events[-1]["test_metrics_best"] == result.test_metrics_best


@pytest.mark.parametrize("name", ["label_smoothing", "entropy_penalty", "r_drop", "l2"])
def test_penalties_are_in_the_training_loss_and_not_in_the_evaluations(tmp_path, name):
    tiny_rate = {"learning_rate": 1e-30, "min_learning_rate": 0.0, "weight_decay": 0.0}
    _, plain = run(tmp_path / "plain", p=0.5, steps=4, **tiny_rate)
    _, other = run(tmp_path / "other", p=0.5, steps=4, **tiny_rate, **{name: 0.3})
    assert plain[0]["train_loss"] != pytest.approx(other[0]["train_loss"], rel=1e-6)
    for loss in ("train_eval_loss", "validation_loss"):
        assert plain[0][loss] == other[0][loss]


def test_the_thread_count_is_that_of_the_config_and_comes_back(tmp_path):
    before = torch.get_num_threads()
    seen = []
    run(tmp_path, threads=before + 1, progress=lambda step: seen.append(torch.get_num_threads()))
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


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
