"""Causal language models of Hugging Face, from a folder, a configuration, or a type by name.

Everything is local: nothing is looked up in a network. Needs transformers (extra `hf`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from redrop.errors import UsageError
from redrop.integrations.load_object import first_line

_WEIGHTS: Final = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin")


def load_causal_lm(
    source: str | Path, *, seed: int = 0, attn_implementation: str | None = None
) -> nn.Module:
    """Return a causal language model of transformers.

    Args:
        source: A folder with `config.json`, and weights or none; a JSON file of a configuration; or
            a type of model such as "gpt2", with settings as in "gpt2:n_layer=2,n_embd=64".
        seed: Of random weights, where there are none to load; torch's generator is left as it was.
        attn_implementation: "sdpa" or "eager"; by default what transformers takes. Other functions
            drop inside their kernels, where no site can be.

    Returns:
        The model, in training mode. What transformers warns of while it makes one without weights
        is not shown: the same lines would come again for every run.

    Raises:
        UsageError: transformers is missing, there is no such folder or type, a setting is unknown
            or has a wrong value, or it is no causal language model.
    """
    transformers = _transformers()
    folder = Path(source)
    chosen = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    try:
        if folder.is_dir() and any(next(folder.glob(p), None) for p in _WEIGHTS):
            model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, **chosen
            )
            return _as_module(model)
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            if folder.is_dir() or folder.suffix == ".json":
                config = _config_of_file(transformers, folder)
            else:
                config = _config_of_type(transformers, str(source))
            torch.manual_seed(seed)
            model = transformers.AutoModelForCausalLM.from_config(config, **chosen)
    except UsageError:
        raise
    except Exception as error:  # of many kinds: transformers checks little before it computes
        raise UsageError(
            f"A causal language model of transformers is needed; `{source}` gives none: "
            f"{first_line(error)}."
        ) from error
    return _as_module(model)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Let transformers log nothing but errors in the block, and then what it did before."""
    logging = _transformers().logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def vocab_size(model: nn.Module) -> int:
    """Return how many tokens a model of transformers knows."""
    config: Any = model.config
    return int(config.get_text_config().vocab_size)


def _as_module(model: Any) -> nn.Module:
    assert isinstance(model, nn.Module)  # transformers has no types
    return model.train()


def _transformers() -> Any:
    try:
        return import_module("transformers")  # by name: it is optional
    except ModuleNotFoundError as error:
        raise UsageError(
            f"A Hugging Face model needs {error.name}. Run `pip install 'redrop[hf]'`."
        ) from error


def _config_of_file(transformers: Any, place: Path) -> Any:
    file = place / "config.json" if place.is_dir() else place
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"A model is described by a config.json; `{file}` cannot be read: {error.strerror}."
        ) from error
    except ValueError as error:
        raise UsageError(f"`{file}` is no JSON: {first_line(error)}.") from error
    if not isinstance(stored, Mapping) or not isinstance(stored.get("model_type"), str):
        raise UsageError(f"A configuration must say its `model_type`; `{file}` does not.")
    settings = {name: value for name, value in stored.items() if name != "model_type"}
    return transformers.AutoConfig.for_model(stored["model_type"], **settings)


def _config_of_type(transformers: Any, source: str) -> Any:
    model_type, _, rest = source.partition(":")
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if model_type not in known:
        raise UsageError(
            f"`{model_type}` is neither a folder, nor a .json file, nor a type of model that "
            f"transformers {transformers.__version__} knows. Types are, for example, gpt2, llama."
        )
    default = transformers.AutoConfig.for_model(model_type)
    settings = parse_settings(rest)
    for name in settings:
        if not hasattr(default, name):
            raise UsageError(
                f"A {model_type} configuration has no `{name}`. Some of its settings: "
                f"{', '.join(_numeric(default)[:12])}."
            )
    return transformers.AutoConfig.for_model(model_type, **settings)


def _numeric(config: Any) -> list[str]:
    stored = config.to_dict()
    return sorted(
        name for name, v in stored.items() if isinstance(v, (int, float)) and name[0] != "_"
    )


def parse_settings(text: str) -> dict[str, Any]:
    """Return `a=1,b=x` as a mapping; values are JSON where they can be, else words.

    Raises:
        UsageError: A part has no `=`.

    >>> parse_settings("n_layer=2,attn_pdrop=0.0,activation_function=relu")
    {'n_layer': 2, 'attn_pdrop': 0.0, 'activation_function': 'relu'}
    """
    settings: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name.strip().isidentifier():
            raise UsageError(f"Settings are written n_layer=2,n_embd=64; got {part!r}.")
        try:
            settings[name.strip()] = json.loads(value)
        except ValueError:
            settings[name.strip()] = value.strip()
    return settings
