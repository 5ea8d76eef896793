"""Images of one size in classes: scikit-learn's digits, or a folder with a subfolder per class."""

import warnings
from pathlib import Path
from types import ModuleType
from typing import Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from redrop.data.optional import import_optional
from redrop.data.ranges import check_range
from redrop.data.sample_split import SHARE, content_sha256, digest_rows, split_samples
from redrop.data.samples import Part, Samples
from redrop.errors import UsageError

SUFFIXES = (".jpeg", ".jpg", ".png")
SIDE_MOST = 4096
VALUES_MOST = 2**29
"""2 GB of float32; all samples of a study are held in memory."""
DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
"""Pillow's names of pixels beyond 8 bits; it would clip them to 255 without a word."""


def load_images(
    source: str | Path,
    *,
    size: int | None = None,
    channels: Literal[1, 3] | None = None,
    split_seed: int = 0,
    validation: float = SHARE,
    test: float = SHARE,
    limit: int | None = None,
) -> Samples:
    """Load images, split them by class at random, and normalise them.

    Pixels v in [0, 1] become (v − mean) / deviation of their channel, both over the training part
    alone, so that 0 is the mean colour.

    Args:
        source: `digits` (scikit-learn's 1797 handwritten digits, 8 × 8, grey) or the path of a
            folder with one subfolder per class, PNG or JPEG files in it. Names that begin with a
            dot are passed over. A folder that is called `digits` is reached as `./digits`.
        size: Side of the square that each image is resized to (bilinear, the ratio of its sides
            not kept); None takes images as they are, all of one size.
        channels: 1 for grey, 3 for colours; None: grey if every file is.
        split_seed: Of the split, 0 <= split_seed < 2^64; the same for every run of a study.
        validation: Share of the images for validation.
        test: Share of the images for test.
        limit: Train on at most so many images; validation and test stay as they are.

    Shape:
        inputs are (N, channels, height, width), targets (N,).

    Randomness:
        (split_seed, pixels) decide the part of an image, whatever its name.

    Raises:
        UsageError: The source cannot be read, holds fewer than two classes, a broken image or
            several sizes, a package is missing, or an argument is out of range.
    """
    if size is not None:
        check_range("size", size, 1, SIDE_MOST)
    if channels not in (None, 1, 3):
        raise UsageError(
            f"`channels` is 1 (grey) or 3 (red, green, blue); got {channels}. Leave it out to let"
            " the files decide."
        )
    if isinstance(source, str) and source == "digits":
        pixels, targets, classes = _digits(size, channels)
        name, most = "digits", 16
        notes: list[str] = []
    else:
        pixels, targets, classes, notes = _folder(Path(source), size, channels)
        name, most = Path(source).resolve().name, 255
    digests = digest_rows(pixels)
    rows = split_samples(
        digests, targets, seed=split_seed, validation=validation, test=test, limit=limit
    )
    inputs = _normalise(pixels, rows.train, most)
    labels = torch.from_numpy(targets)
    train, validation_part, test_part = (
        Part(inputs=inputs[torch.from_numpy(part)], targets=labels[torch.from_numpy(part)])
        for part in (rows.train, rows.validation, rows.test)
    )
    return Samples(
        name=name,
        sha256=content_sha256(digests, [classes[target] for target in targets.tolist()]),
        train=train,
        validation=validation_part,
        test=test_part,
        classes=classes,
        split_seed=split_seed,
        duplicates=len(digests) - len(set(digests)),
        notes=tuple(notes),
    )


