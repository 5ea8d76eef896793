import numpy as np
import pytest
from PIL import Image

from redrop.errors import UsageError
from redrop.models.config import MLPConfig, TransformerConfig, VisionTransformerConfig
from redrop.tasks.load import load_task
from redrop.tasks.spec import TaskSpec
from tests.tasks import small


def test_the_data_decide_the_shape_of_the_network():
    text, digits, row, classes, values = (small.task(name).model for name in small.SPECS)
    assert isinstance(text, TransformerConfig)
    assert text.vocab_size == small.task("text").corpus.tokenizer.vocab_size
    assert isinstance(digits, VisionTransformerConfig)
    assert (digits.image_size, digits.channels, digits.outputs) == (8, 1, 10)
    assert isinstance(row, MLPConfig)
    assert (row.features, row.outputs) == (64, 10)
    assert (classes.features, classes.outputs) == (13, 3)
    assert (values.features, values.outputs) == (10, 1)


def test_settings_of_the_network_are_kept_and_dropout_is_not():
    stored = small.task("classes", width=24).settings()["model"]
    assert stored["width"] == 24
    stored["dropout"] = {"feed_forward_hidden": 0.5}
    again = load_task(small.SPECS["classes"], stored)
    assert again.model.width == 24
    assert again.model.dropout.active == ()


def test_data_are_read_once_for_all_runs():
    assert small.task("classes") is small.task("classes")


@pytest.mark.parametrize(
    ("spec", "model", "message"),
    [
        (TaskSpec(source="markov:4000", network="mlp"), {}, "A text is read by a transformer"),
        (TaskSpec(kind="table", source="iris", network="vision_transformer"), {},
         "A vision transformer reads images; 'iris' is a table. Use `mlp`"),
        (TaskSpec(kind="table", source="iris", network="transformer"), {},
         "A decoder transformer reads text; 'iris' holds samples. Use `mlp`."),
        (TaskSpec(kind="images", source="digits", network="transformer"), {},
         "Use `mlp` or `vision_transformer`"),
        (TaskSpec(kind="table", source="iris", network="mlp"), {"heads": 4},
         "MLPConfig has the settings features, .*'heads'"),
        (TaskSpec(kind="table", source="no-such.csv", network="mlp"), {}, "no-such.csv"),
        (TaskSpec(kind="table", source="iris", network="mlp", target="price"), {}, "price"),
        (TaskSpec(kind="images", source="digits", network="vision_transformer"),
         {"patch_size": 3}, "`patch_size` must divide `image_size`"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(spec, model, message):
    with pytest.raises(UsageError, match=message):
        load_task(spec, model)


@pytest.fixture
def folder(tmp_path):
    """Two classes of images, 8 wide and 12 high."""
    rng = np.random.default_rng(0)
    for name in ("dark", "light"):
        (tmp_path / name).mkdir()
        for number in range(12):
            pixels = rng.integers(0, 128, (12, 8), dtype=np.uint8) + 127 * (name == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_images_that_are_not_square_are_for_an_mlp_alone(folder):
    spec = TaskSpec(kind="images", source=str(folder), network="mlp")
    task = load_task(spec, {"width": 8})
    assert task.model.features == 96
    task.outputs(task.build(0), task.batch(seed=0, step=0, batch_size=4).inputs)
    with pytest.raises(UsageError, match="A vision transformer reads square images; .* 12 × 8"):
        load_task(TaskSpec(kind="images", source=str(folder), network="vision_transformer"))
