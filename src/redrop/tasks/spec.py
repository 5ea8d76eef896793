"""What names a task: enough for any process, on any machine, to load it again; knows no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from redrop.errors import UsageError
from redrop.models.config import MLPConfig, TransformerConfig, VisionTransformerConfig
from redrop.tasks.configure import configure
from redrop.train.recipe import Recipe

Kind = Literal["text", "images", "table", "module"]
Network = Literal["transformer", "vision_transformer", "mlp", "module"]
Predict = Literal["classes", "values"]

CONFIGS: dict[str, type[TransformerConfig | VisionTransformerConfig | MLPConfig]] = {
    "transformer": TransformerConfig,
    "vision_transformer": VisionTransformerConfig,
    "mlp": MLPConfig,
}

_EDITS = ("synonyms", "insert", "swap", "delete", "back_translation", "paraphrase")
AUGMENTATIONS: dict[str, tuple[str, ...]] = {
    "text": ("mask", "replace", *_EDITS),
    "images": ("flip", "crop", "erasing", "mixup", "cutmix"),
    "table": ("mixup",),
    "module": (),
}
_DATA = {"text": "a text", "images": "images", "table": "a table", "module": "your own data"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """Where the data come from and which network reads them.

    Args:
        kind: "text", "images", "table", or "module" for the user's own model and data.
        source: Name or path of the data; for a module, `package.module:function` of its loaders.
        network: Of the reference networks, or "module".
        tokenizer: Of a text: char, byte, or bpe:1024.
        limit: Use at most so many characters of a text, or training samples of other data.
        target: Column to predict, of a table.
        predict: "classes" or "values", of a table; None lets the type of the target decide.
        image_size: Side that images are resized to; None takes them as they are.
        model: `package.module:function` that builds the user's model, or `hf:` and what names one.
        loss: `package.module:function` from outputs and targets to the user's mean loss.

    Raises:
        UsageError: `kind`, `network` or `predict` is another word.
    """

    kind: Kind = "text"
    source: str
    network: Network = "transformer"
    tokenizer: str = "char"
    limit: int | None = None
    target: str | None = None
    predict: Predict | None = None
    image_size: int | None = None
    model: str | None = None
    loss: str | None = None

    def __post_init__(self) -> None:
        words_of = {"kind": get_args(Kind), "network": get_args(Network)}
        if self.predict is not None:
            words_of["predict"] = get_args(Predict)
        for name, words in words_of.items():
            if getattr(self, name) not in words:
                raise UsageError(
                    f"`{name}` of a task must be one of {', '.join(words)}; got "
                    f"{getattr(self, name)!r}."
                )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values.

        A choice that is younger than the first records stands there only if it was made, so that
        a study that is gone on with is still the same one.
        """
        young = ("predict", "image_size")
        stored = asdict(self)
        return {
            name: value for name, value in stored.items() if name not in young or value is not None
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the spec that `to_json` made.

        Raises:
            UsageError: A field is unknown or missing.
        """
        try:
            return cls(**stored)
        except TypeError as error:
            raise UsageError(
                f"A stored task must have the fields of TaskSpec; {error}. Was it written by "
                "another version?"
            ) from error


def resolve_model(spec: TaskSpec, model: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Return the complete settings of the network that a recipe trains, as JSON.

    Args:
        spec: Names the network.
        model: Its settings without a recipe.
        recipe: What changes.

    Raises:
        UsageError: The recipe does not fit the network.
    """
    _check_augment(spec, recipe)
    if spec.network == "module":  # what it has is known when it is built
        return {**model, **recipe.model, "dropout": dict(recipe.dropout)}
    base = CONFIGS[spec.network].from_json({"dropout": {}, **model})
    return asdict(configure(base, recipe))


def _check_augment(spec: TaskSpec, recipe: Recipe) -> None:
    possible = AUGMENTATIONS[spec.kind]
    for name in recipe.augment:
        if name not in possible:
            raise UsageError(
                f"Recipe {recipe.name!r} augments by `{name}`, which {_DATA[spec.kind]} cannot "
                f"bear. Possible: {', '.join(possible) or 'none'}."
            )
