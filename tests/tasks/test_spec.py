import json
from dataclasses import asdict

import pytest

from redrop.errors import UsageError
from redrop.models.config import MLPConfig, TransformerConfig, VisionTransformerConfig
from redrop.tasks.configure import configure
from redrop.tasks.load import load_task
from redrop.tasks.spec import TaskSpec, resolve_model
from redrop.train.recipe import Recipe

RECIPE = Recipe(name="r", dropout={"all": 0.1}, model={"layers": 3})


@pytest.mark.parametrize(
    "spec",
    [
        TaskSpec(source="reference:25000"),
        TaskSpec(kind="images", source="x", network="vision_transformer", limit=9, image_size=32),
        TaskSpec(kind="table", source="my.csv", network="mlp", target="price", predict="values"),
        TaskSpec(kind="module", source="mine:data", network="module", model="mine:build"),
    ],
    ids=lambda spec: spec.kind,
)
def test_a_spec_comes_back_from_json(spec):
    assert TaskSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_a_choice_that_was_not_made_leaves_the_record_as_it_was_before_there_was_one():
    assert not {"predict", "image_size"} & TaskSpec(source="x").to_json().keys()


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({}, "must have the fields of TaskSpec; .*source"),
        ({"source": "x", "tokens": 3}, "must have the fields of TaskSpec; .*tokens"),
        ({"source": "x", "kind": "sound"}, "`kind` of a task must be one of text, .*; got 'sound'"),
        ({"source": "x", "predict": "price"}, "`predict` of a task must be one of classes, values"),
        ({"source": "x", "network": "lstm"}, "`network` of a task must be one of .*got 'lstm'"),
    ],
)
def test_what_is_no_spec_is_refused(stored, message):
    with pytest.raises(UsageError, match=message):
        TaskSpec.from_json(stored)


@pytest.mark.parametrize(
    ("kind", "network", "base"),
    [
        ("text", "transformer", TransformerConfig(vocab_size=7, context=9)),
        ("images", "vision_transformer", VisionTransformerConfig(image_size=8, outputs=3)),
        ("table", "mlp", MLPConfig(features=4, outputs=3)),
    ],
)
def test_the_network_of_a_recipe_is_complete_json(kind, network, base):
    spec = TaskSpec(kind=kind, source="x", network=network)
    without = {name: value for name, value in asdict(base).items() if name != "dropout"}
    for settings in (asdict(base), without):
        resolved = resolve_model(spec, settings, RECIPE)
        assert json.loads(json.dumps(resolved)) == resolved
        assert type(base).from_json(resolved) == configure(base, RECIPE)
    assert resolve_model(spec, without, Recipe(name="none")) == asdict(base)


@pytest.mark.parametrize(
    ("spec", "augment"),
    [
        (TaskSpec(source="markov:4000"), {"mixup": 0.2}),
        (TaskSpec(source="markov:4000"), {"flip": 0.5}),
        (TaskSpec(kind="table", source="iris", network="mlp"), {"cutmix": 1.0}),
        (TaskSpec(kind="table", source="iris", network="mlp"), {"mask": 0.1}),
        (TaskSpec(kind="images", source="digits", network="mlp"), {"synonyms": 0.1}),
    ],
)
def test_an_augmentation_of_other_data_is_refused_by_the_plan(spec, augment):
    settings = load_task(spec).settings()["model"]
    with pytest.raises(UsageError) as caught:
        resolve_model(spec, settings, Recipe(name="odd", augment=augment))
    (name,) = augment
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
