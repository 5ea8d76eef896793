import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from redrop.data import images as images_module
from redrop.data.images import load_images
from redrop.data.sample_split import digest_rows, split_samples
from redrop.errors import UsageError


def drawn(label: int, place: int, shape: tuple[int, ...] = (6, 5, 3)) -> NDArray[np.uint8]:
    rng = np.random.default_rng([label, place])
    return rng.integers(0, 256, size=shape, dtype=np.uint8)


def write_folder(
    root: Path,
    *,
    classes: int = 2,
    count: int = 10,
    suffix: str = ".png",
    draw: Callable[[int, int], NDArray[np.uint8]] = drawn,
) -> Path:
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        for place in range(count):
            Image.fromarray(draw(label, place)).save(folder / f"{place}{suffix}")
    return root


def expected_parts(raw: NDArray[np.uint8], targets: NDArray[np.int64], most: int) -> list[NDArray]:
    """Training, validation, test as NumPy makes them of raw (N, H, W, C) pixels."""
    rows = split_samples(digest_rows(raw), targets)
    values = raw.astype(np.float64) / most
    seen = values[rows.train]
    standard = (values - seen.mean((0, 1, 2))) / seen.std((0, 1, 2))
    return [
        standard[part].transpose(0, 3, 1, 2) for part in (rows.train, rows.validation, rows.test)
    ]


def test_digits_are_scikit_learns_normalised_by_training():
    digits = load_digits()
    samples = load_images("digits")
    assert samples.classes == tuple("0123456789")
    assert samples.input_shape == (1, 8, 8)

    raw = digits.images.astype(np.uint8)[..., None]
    for part, expected in zip(
        (samples.train, samples.validation, samples.test),
        expected_parts(raw, digits.target, 16),
        strict=True,
    ):
        np.testing.assert_allclose(part.inputs.numpy(), expected, atol=1e-5)
    rows = split_samples(digest_rows(raw), digits.target)
    assert samples.test.targets.tolist() == digits.target[rows.test].tolist()


def test_a_limit_normalises_by_the_images_that_are_left():
    whole, short = load_images("digits"), load_images("digits", limit=50)
    assert len(short.train) == 50
    assert short.train.inputs.mean().item() == pytest.approx(0, abs=1e-6)
    assert not torch.equal(short.test.inputs, whole.test.inputs)
    assert torch.equal(short.test.targets, whole.test.targets)
    assert short.sha256 == whole.sha256


@pytest.mark.parametrize("wrong", [{"size": 16}, {"channels": 3}])
def test_digits_come_in_one_size_and_grey(wrong: dict[str, int]):
    with pytest.raises(UsageError, match="8 × 8 pixels of grey"):
        load_images("digits", **wrong)


def test_a_folder_gives_its_pixels_and_names(tmp_path: Path):
    write_folder(tmp_path / "pets", classes=3)
    samples = load_images(tmp_path / "pets")
    assert samples.name == "pets"
    assert samples.classes == ("class0", "class1", "class2")
    assert samples.notes == ()
    raw = np.stack([drawn(label, place) for label in range(3) for place in range(10)])
    for part, expected in zip(
        (samples.train, samples.validation, samples.test),
        expected_parts(raw, np.repeat(np.arange(3), 10), 255),
        strict=True,
    ):
        np.testing.assert_allclose(part.inputs.numpy(), expected, atol=1e-5)
    described = samples.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["per_class"] == {"train": [6] * 3, "validation": [2] * 3, "test": [2] * 3}


def test_file_names_do_not_decide_the_split(tmp_path: Path):
    first = load_images(write_folder(tmp_path / "a"))
    write_folder(tmp_path / "b", draw=lambda label, place: drawn(label, 9 - place))
    second = load_images(tmp_path / "b")
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert torch.equal(first.test.inputs, second.test.inputs)
    assert first.sha256 == second.sha256


def test_copies_of_an_image_stay_together(tmp_path: Path):
    # five different images in each class, each there six times
    write_folder(tmp_path, count=30, draw=lambda label, place: drawn(label, place % 5))
    samples = load_images(tmp_path)
    assert samples.duplicates == 50
    seen = [
        {image.numpy().tobytes() for image in part.inputs}
        for part in (samples.train, samples.validation, samples.test)
    ]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 10


def test_jpeg_is_read_and_grey_files_give_one_channel(tmp_path: Path):
    write_folder(tmp_path / "jpeg", suffix=".JPG")
    assert load_images(tmp_path / "jpeg").input_shape == (3, 6, 5)
    write_folder(tmp_path / "grey", draw=lambda label, place: drawn(label, place, (6, 5)))
    assert load_images(tmp_path / "grey").input_shape == (1, 6, 5)
    assert load_images(tmp_path / "grey", channels=3).input_shape == (3, 6, 5)
    assert load_images(tmp_path / "jpeg", channels=1).input_shape == (1, 6, 5)


def test_one_coloured_file_among_grey_ones_makes_all_coloured(tmp_path: Path):
    write_folder(tmp_path, draw=lambda label, place: drawn(label, place, (6, 5)))
    Image.fromarray(drawn(7, 7)).save(tmp_path / "class0" / "colour.png")
    assert load_images(tmp_path).input_shape == (3, 6, 5)


