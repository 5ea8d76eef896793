"""`redrop info`."""

import importlib.metadata
import json
import platform

import redrop
from redrop.cli.options import Json, ModelOptions

_PACKAGES = ("torch", "numpy", "scipy", "safetensors", "matplotlib", "tokenizers")


def info(*, model: ModelOptions = ModelOptions(), json_: Json = False) -> None:  # noqa: B008
    """Say which kernels run on this machine and why, and how a model's parameters are treated.

    Args:
        model: Shape of the model whose parameter groups are listed.
        json_: Print one JSON document on standard output.
    """
    from redrop.models.transformer import Transformer
    from redrop.ops.backend import describe_backend
    from redrop.train.machine import describe_machine
    from redrop.train.optimizer import describe_groups

    groups = describe_groups(Transformer(model.config(vocab_size=96)))
    versions = {"redrop": redrop.__version__, "mask specification": redrop.SPEC_VERSION}
    versions |= {"python": platform.python_version()}
    versions |= {name: _version(name) for name in _PACKAGES}
    machine = describe_machine(0)
    if json_:
        print(json.dumps({"versions": versions, "machine": machine, "parameter_groups": groups}))
        return
    for name, version in versions.items():
        print(f"{name:<20} {version}")
    print(f"\n{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads")
    print(describe_backend())
    print(f"\nAdamW on this model (width {model.width}, {model.layers} layers, vocabulary 96):")
    print(groups)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
