import json
import warnings
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from redrop.errors import UsageError
from redrop.integrations import load_object
from redrop.mask import keep_mask, mask_key
from redrop.nn import SiteModule
from redrop.train.recipe import Recipe
from redrop.train.recipe_file import read_recipes
from redrop.train.recipe_word import parse_recipe
from redrop.train.run import Run
from tests.tasks import own, small
from tests.tasks.own import dropping, task


def rates_of(model):
    """Rate of each site by name; the names of function calls lose that of the model."""
    return {
        name.removeprefix("Perceptron"): module.p
        for name, module in model.named_modules()
        if isinstance(module, SiteModule)
    }


def test_every_rate_is_the_recipes_and_the_others_are_zero():
    model = task().with_recipe(Recipe(name="none")).build(0)
    assert rates_of(model) == {"drop": 0.0, ":dropout": 0.0}
    for recipe, want in [
        (dropping(all=0.4), {"drop": 0.4, ":dropout": 0.4}),
        (dropping(drop=0.4), {"drop": 0.4, ":dropout": 0.0}),
        (Recipe(name="r", dropout={"*:dropout": 0.4}), {"drop": 0.0, ":dropout": 0.4}),
        (dropping(all=0.4, drop=0.1), {"drop": 0.1, ":dropout": 0.4}),
        (parse_recipe("as-is"), {"drop": 0.2, ":dropout": 0.2}),
        (Recipe(name="r", model={"rates": "own"}, dropout={"drop": 0.7}),
         {"drop": 0.7, ":dropout": 0.2}),
    ]:  # fmt: skip
        assert rates_of(task().with_recipe(recipe).build(0)) == want, recipe


def test_kinds_are_found_in_torchs_own_layers():
    attending = task(own.build_attending, own.sequences)
    assert [site.name for site in attending.sites()] == [*own.ATTENDING_SITES]
    model = attending.with_recipe(dropping(attention_weights=0.5)).build(0)
    assert {name for name, p in rates_of(model).items() if p == 0.5} == {
        "layer.self_attn",
        "attention",
    }
    assert set(rates_of(model).values()) == {0.0, 0.5}
    model = attending.with_recipe(Recipe(name="r", dropout={"layer.dropout?": 0.5})).build(0)
    assert {name for name, p in rates_of(model).items() if p} == {
        "layer.dropout1",
        "layer.dropout2",
    }


@pytest.mark.parametrize("builder", [own.build, own.build_attending])
def test_a_step_trains_drops_and_repeats(builder, tmp_path):
    loaders = own.loaders if builder is own.build else own.sequences
    results = [
        small.run(task(builder, loaders).with_recipe(parse_recipe(word)), tmp_path / str(number))
        for number, word in enumerate(["none", "all-0.3", "all-0.3", "as-is"])
    ]
    losses = [events[-2]["train_loss"] for _, events in results]
    assert losses[0] != losses[1] == losses[2]
    # The rates of `Attending` are 0.3 as they are, those of the other model are not.
    assert (losses[3] == losses[1]) == (builder is own.build_attending)
    assert all(result.status == "done" for result, _ in results)


def test_the_users_class_and_their_models_are_left_alone():
    mine = own.build()
    before = {name: dict(vars(kind)) for name, kind in _KINDS.items()}
    task().with_recipe(parse_recipe("all-0.5")).build(0)
    assert before == {name: dict(vars(kind)) for name, kind in _KINDS.items()}
    assert type(mine.drop) is nn.Dropout
    assert mine.drop.p == own.build().drop.p == 0.2


_KINDS = {"model": own.Perceptron, "layer": nn.Dropout}


