import pytest
import torch

from redrop.data.sample_batch import sample_batch
from redrop.errors import UsageError
from redrop.train.recipe import Recipe
from redrop.train.recipe_word import parse_recipe
from tests.tasks import small


def augmented(name, **augment):
    return small.task(name).with_recipe(Recipe(name="r", augment=augment))


def test_a_batch_without_augmentation_is_that_of_the_data():
    task = small.task("digits")
    inputs, targets = sample_batch(task.samples.train, seed=3, step=9, batch_size=8)
    batch = task.batch(seed=3, step=9, batch_size=8)
    assert torch.equal(batch.inputs, inputs)
    assert torch.equal(batch.targets, targets)


def test_an_image_is_the_row_of_its_pixels_to_an_mlp():
    task = small.task("digits on an mlp")
    batch = task.batch(seed=0, step=0, batch_size=4)
    assert batch.inputs.shape == (4, 1, 8, 8)
    assert task.model.features == 64
    model = task.build(seed=0)
    direct = model(batch.inputs.reshape(4, 64))
    assert torch.equal(task.outputs(model, batch.inputs), direct)


@pytest.mark.parametrize("name", ["classes", "digits"])
def test_mixup_blends_samples_with_their_neighbours_and_targets_with_theirs(name):
    plain, mixed = (
        task.batch(seed=1, step=2, batch_size=8)
        for task in (small.task(name), augmented(name, mixup=1.0))
    )
    classes = len(small.task(name).samples.classes)
    one_hot = torch.nn.functional.one_hot(plain.targets, classes).float()
    assert mixed.targets.shape == (8, classes)
    torch.testing.assert_close(mixed.targets.sum(1), torch.ones(8))
    # λ from the inputs alone; then the targets must be mixed by the same one
    difference = plain.inputs - plain.inputs.roll(1, 0)
    moved = mixed.inputs - plain.inputs.roll(1, 0)
    lam = (moved * difference).sum() / difference.square().sum()
    assert 0 < lam < 1
    torch.testing.assert_close(
        mixed.inputs, lam * plain.inputs + (1 - lam) * plain.inputs.roll(1, 0)
    )
    torch.testing.assert_close(mixed.targets, lam * one_hot + (1 - lam) * one_hot.roll(1, 0))


def test_mixup_blends_values_too():
    plain, mixed = (
        task.batch(seed=1, step=2, batch_size=8)
        for task in (small.task("values"), augmented("values", mixup=1.0))
    )
    assert mixed.targets.shape == plain.targets.shape == (8,)
    assert not torch.equal(mixed.targets, plain.targets)
    torch.testing.assert_close(mixed.targets.sum(), plain.targets.sum())


@pytest.mark.parametrize(
    "augment",
    [{"mixup": 1.0}, {"cutmix": 1.0}, {"crop": 1}, {"crop": 2.0}, {"erasing": 1.0}, {"flip": 0.5},
     {"mixup": 0.2, "cutmix": 1.0, "crop": 1, "erasing": 0.5}],
    ids=lambda augment: "+".join(augment),
)  # fmt: skip
def test_an_augmentation_is_a_function_of_seed_and_step_and_changes_the_batch(augment):
    task, plain = augmented("digits", **augment), small.task("digits")
    changed = 0
    for step in range(4):
        one, again = (task.batch(seed=1, step=step, batch_size=16) for _ in range(2))
        assert torch.equal(one.inputs, again.inputs)
        assert torch.equal(one.targets, again.targets)
        changed += not torch.equal(one.inputs, plain.batch(seed=1, step=step, batch_size=16).inputs)
    assert changed == 4


def test_two_arms_share_the_draws_of_what_they_share():
    both, one = augmented("digits", crop=2, mixup=1.0), augmented("digits", crop=2)
    plain = one.batch(seed=1, step=2, batch_size=8).inputs
    mixed = both.batch(seed=1, step=2, batch_size=8).inputs
    difference = plain - plain.roll(1, 0)
    lam = ((mixed - plain.roll(1, 0)) * difference).sum() / difference.square().sum()
    torch.testing.assert_close(mixed, lam * plain + (1 - lam) * plain.roll(1, 0))


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("classes", "cutmix-1", "`cutmix` need images"),
        ("classes", "crop-1+flip-0.5", "`flip`, `crop` need images"),
        ("values", "erasing-0.5", "`erasing` need images"),
        ("digits", "crop-8", "`crop` must be less than a side of the image, 8"),
        ("digits", "crop-1.5", "`crop` is a number of pixels"),
        ("digits", "flip-1.5", r"`flip` is a probability in \[0, 1\]; got 1.5"),
        ("digits", "mixup--1", "`mixup` is the α of Beta"),
        ("digits", "mixup-nan", "`mixup` is the α of Beta"),
        ("digits", "mixup-much", "a number as its strength; got mixup much"),
        ("digits", "mask-0.1", "flip, crop, erasing, mixup and cutmix"),
        ("classes", "drop_head-0.1", "drops at drop_head, none of which this network has"),
        ("classes", "norm-post", "changes `norm`, which this network does not have"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_before_any_step(name, word, message):
    with pytest.raises(UsageError, match=message) as caught:
        small.task(name).with_recipe(parse_recipe(word))
    assert "\n" not in str(caught.value)


def test_the_loss_of_values_is_in_deviations_and_the_metrics_in_units(tmp_path):
    task = small.task("values")
    assert task.unit == "squared standard deviations"
    result, _ = small.run(task, tmp_path)
    rmse = result.test_metrics_final["rmse"]
    assert rmse == pytest.approx(result.test_loss_final**0.5 * task.samples.target_scale, rel=1e-5)


def test_the_record_names_classes_and_units():
    assert small.task("classes").state() == {
        "samples": {
            "target": "target",
            "classes": list(small.task("classes").samples.classes),
            "features": list(small.task("classes").samples.features),
        }
    }
