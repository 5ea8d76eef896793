"""`redrop info`."""

import importlib.metadata
import json
import platform
import textwrap
from dataclasses import asdict

import redrop
from redrop.cli.options import Flat, Json
from redrop.models.config import TransformerConfig
from redrop.study.options import ModelOptions
from redrop.train.config import TrainConfig

VOCABULARY = 96
"""About the characters of English text with code in it."""

_PACKAGES = ("torch", "numpy", "scipy", "safetensors", "matplotlib", "tokenizers")


def info(*, model: Flat[ModelOptions] = ModelOptions(), json_: Json = False) -> None:  # noqa: B008
    """Say which kernels run on this machine and why, and how a model's parameters are treated.

    Args:
        model: Shape of the model whose parameter groups are listed.
        json_: Print one JSON document on standard output.
    """
    from redrop.models.transformer import Transformer
    from redrop.ops.backend import describe_backend
    from redrop.train.machine import describe_machine
    from redrop.train.optimizer import describe_groups

    shape = TransformerConfig(vocab_size=VOCABULARY, **model.settings())
    groups = describe_groups(Transformer(shape), TrainConfig().weight_decay)
    versions = {"redrop": redrop.__version__, "mask specification": redrop.SPEC_VERSION}
    versions |= {"python": platform.python_version()}
    versions |= {name: _version(name) for name in _PACKAGES}
    machine = describe_machine(0)
    if json_:
        facts = {"versions": versions, "machine": machine}
        print(json.dumps({**facts, "parameter_groups": [asdict(group) for group in groups]}))
        return
    for name, version in versions.items():
        print(f"{name:<20} {version}")
    print(f"\n{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads")
    print(describe_backend())
    total = sum(group.elements for group in groups)
    print(f"\nParameters of a transformer of this shape, {VOCABULARY} symbols: {total:,}")
    for group in groups:
        size = f"{group.elements:,} in {len(group.names)} tensors"
        print(f"  weight decay {group.weight_decay:g}: {size}")
        print(
            textwrap.fill(
                ", ".join(group.names), 96, initial_indent="    ", subsequent_indent="    "
            )
        )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