def test_masks_of_a_run_are_those_of_the_reference(monkeypatch):
    p, seed = 0.3, 5
    run = Run(task().with_recipe(parse_recipe(f"all-{p}"), seed), small.train_config(seed=seed))
    plain = own.build()
    plain.load_state_dict(run.model.state_dict())
    names = ("Perceptron:dropout", "drop")

    for step in (0, 3):
        order = iter(names)

        def reference(x, rate, training=True, inplace=False, step=step, order=order):
            keep = keep_mask(mask_key(seed, step, next(order)), p, tuple(x.shape))
            return torch.where(torch.from_numpy(keep), x / (1 - p), 0.0)

        batch = run.task.batch(seed=seed, step=step, batch_size=8)
        run.set_step(step)
        found = run.task.outputs(run.model, batch.inputs)
        with monkeypatch.context() as patched:
            patched.setattr(torch.nn.functional, "dropout", reference)
            want = plain(batch.inputs)
        assert next(order, None) is None
        torch.testing.assert_close(found, want)


def test_the_initial_weights_are_the_same_in_every_arm():
    weights = [
        task().with_recipe(parse_recipe(word)).build(3).state_dict()
        for word in ("none", "all-0.5", "as-is")
    ]
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], weight) for name, weight in other.items())
    assert not torch.equal(task().build(4).first.weight, weights[0]["first.weight"])


def test_a_builder_that_draws_from_numpy_repeats_too():
    def build():
        model = own.build()
        nn.init.constant_(model.last.bias, own.global_numpy())
        return model

    before = torch.get_rng_state()
    one, same, other = (task(build).build(seed).last.bias[0].item() for seed in (1, 1, 2))
    assert one == same != other
    assert torch.equal(torch.get_rng_state(), before)


def test_a_recipe_file_changes_the_builders_arguments(tmp_path):
    (tmp_path / "own.toml").write_text(
        "[wide]\nmodel = { hidden = 32 }\ndropout = { all = 0.5 }\n[tall]\nmodel = { depth = 2 }\n"
    )
    recipes = read_recipes(tmp_path / "own.toml")
    changed = task().with_recipe(recipes["wide"])
    assert changed.build(0).first.out_features == 32
    settings = changed.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["model"] == {"hidden": 32, "dropout": {"all": 0.5}}
    with pytest.raises(UsageError, match="changes depth of your model; your function takes hidden"):
        task().with_recipe(recipes["tall"])


def test_a_look_at_the_model_leaves_its_buffers():
    model = task().with_recipe(parse_recipe("as-is")).build(0)
    assert model.norm.num_batches_tracked.item() == 0
    run = Run(task().with_recipe(parse_recipe("as-is")), small.train_config())
    run.model(run.task.batch(seed=0, step=0, batch_size=8).inputs)
    assert run.model.norm.num_batches_tracked.item() == 1


@pytest.mark.parametrize(
    ("builder", "loaders", "fields", "unit", "metrics"),
    [
        (own.build, own.loaders, {}, "nats", {"accuracy", "macro_f1", "calibration_error"}),
        (lambda: own.Perceptron(outputs=1), own.value_loaders, {}, "squared error",
         {"rmse", "mae", "r2"}),
        (own.build, own.loaders, {"own_loss": own.squared}, "units of your loss", set()),
        (own.build, own.mappings, {}, "nats", {"accuracy", "macro_f1", "calibration_error"}),
        (own.build_keyword_model, own.mappings, {}, "nats",
         {"accuracy", "macro_f1", "calibration_error"}),
    ],
    ids=["classes", "values", "own loss", "mappings", "a tuple of outputs"],
)  # fmt: skip
def test_a_run_learns_and_reports_in_its_unit(builder, loaders, fields, unit, metrics, tmp_path):
    mine = task(builder, loaders, **fields)
    changes = {"steps": 60, "eval_every": 30, "learning_rate": 1e-2, "min_learning_rate": 1e-3}
    result, events = small.run(mine.with_recipe(parse_recipe("none")), tmp_path, **changes)
    assert mine.unit == mine.describe()["unit"] == unit
    assert result.test_metrics_final.keys() == metrics
    model = mine.build(5)
    batch = next(iter(mine.part("train", 48)))
    start = mine.loss(mine.outputs(model, batch.inputs), batch.targets).item()
    assert events[-2]["train_eval_loss"] < 0.8 * start


