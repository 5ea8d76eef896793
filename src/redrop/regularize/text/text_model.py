"""A text-to-text model of Hugging Face transformers: which one it is, and loading it.

Every failure is one line: no transformers, no such folder, a hub that cannot be reached, a model
that continues text instead of rewriting it, weights that are broken or not all there.
"""

import contextlib
import hashlib
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from redrop.errors import UsageError

INSTALL = "Run: pip install 'redrop[hf]'"

WORKING_FILES = (".safetensors", ".bin", ".json", ".model", ".spm", ".txt")
"""Ends of the names of files that decide what a model writes."""


@dataclass(frozen=True)
class TextModel:
    """A model that was found; `load` brings it into memory.

    Args:
        name: As the user gave it: a folder, or the id of a model on the hub.
        place: The folder, or the id.
        revision: The commit of a model on the hub; None for a folder.
        identity: Of the weights: a digest of the folder's files, or id and commit.
    """

    name: str
    place: str
    revision: str | None
    identity: str


def find_model(name: str) -> TextModel:
    """Find a model, its configuration read and its weights not yet.

    Args:
        name: A folder that `save_pretrained` wrote, or an id on the hub with an optional commit,
            branch or tag, as in `Helsinki-NLP/opus-mt-en-de` or `google-t5/t5-small@main`. The
            hub's own cache is used; the network only if the cache lacks the model.

    Raises:
        UsageError: transformers is missing, nothing bears this name, the hub cannot be reached, or
            the model does not map text to text.
    """
    hf = _transformers()
    folder = Path(name).expanduser()
    if folder.is_dir():
        model = TextModel(name, str(folder), None, f"folder:{_digest(folder)}")
    elif folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UsageError(
            f"A model is a folder with config.json and weights; `{name}` is none."
            " Check the path, or name a model on the hub, such as Helsinki-NLP/opus-mt-en-de."
        )
    else:
        model = _on_hub(name)
    try:
        with _quiet(hf):
            config = hf.AutoConfig.from_pretrained(model.place, revision=model.revision)
    except (OSError, ValueError, KeyError) as error:
        raise _unusable(name, error) from error
    if not getattr(config, "is_encoder_decoder", False):
        raise UsageError(
            f"A text-to-text model is needed, such as Marian, T5 or BART; `{name}` is a"
            f" {config.model_type}, which is not. Name another."
        )
    return model


def load(model: TextModel) -> tuple[Any, Any]:
    """Return (network in eval mode, tokenizer); the global generator of torch does not move.

    Raises:
        UsageError: Tokenizer or weights are broken, missing, or of another model.
    """
    hf = _transformers()
    safetensors: Any = import_module("safetensors")
    try:
        with _quiet(hf), torch.random.fork_rng(devices=[]):
            tokenizer = hf.AutoTokenizer.from_pretrained(model.place, revision=model.revision)
            network, info = hf.AutoModelForSeq2SeqLM.from_pretrained(
                model.place,
                revision=model.revision,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except ImportError as error:
        raise UsageError(
            f"The tokenizer of `{model.name}` needs a package that is not installed:"
            f" {_first_line(error)} {INSTALL}"
        ) from error
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,  # of a tokenizer whose files are missing
        RuntimeError,
        AssertionError,
        EOFError,
        pickle.UnpicklingError,
        safetensors.SafetensorError,
    ) as error:
        raise _unusable(model.name, error) from error
    if missing := sorted(info["missing_keys"]):
        # transformers would fill them with random numbers and go on
        raise UsageError(
            f"The weights of a model must be complete; `{model.name}` lacks {len(missing)} tensors,"
            f" such as {missing[0]}. Download it again."
        )
    return network.eval(), tokenizer


def _on_hub(name: str) -> TextModel:
    """Pin an id to the commit that the hub, or its cache on this machine, has for it now."""
    place, _, revision = name.partition("@")
    # a requirement of transformers; its errors derive from those of its HTTP library
    hub: Any = import_module("huggingface_hub")
    http_error = import_module("huggingface_hub.errors").HTTPError
    try:
        path = Path(hub.hf_hub_download(place, "config.json", revision=revision or None))
    except (OSError, ValueError, http_error) as error:
        raise UsageError(
            f"A model is a folder or an id on the Hugging Face hub; `{name}` is no folder here, and"
            f" the hub did not give it ({type(error).__name__}). Check the name and the network, or"
            " download the model and name its folder."
        ) from error
    commit = path.parent.name  # …/snapshots/<commit>/config.json
    return TextModel(name, place, commit, f"hub:{place}@{commit}")


def _digest(folder: Path) -> str:
    """Return a digest of the files that decide what a model in a folder writes."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in WORKING_FILES:
            digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _transformers() -> Any:
    try:
        return import_module("transformers")  # by name: it is optional
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise  # it is there and broken: its own message says more
        raise UsageError(
            "Back-translation and paraphrasing need the package `transformers`, which is not"
            f" installed. {INSTALL}"
        ) from error


@contextlib.contextmanager
def _quiet(hf: Any) -> Iterator[None]:
    """Keep the progress bars of loading off the screen, and one piece of advice."""
    logging = hf.utils.logging
    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # Moses' normaliser of punctuation, which Marian does without
            warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")
            yield
    finally:
        if was_shown:
            logging.enable_progress_bar()


def _unusable(name: str, error: Exception) -> UsageError:
    return UsageError(
        f"A model that maps text to text is needed; `{name}` cannot be loaded:"
        f" {_first_line(error)} Download it again, or name another."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".:") + "."