def test_a_size_is_stated_and_makes_mixed_sizes_one(tmp_path: Path):
    write_folder(tmp_path, draw=lambda label, place: drawn(label, place, (6 + place, 5, 3)))
    with pytest.raises(UsageError, match=r"of one size; .*0\.png' is 5 × 6 and .*1\.png' 5 × 7"):
        load_images(tmp_path)
    samples = load_images(tmp_path, size=4)
    assert samples.input_shape == (3, 4, 4)
    assert samples.notes == ("Images were resized to 4 × 4 pixels, bilinear.",)


def test_a_transparent_image_stands_on_black(tmp_path: Path):
    def clear(label: int, place: int) -> NDArray[np.uint8]:
        pixels = drawn(label, place, (6, 5, 4))
        pixels[..., 3] = 255 * (np.arange(5) > 1)
        return pixels

    samples = load_images(write_folder(tmp_path, draw=clear))
    assert samples.notes == ("Some images are partly transparent; they stand on black.",)
    raw = np.stack([clear(label, place)[..., :3] for label in range(2) for place in range(10)])
    raw[:, :, :2] = 0
    expected = expected_parts(raw, np.repeat([0, 1], 10), 255)[0]
    np.testing.assert_allclose(samples.train.inputs.numpy(), expected, atol=1e-5)


def test_a_photo_is_turned_as_the_camera_was_held(tmp_path: Path):
    write_folder(tmp_path)
    for file in tmp_path.glob("*/*.png"):
        image = Image.open(file)
        exif = image.getexif()
        exif[0x0112] = 6  # Exif, tag Orientation: a quarter turn
        image.save(file, exif=exif)
    assert load_images(tmp_path).input_shape == (3, 5, 6)


def test_hidden_entries_and_loose_notes_are_passed_over(tmp_path: Path):
    write_folder(tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "class0" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "README.txt").write_text("pets")
    assert load_images(tmp_path).classes == ("class0", "class1")


def test_a_constant_channel_becomes_zero(tmp_path: Path):
    def no_blue(label: int, place: int) -> NDArray[np.uint8]:
        return drawn(label, place) * np.array([1, 1, 0], dtype=np.uint8)

    samples = load_images(write_folder(tmp_path, draw=no_blue))
    assert samples.train.inputs[:, 2].abs().max().item() == 0
    assert samples.test.inputs.isfinite().all()


def truncate(root: Path) -> None:
    file = root / "class0" / "0.png"
    file.write_bytes(file.read_bytes()[:60])


def scramble(root: Path) -> None:
    file = root / "class1" / "3.png"
    content = bytearray(file.read_bytes())
    content[45:60] = bytes(15)
    file.write_bytes(content)


def add_deep(root: Path) -> None:
    Image.fromarray(np.arange(30, dtype=np.uint16).reshape(6, 5)).save(root / "class0" / "d.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate, r"unbroken PNG or JPEG file; '.*class0/0\.png' cannot be read"),
        (scramble, r"unbroken PNG or JPEG file; '.*class1/3\.png' cannot be read"),
        (lambda root: (root / "class0" / "x.png").write_bytes(b""), r"x\.png' cannot be read"),
        (lambda root: (root / "class0" / "x.png").write_text("text"), r"x\.png' cannot be read"),
        (add_deep, r"8 bits a channel; '.*d\.png' has more \(mode I;16\)"),
        (
            lambda root: (root / "class0" / "x.txt").write_text("hi"),
            r"JPEG files only; got .*x\.txt",
        ),
        (lambda root: (root / "class0" / "sub").mkdir(), "JPEG files only; got .*sub"),
        (lambda root: (root / "class2").mkdir(), "Each class needs images; .*class2' is empty"),
        (lambda root: (root / "loose.png").write_bytes(b""), r"loose\.png' lies in none"),
    ],
)
def test_a_spoilt_folder_is_refused_by_name(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
):
    write_folder(tmp_path)
    load_images(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        load_images(tmp_path)
    assert "\n" not in str(caught.value)


def test_fewer_than_two_classes_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="at least two classes; .* has 0 subfolders"):
        load_images(tmp_path)
    write_folder(tmp_path, classes=1)
    with pytest.raises(UsageError, match="at least two classes; .* has 1 subfolders"):
        load_images(tmp_path)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="No such file or directory"):
        load_images(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="Not a directory"):
        load_images(tmp_path / "file")


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 5000}, {"channels": 2}])
def test_arguments_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, int]):
    with pytest.raises(UsageError, match="`size`|`channels`"):
        load_images(tmp_path, **wrong)


def test_more_than_memory_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_folder(tmp_path)
    monkeypatch.setattr(images_module, "VALUES_MOST", 20 * 90 - 1)
    with pytest.raises(UsageError, match="20 images of 5 × 6 have more. Pass a smaller"):
        load_images(tmp_path)
    monkeypatch.setattr(images_module, "VALUES_MOST", 20 * 90)
    load_images(tmp_path)