def test_it_is_described_as_json():
    described = task().describe()
    assert json.loads(json.dumps(described)) == described
    assert described["samples"] == {"train": 48, "validation": 48, "test": 48}
    assert described["train_targets"] == 48
    assert task(own.build_attending, own.sequences).describe()["samples"].keys() == {
        "train",
        "validation",
    }
    in_batches = task(loaders=lambda: [[(x, y)] * 3 for x, y in (own.rows(0), own.rows(1))])
    assert in_batches.describe()["train_targets"] == 3 * 48


class Stream(IterableDataset):
    """A hundred samples that can only be read one after the other."""

    def __iter__(self):
        return iter(zip(*own.rows(0, 100), strict=True))


def test_an_iterable_is_described_by_its_samples_not_by_its_batches(tmp_path):
    streamed = task(loaders=lambda: [DataLoader(Stream(), batch_size=16) for _ in range(2)])
    described = streamed.describe()
    assert described["samples"] == {"train": 100, "validation": 100}
    assert described["train_targets"] == 100
    result, _ = small.run(streamed.with_recipe(parse_recipe("none")), tmp_path, steps=63)
    # Nine times six batches of 16 and one of 4.
    assert result.tokens == 9 * described["train_targets"]


def test_another_version_of_a_model_is_another_study(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    texts = [
        "import torch\n\nclass Net(torch.nn.Linear):\n    width = {}\n\n"
        "def build():\n    return Net(6, 3)\n\n# {}\n".format(*words)
        for words in ((1, "a"), (1, "b"), (2, "a"))
    ]
    codes = []
    for number, text in enumerate(texts):
        (tmp_path / f"version_{number}.py").write_text(text)
        codes.append(task(load_object(f"version_{number}:build")).describe()["code"])
    assert codes[0] == codes[1] != codes[2]
    assert task().code != task(own_loss=own.squared).code != task(own_loss=own.no_mean).code
    assert task(lambda: nn.Linear(6, 3)).code != task(own.build).code


def test_without_test_data_nothing_is_reported_on_them(tmp_path):
    mine = task(loaders=own.two_loaders).with_recipe(parse_recipe("none"))
    result, _ = small.run(mine, tmp_path)
    assert (result.test_loss_best, result.test_loss_final) == (None, None)
    assert result.test_metrics_best == result.test_metrics_final == {}
    assert result.best_validation_loss > 0


def test_a_loss_that_turns_nan_ends_its_run_alone(tmp_path):
    mine = task(own_loss=own.nan_with_dropout)
    lost, _ = small.run(mine.with_recipe(parse_recipe("all-1")), tmp_path / "lost")
    kept, _ = small.run(mine.with_recipe(parse_recipe("none")), tmp_path / "kept")
    assert (lost.status, lost.steps, lost.test_loss_final) == ("diverged", 0, None)
    assert (kept.status, kept.steps) == ("done", 8)


def test_a_loss_is_one_number_wherever_it_is_computed():
    mine = task(own_loss=own.no_mean).with_recipe(parse_recipe("none"))
    batch = mine.batch(seed=0, step=0, batch_size=4)
    with pytest.raises(UsageError, match="a mean; got shape .4,. .float32."):
        mine.loss(mine.outputs(mine.build(0), batch.inputs), batch.targets)


ONE = own.Perceptron()
MISTAKES = [
    (own.fail, {}, "none", "Building your model failed: RuntimeError: on purpose.$"),
    (lambda: 3, {}, "none", "returns a torch.nn.Module; got int"),
    (lambda: ONE, {}, "none", "builds a new model at each call"),
    (own.build_without_sites, {}, "all-0.1", "`mine` has no dropout site, so none can be set"),
    (lambda: nn.Linear(5, 3), {}, "none", "Linear must run on the example, a torch.float32 tensor"),
    (lambda: nn.Flatten(0), {}, "none", "cannot take outputs of shape .12,. .* last dimension"),
    (lambda: own.Perceptron(outputs=2), {"own_loss": own.squared}, "none",
     "cannot take outputs of shape .2, 2. .* targets of shape .2,. .int64.: RuntimeError"),
    (own.build, {"own_loss": lambda outputs, targets: outputs}, "none",
     "A loss returns a tensor of one number, a mean; got shape .2, 3."),
    (own.build, {"own_loss": lambda outputs, targets: 0.5}, "none", "a mean; got float"),
]  # fmt: skip


@pytest.mark.parametrize(("builder", "fields", "word", "message"), MISTAKES)
def test_mistakes_are_one_line(builder, fields, word, message):
    mine = task(builder, **fields)

    with pytest.raises(UsageError, match=message) as caught:
        mine.check(parse_recipe(word))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pattern", ["embedding", "dorp", "layers.*"])
def test_a_pattern_that_names_nothing_lists_the_sites(pattern):
    message = rf"`{pattern.replace('*', '.')}.* Sites: drop \(other\), Perceptron:dropout \(other\)"
    with pytest.raises(UsageError, match=message):
        task().check(Recipe(name="r", dropout={pattern: 0.1}))


def test_a_model_without_sites_may_be_an_arm_that_does_not_drop():
    model = task(own.build_without_sites).with_recipe(parse_recipe("none")).build(0)
    assert type(model) is nn.Linear


class Says(nn.Module):
    """A model that returns what it is given to return."""

    def __init__(self, said):
        super().__init__()
        self.said = said

    def forward(self, x):  # noqa: ARG002
        return self.said


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: logits,
        lambda logits: {"loss": None, "logits": logits},
        lambda logits: OrderedDict(hidden=torch.ones(1), logits=(logits,)),
        lambda logits: SimpleNamespace(logits=logits),
        lambda logits: (logits, torch.ones(1)),
    ],
    ids=["a tensor", "a mapping", "an ordered mapping", "an output", "a tuple"],
)
def test_logits_are_found_in_what_models_return(wrap):
    logits = torch.ones(4, 3)
    assert task().outputs(Says(wrap(logits)), torch.zeros(4, 6)) is logits