def _normalise(pixels: NDArray[np.uint8], train: NDArray[np.int64], most: int) -> torch.Tensor:
    """(N, H, W, C) integers to (N, C, H, W) float32 of training mean 0 and deviation 1."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / most
    seen = images[torch.from_numpy(train)].double()
    mean = seen.mean((0, 2, 3), keepdim=True)
    deviation = seen.std((0, 2, 3), keepdim=True, correction=0)
    deviation[deviation < 1e-6] = 1.0  # a channel of one colour carries nothing; it becomes 0
    return ((images - mean) / deviation).float()


def _digits(
    size: int | None, channels: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    if size not in (None, 8) or channels not in (None, 1):
        raise UsageError(
            "The source `digits` is 8 × 8 pixels of grey; got"
            f" size={size}, channels={channels}. Leave both out."
        )
    datasets = import_optional(
        "sklearn.datasets", package="scikit-learn", need="The source `digits`"
    )
    loaded = datasets.load_digits()
    pixels = loaded.images.astype(np.uint8)[..., None]
    return pixels, loaded.target.astype(np.int64), tuple(str(digit) for digit in range(10))


def _folder(
    root: Path, size: int | None, channels: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...], list[str]]:
    """Read every image of every class; classes and files in the order of their names."""
    pillow = import_optional("PIL.Image", package="pillow", need="A folder of images")
    ops = import_optional("PIL.ImageOps", package="pillow", need="A folder of images")
    folders = _class_folders(root)
    files = [(file, label) for label, folder in enumerate(folders) for file in _files(folder)]
    images: list[NDArray[np.uint8]] = []
    all_grey, any_clear = True, False
    for file, _ in files:
        image, is_grey, is_clear = _read(file, size, channels, pillow, ops)
        if images and image.shape != images[0].shape:
            raise UsageError(
                f"Images must be of one size; {str(files[0][0])!r} is {_sides(images[0])} and"
                f" {str(file)!r} {_sides(image)}. Resize"
                " all of them: `--image-size 32`, in Python size=32."
            )
        if image.size * len(files) > VALUES_MOST:
            raise UsageError(
                f"All images together may have {VALUES_MOST} values; {len(files)} images of"
                f" {_sides(image)} have more. Pass a smaller `--image-size` (in Python"
                " `size`), such as 32."
            )
        images.append(image)
        all_grey, any_clear = all_grey and is_grey, any_clear or is_clear
    pixels = np.stack(images)
    if channels is None and all_grey:
        pixels = pixels[..., :1]  # three equal channels
    notes = []
    if size is not None:
        notes.append(f"Images were resized to {size} × {size} pixels, bilinear.")
    if any_clear:
        notes.append("Some images are partly transparent; they stand on black.")
    targets = np.array([label for _, label in files], dtype=np.int64)
    return pixels, targets, tuple(folder.name for folder in folders), notes


def _class_folders(root: Path) -> list[Path]:
    advice = "Give one subfolder per class, with its PNG or JPEG files in it."
    entries = _entries(root)
    loose = [entry for entry in entries if entry.suffix.lower() in SUFFIXES and entry.is_file()]
    if loose:
        raise UsageError(
            f"The subfolder of an image is its class; {str(loose[0])!r} lies in none. {advice}"
        )
    folders = [entry for entry in entries if entry.is_dir()]
    if len(folders) < 2:
        raise UsageError(
            f"Images need at least two classes; {str(root)!r} has {len(folders)} subfolders."
            f" {advice}"
        )
    return folders


def _files(folder: Path) -> list[Path]:
    entries = _entries(folder)
    if not entries:
        raise UsageError(
            f"Each class needs images; {str(folder)!r} is empty. Add PNG or JPEG files to it, or"
            " remove the folder."
        )
    for entry in entries:
        if not entry.is_file() or entry.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"The folder of a class holds PNG and JPEG files only; got {str(entry)!r}."
                " Convert it, or move it out of the folder."
            )
    return entries


def _entries(folder: Path) -> list[Path]:
    """What a folder holds that is not hidden, by name."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"Images are read from a folder; {str(folder)!r} cannot be: {reason}."
            " Check the path, or name the embedded `digits`."
        ) from error


def _read(
    file: Path, size: int | None, channels: int | None, pillow: ModuleType, ops: ModuleType
) -> tuple[NDArray[np.uint8], bool, bool]:
    """Return (H, W, C) pixels, whether the file is grey, and whether it has transparency."""
    try:
        with warnings.catch_warnings():
            # Pillow only warns of a file that unfolds to gigabytes
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            with pillow.open(file, formats=("PNG", "JPEG")) as opened:
                # a camera writes how it was held; without this, faces lie on their side
                image = ops.exif_transpose(opened)
    except (
        OSError,
        SyntaxError,  # Pillow's word for a broken chunk of a PNG
        ValueError,
        pillow.DecompressionBombError,
        pillow.DecompressionBombWarning,
    ) as error:
        _refuse(file, error)
    if image.mode in DEEP_MODES:
        raise UsageError(
            f"Images have 8 bits a channel; {str(file)!r} has more (mode {image.mode})."
            " Convert it to 8 bits."
        )
    is_grey = image.mode in ("1", "L", "LA")
    is_clear = "A" in image.getbands() or "transparency" in image.info
    if is_clear:
        clear = image.convert("RGBA")
        image = pillow.new("RGBA", clear.size, (0, 0, 0, 255))
        image.alpha_composite(clear)
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None:
        image = image.resize((size, size), pillow.Resampling.BILINEAR)
    array = np.asarray(image, dtype=np.uint8)
    return array.reshape(*array.shape[:2], -1), is_grey, is_clear


def _sides(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[1]} × {image.shape[0]}"


def _refuse(file: Path, error: Exception) -> NoReturn:
    said = " ".join(str(error).split())
    raise UsageError(
        f"An image must be an unbroken PNG or JPEG file; {str(file)!r} cannot be read: {said}."
        " Replace it, or move it out of the folder."
    ) from error
