"""From a spec to a task: the one entry to this layer."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

from redrop.data import load_corpus
from redrop.data.images import load_images
from redrop.data.samples import Samples
from redrop.data.tables import Kind as TableKind
from redrop.data.tables import load_table
from redrop.data.tokenizer import Tokenizer
from redrop.errors import UsageError
from redrop.integrations.load_object import first_line, load_object
from redrop.models.config import MLPConfig, TransformerConfig, VisionTransformerConfig
from redrop.tasks.hugging_face import PREFIX, causal_task, folder_tokenizer
from redrop.tasks.loaders import read_loaders
from redrop.tasks.module import ModuleTask
from redrop.tasks.samples import SamplesTask
from redrop.tasks.seeded import seeded
from redrop.tasks.spec import Predict, TaskSpec
from redrop.tasks.text import TextTask

KINDS: dict[Predict, TableKind] = {"classes": "classification", "values": "regression"}
AnyTask = TextTask | SamplesTask | ModuleTask


def load_task(spec: TaskSpec, model: Mapping[str, Any] | None = None) -> AnyTask:
    """Load the data of a task and give it its network, without any recipe.

    Args:
        spec: Names the data and the network. The last data loaded are kept, because all runs of a
            study read the same.
        model: Settings of the network; what the data decide (vocabulary, classes) is added.

    Raises:
        UsageError: The data cannot be read, or do not fit the network.
    """
    return _load(json.dumps(spec.to_json()), json.dumps(dict(model or {}), sort_keys=True))


@lru_cache(maxsize=2)
def _load(spec_json: str, model_json: str) -> AnyTask:
    spec = TaskSpec.from_json(json.loads(spec_json))
    model = {name: value for name, value in json.loads(model_json).items() if name != "dropout"}
    if spec.kind == "text":
        if spec.network not in ("transformer", "module"):
            raise UsageError(
                f"A text is read by a transformer; {spec.source!r} is one, and the network is "
                f"{spec.network}. Leave it out."
            )
        context = model.get("context", TransformerConfig(vocab_size=1).context)
        corpus = load_corpus(
            spec.source, tokenizer=_tokenizer(spec), limit=spec.limit, context=context
        )
        if spec.model is not None:
            return causal_task(corpus, spec.model.removeprefix(PREFIX), context)
        settings = {"vocab_size": corpus.tokenizer.vocab_size, **model}
        return TextTask(corpus, _config(TransformerConfig, settings))
    if spec.kind == "images":
        images = load_images(spec.source, size=spec.image_size, limit=spec.limit)
        return _samples_task(images, spec, model)
    if spec.kind == "table":
        kind = None if spec.predict is None else KINDS[spec.predict]
        samples = load_table(spec.source, target=spec.target, kind=kind, limit=spec.limit)
        return _samples_task(samples, spec, model)
    return _module_task(spec)


def _tokenizer(spec: TaskSpec) -> str | Tokenizer:
    own = folder_tokenizer(spec.model.removeprefix(PREFIX)) if spec.model is not None else None
    return own or spec.tokenizer


def _module_task(spec: TaskSpec) -> ModuleTask:
    assert spec.model is not None  # the command line asks for it
    builder, loaders = load_object(spec.model), load_object(spec.source)
    loss = load_object(spec.loss) if spec.loss else None
    for role, function in (("--model", builder), ("--data", loaders), ("--loss", loss)):
        if function is not None and not callable(function):
            raise UsageError(f"`{role}` names a function; got {type(function).__name__}.")
    try:
        with seeded(0):  # a split at random is the same one in every process
            returned = loaders()
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"Your loaders failed: {first_line(error)}.") from error
    parts = read_loaders(returned)
    digest = hashlib.sha256("".join(parts[name].digest() for name in parts).encode())
    return ModuleTask(
        name=spec.model.partition(":")[2] or spec.model,
        builder=builder,
        parts=parts,
        sha256=digest.hexdigest(),
        own_loss=loss,
    )


def _samples_task(samples: Samples, spec: TaskSpec, model: Mapping[str, Any]) -> SamplesTask:
    outputs = 1 if samples.classes is None else len(samples.classes)
    shape = samples.input_shape
    if spec.network == "vision_transformer":
        if not samples.is_image:
            raise UsageError(
                f"A vision transformer reads images; {samples.name!r} is a table. Use `mlp`."
            )
        channels, height, width = shape
        if height != width:
            raise UsageError(
                f"A vision transformer reads square images; those of {samples.name!r} are "
                f"{height} × {width}. Resize them, or use `mlp`."
            )
        settings = {"image_size": height, "channels": channels, "outputs": outputs, **model}
        return SamplesTask(samples, _config(VisionTransformerConfig, settings))
    if spec.network == "transformer":
        raise UsageError(
            f"A decoder transformer reads text; {samples.name!r} holds samples. Use `mlp`"
            + (" or `vision_transformer`." if samples.is_image else ".")
        )
    features = 1
    for size in shape:
        features *= size
    return SamplesTask(
        samples, _config(MLPConfig, {"features": features, "outputs": outputs, **model})
    )


def _config(kind: Any, settings: Mapping[str, Any]) -> Any:
    try:
        return kind(**settings)
    except TypeError as error:
        known = ", ".join(member.name for member in fields(kind) if member.name != "dropout")
        raise UsageError(f"{kind.__name__} has the settings {known}; {error}.") from error