@pytest.mark.parametrize("said", [None, (), [torch.ones(1)], {"hidden": torch.ones(1)}, ("a",)])
def test_a_model_that_returns_something_else_is_refused(said):
    with pytest.raises(UsageError, match="A model returns a tensor, .*; got"):
        task().outputs(Says(said), torch.zeros(4, 6))


def test_a_batch_that_the_model_cannot_take_is_one_line():
    mine = task().with_recipe(parse_recipe("none"))
    model = mine.build(0)
    with pytest.raises(UsageError, match="Your model failed on a batch: RuntimeError"):
        mine.outputs(model, torch.zeros(2, 5))
    with pytest.raises(UsageError, match="A model returns a tensor, .*; got dict"):
        task(own.build_keyword_model, own.mappings).outputs(own.build_keyword_model(), [None])
    logits = torch.zeros(4, 3)
    with pytest.raises(UsageError, match="of shape .4,. .int64.: IndexError"):
        mine.loss(logits, torch.tensor([0, 1, 2, 3]))


def test_dropout_in_a_kernel_is_named():
    def build():
        return nn.Sequential(nn.LSTM(own.WIDTH, 3, num_layers=2, dropout=0.5))

    with pytest.warns(UserWarning, match="`0` stays outside the run: the dropout between"):
        task(build).check(parse_recipe("none"))


def test_nothing_is_warned_of_a_plain_model():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task().check(parse_recipe("all-0.5"))
