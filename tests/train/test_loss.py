"""The objective, term by term, against formulas that do not use the code of the package."""

import copy
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.nn import attach
from redrop.tasks.load import load_task
from redrop.tasks.spec import TaskSpec
from redrop.train.loss import check_objective, cross_entropy, mean_loss, objective, run_model
from redrop.train.optimizer import decayed_parameters
from tests.train.small import text_task, train_config

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3)


def random_logits(shape, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((*shape, classes), generator=generator, dtype=torch.float64) * 3
    return logits, torch.randint(classes, tuple(shape), generator=generator)


def smoothed(targets, classes, epsilon):
    """(1 − ε) · one-hot + ε / K, written out."""
    rows = torch.full((*targets.shape, classes), epsilon / classes, dtype=torch.float64)
    return rows.scatter_add(
        -1, targets[..., None], torch.full((*targets.shape, 1), 1 - epsilon, dtype=torch.float64)
    )


@given(SHAPES, st.integers(2, 6), st.floats(0, 0.9), st.integers(0, 99))
def test_label_smoothing_is_the_cross_entropy_with_spread_targets(shape, classes, epsilon, seed):
    logits, targets = random_logits(shape, classes, seed)
    log_p = logits - logits.exp().sum(-1, keepdim=True).log()
    expected = -(smoothed(targets, classes, epsilon) * log_p).sum(-1).mean()
    torch.testing.assert_close(cross_entropy(logits, targets, epsilon), expected)


@given(SHAPES, st.integers(2, 6), st.floats(0, 0.9), st.integers(0, 99))
def test_a_distribution_as_target_is_smoothed_like_a_class(shape, classes, epsilon, seed):
    logits, targets = random_logits(shape, classes, seed)
    one_hot = smoothed(targets, classes, 0.0)
    torch.testing.assert_close(
        cross_entropy(logits, one_hot, epsilon), cross_entropy(logits, targets, epsilon)
    )
    # Mixed targets: the loss is linear in them.
    mixed = 0.3 * one_hot + 0.7 * one_hot.roll(1, 0)
    parts = (0.3, one_hot), (0.7, one_hot.roll(1, 0))
    expected = sum(share * cross_entropy(logits, target, epsilon) for share, target in parts)
    torch.testing.assert_close(cross_entropy(logits, mixed, epsilon), expected)


def test_targets_of_minus_100_are_left_out():
    logits, targets = random_logits((5,), 3, 0)
    kept = torch.tensor([True, False, True, True, False])
    expected = cross_entropy(logits[kept], targets[kept], 0.1)
    left_out = cross_entropy(logits, targets.where(kept, torch.tensor(-100)), 0.1)
    torch.testing.assert_close(left_out, expected)


@pytest.fixture
def scene():
    """A task with dropout, an attached model at step 3, and the batch of that step."""
    task = text_task(p=0.5)
    model = task.build(seed=1)
    state = attach(model, seed=3)
    state.set_step(3)
    batch = task.batch(seed=1, step=3, batch_size=4)

    def again():
        state.set_step(3)
        return run_model(task, model, batch, "float32")

    return SimpleNamespace(task=task, model=model, state=state, batch=batch, again=again)


def computed(scene, **changes):
    scene.state.set_step(3)
    config = train_config(**changes)
    return objective(scene.task, scene.model, scene.batch, config, decayed_parameters(scene.model))


def log_softmax(logits):
    return logits.double() - logits.double().exp().sum(-1, keepdim=True).log()


def nll(logits, targets):
    return -log_softmax(logits).gather(-1, targets[..., None]).mean()


def close(found, expected):
    torch.testing.assert_close(found.double(), expected.double(), rtol=2e-6, atol=2e-6)


def test_without_penalties_it_is_the_loss_of_the_task(scene):
    loss = computed(scene)
    close(loss, nll(scene.again(), scene.batch.targets))
    scene.state.set_step(3)
    assert torch.equal(loss, mean_loss(scene.task, scene.model, scene.batch))


def test_the_entropy_penalty_rewards_doubt(scene):
    log_p = log_softmax(scene.again())
    entropy = -(log_p.exp() * log_p).sum(-1).mean()
    close(computed(scene, entropy_penalty=0.3), computed(scene) - 0.3 * entropy)


def test_r_drop_runs_twice_under_two_masks_that_have_to_agree(scene, monkeypatch):
    first = scene.again()
    second = run_model(scene.task, scene.model, scene.batch, "float32")  # pass 1 of the step
    assert not torch.equal(first, second)
    log_a, log_b = log_softmax(first), log_softmax(second)
    divergence = (
        (log_a.exp() * (log_a - log_b)).sum(-1).mean()
        + (log_b.exp() * (log_b - log_a)).sum(-1).mean()
    ) / 2
    targets = scene.batch.targets
    expected = (nll(first, targets) + nll(second, targets)) / 2 + 1.5 / 2 * divergence
    close(computed(scene, r_drop=1.5), expected)

    seen = []
    original = type(scene.task).outputs
    monkeypatch.setattr(
        type(scene.task),
        "outputs",
        lambda self, model, inputs: seen.append(original(self, model, inputs)) or seen[-1],
    )
    computed(scene, r_drop=1.5)
    assert len(seen) == 2
    assert torch.equal(seen[0].float(), first)
    assert torch.equal(seen[1].float(), second)
    computed(scene)
    assert len(seen) == 3, "without R-Drop one pass is enough"


def test_r_drop_without_dropout_is_the_loss(scene):
    task = text_task(p=0.0)
    model = task.build(seed=1)
    decayed = decayed_parameters(model)
    plain = objective(task, model, scene.batch, train_config(), decayed)
    close(objective(task, model, scene.batch, train_config(r_drop=5.0), decayed), plain)


def test_the_gradient_of_l2_is_lambda_times_each_matrix_and_nothing_else(scene):
    gradients = []
    for strength in (0.0, 0.25):
        scene.model.zero_grad()
        computed(scene, l2=strength).backward()
        gradients.append({n: p.grad.clone() for n, p in scene.model.named_parameters()})
    plain, pulled = gradients
    for name, weight in scene.model.named_parameters():
        pull = 0.25 * weight.detach() if weight.dim() >= 2 else torch.zeros_like(weight)
        torch.testing.assert_close(pulled[name], plain[name] + pull, rtol=1e-4, atol=1e-6)


def test_all_terms_add_up(scene):
    settings = {"label_smoothing": 0.1, "r_drop": 2.0, "entropy_penalty": 0.2, "l2": 0.01}
    first = scene.again()
    log_p = log_softmax(first)
    entropy = -(log_p.exp() * log_p).sum(-1).mean()
    l2 = sum(p.double().square().sum() for p in scene.model.parameters() if p.dim() >= 2) / 2
    alone = computed(scene, label_smoothing=0.1, r_drop=2.0)
    close(computed(scene, **settings), alone - 0.2 * entropy + 0.01 * l2)


def test_each_term_reaches_the_gradient(scene):
    def gradient(**changes):
        model = copy.deepcopy(scene.model)
        attach(model, seed=3).set_step(3)
        decayed = decayed_parameters(model)
        objective(scene.task, model, scene.batch, train_config(**changes), decayed).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    plain = gradient()
    assert torch.equal(plain, gradient())
    for change in (
        {"label_smoothing": 0.1},
        {"r_drop": 1.0},
        {"entropy_penalty": 0.1},
        {"l2": 0.1},
    ):
        assert not torch.allclose(gradient(**change), plain), change


@pytest.mark.parametrize("name", ["label_smoothing", "r_drop", "entropy_penalty"])
def test_penalties_on_classes_are_refused_where_values_are_predicted(name):
    values = load_task(TaskSpec(kind="table", source="diabetes", network="mlp"))
    with pytest.raises(UsageError, match=f"`{name}` acts on predicted classes; 'diabetes'"):
        check_objective(values, train_config(**{name: 0.1}))
    check_objective(values, train_config(l2=0.1, ema=0.9, weight_decay=1.0))
    check_objective(text_task(), train_config(**{name: 0.1}))


def test_bfloat16_computes_the_network_only():
    task = text_task()
    model, batch = task.build(seed=0), task.batch(seed=0, step=0, batch_size=2)
    low, high = (run_model(task, model, batch, p) for p in ("bfloat16", "float32"))
    assert low.dtype == high.dtype == torch.float32
    assert not torch.equal(low, high)
    torch.testing.assert_close(low, high, rtol=0.1, atol=0.1)
