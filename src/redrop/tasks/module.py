"""The user's own task: any torch module, on any loaders."""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from weakref import ref

from torch import Tensor, nn
from torch.nn import functional as F

from redrop.errors import UsageError
from redrop.integrations import Conversion, conversion_of, convert, find_sites
from redrop.integrations.load_object import first_line
from redrop.models.mode import eval_mode
from redrop.tasks.known_model import Look, Looks, key_of, trainable, with_rates
from redrop.tasks.metrics import ClassScorer, NoScorer, TokenScorer, ValueScorer
from redrop.tasks.seeded import seeded
from redrop.tasks.source import Source
from redrop.train.loss import cross_entropy
from redrop.train.recipe import Recipe
from redrop.train.task import Batch, PartName, Scorer

EVALUATED_ROWS = 128
"""Samples evaluated at a time."""

OWN_RATES = "rates"
"""Setting of the model that leaves its dropout as its author wrote it; see the recipe `as-is`."""

_NOT_NEW = (
    "The function of `--model` builds a new model at each call; it returned one that it had "
    "returned before. Build it inside the function."
)

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ModuleTask:
    """A function that builds a model, loaders, and the rates of the model's sites.

    Every recipe but `as-is` begins with all rates at 0; what the recipe names is then set.

    Args:
        name: Of the model, for titles.
        builder: Returns the model; a recipe's changes of the model are its keyword arguments.
        parts: By name: train, validation, and test where there is one.
        sha256: Of the data.
        own_loss: From outputs and targets to a mean loss; by default cross-entropy where the
            targets are integers, the mean squared error where they are not.
        dropout: Rate by kind of site, by pattern of names, or for all.
        changes: Keyword arguments of the builder.
        keeps_rates: Leave the model's own rates.
    """

    name: str
    builder: Callable[..., nn.Module]
    parts: Mapping[str, Source]
    sha256: str
    own_loss: Loss | None = None
    dropout: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    keeps_rates: bool = False

    @cached_property
    def example(self) -> Batch:
        """The first samples of the training data: two, since some layers normalise over them."""
        return self.parts["train"].first(2)

    @property
    def batch_size(self) -> int | None:
        """Samples in a batch of the user's training loader, where it says so."""
        return self.parts["train"].batch_size

    @cached_property
    def is_classification(self) -> bool:
        """Whether the loss is the cross-entropy of classes."""
        return self.own_loss is None and not self.example.targets.is_floating_point()

    @property
    def unit(self) -> str:
        """Of the loss."""
        if self.own_loss is not None:
            return "units of your loss"
        return "nats" if self.is_classification else "squared error"

    def check(self, *recipes: Recipe) -> None:
        """Raise UsageError unless recipes fit, before anything is trained.

        What is known to fit is not built again; recipes that change the model alike share one.

        Raises:
            UsageError: A recipe names no site of the model, or changes what its builder does not
                take; or the loss does not fit what the model returns.
        """
        alike: dict[str, list[ModuleTask]] = {}
        for task in (self.with_recipe(recipe) for recipe in recipes):
            if key_of(task.settings()) not in self._looks.fitting:
                alike.setdefault(key_of(task.changes), []).append(task)
        for changes, tasks in alike.items():
            self._looks.seen[changes] = tasks[0]._look(tasks)
            self._looks.fitting.update(key_of(task.settings()) for task in tasks)

    def parameters(self, recipe: Recipe) -> int:
        """Return how many numbers training changes in the model of a recipe.

        Raises:
            UsageError: The recipe does not fit.
        """
        self.check(recipe)
        return self._looks.seen[key_of(self.with_recipe(recipe).changes)].parameters

    @cached_property
    def _looks(self) -> Looks:
        return Looks()

    def _look(self, tasks: Sequence["ModuleTask"]) -> Look:
        """Build the model once and try on it the rates of tasks that change it alike."""
        model = self._new_model(0)
        code = self._code_of(model)
        conversion = self._convert(model)
        for task in tasks:
            with task._set_rates(conversion):
                pass
        with eval_mode(model):
            self.loss(self.outputs(model, self.example.inputs).float(), self.example.targets)
        look = Look(parameters=trainable(model), code=code)
        conversion.restore()
        kept = ref(model)
        del model, conversion
        # Who still holds the model may return it again, and all seeds would share its weights.
        if kept() is not None and self._new_model(0) is kept():
            raise UsageError(_NOT_NEW)
        return look

    def with_recipe(self, recipe: Recipe, seed: int = 0) -> "ModuleTask":  # noqa: ARG002
        """Return the task with a recipe's rates and changes; nothing is built.

        Args:
            recipe: Of the run.
            seed: Of the run; data are read by (seed, step), so it is not needed here.

        Raises:
            UsageError: The recipe changes what the builder does not take.
        """
        changes = dict(recipe.model)
        keeps = changes.get(OWN_RATES) == "own"
        if keeps:
            del changes[OWN_RATES]
        parameters = inspect.signature(self.builder).parameters
        takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        unknown = [name for name in changes if name not in parameters and not takes_any]
        if unknown:
            raise UsageError(
                f"Recipe {recipe.name!r} changes {', '.join(unknown)} of your model; your function "
                f"takes {', '.join(parameters) or 'no argument'}."
            )
        return replace(self, dropout=dict(recipe.dropout), changes=changes, keeps_rates=keeps)

    def describe(self) -> dict[str, Any]:
        """Return what a record says about the data."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "unit": self.unit,
            "samples": {name: part.samples for name, part in self.parts.items()},
            "train_targets": self.parts["train"].targets,
            "code": self.code,
        }

    @cached_property
    def code(self) -> str:
        """SHA-256 of the user's source: of the builder, the loss, and the classes of the model.

        It is in the record, so that no result of an older version of a model is taken for one of a
        newer version. What these functions call is not looked at.
        """
        look = self._looks.seen.get(key_of(self.changes))
        return self._code_of(self._new_model(0)) if look is None else look.code

    def _code_of(self, model: nn.Module) -> str:
        kinds = {type(module) for module in model.modules()}
        own = [
            kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "redrop")
        ]
        sources = sorted(_source(each) for each in (self.builder, self.own_loss, *own))
        return hashlib.sha256("\n".join(sources).encode()).hexdigest()

    def settings(self) -> dict[str, Any]:
        """Return what the recipe changes as JSON."""
        kept = {OWN_RATES: "own"} if self.keeps_rates else {}
        model = {**self.changes, **kept, "dropout": dict(self.dropout)}
        return {"model": model, "augment": {}}

    def state(self) -> dict[str, Any]:
        """Return nothing: the model is the user's."""
        return {}

    def build(self, seed: int) -> nn.Module:
        """Return the converted model with the rates of the recipe.

        Raises:
            UsageError: The builder fails, returns no module, or a model without dropout that is to
                drop.
        """
        model = self._new_model(seed)
        self._set_rates(self._convert(model))
        return model

    def _convert(self, model: nn.Module) -> Conversion:
        return convert(model.train(), _arguments(self.example.inputs))

    def _set_rates(self, conversion: Conversion) -> AbstractContextManager[object]:
        advice = (
            f"`{self.name}` has no dropout site, so none can be set. Put nn.Dropout(0.0) where "
            "dropout may act; `redrop sites` lists what is found."
        )
        return with_rates(conversion, self.dropout, keeps_rates=self.keeps_rates, advice=advice)

    def _new_model(self, seed: int) -> nn.Module:
        with seeded(seed):
            try:
                model = self.builder(**self.changes)
            except UsageError:
                raise
            except Exception as error:  # whatever the user's function raises
                raise UsageError(f"Building your model failed: {first_line(error)}.") from error
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"The function of `--model` returns a torch.nn.Module; got {type(model).__name__}."
            )
        if conversion_of(model) is not None:
            raise UsageError(_NOT_NEW)
        return model

    def sites(self) -> tuple[Any, ...]:
        """Return the model's dropout sites, as one forward meets them."""
        return find_sites(self.build(0), _arguments(self.example.inputs))

    def batch(self, *, seed: int, step: int, batch_size: int) -> Batch:
        """Return training samples."""
        return self.parts["train"].batch(seed=seed, step=step, batch_size=batch_size)

    def part(self, name: PartName, limit: int) -> Sequence[Batch]:
        """Return the batches of a part; none where there are no test data."""
        source = self.parts.get(name)
        return [] if source is None else list(source.batches(EVALUATED_ROWS, limit))

    def outputs(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return what the model says: a tensor, the `logits` of an output, or a tuple's first.

        Raises:
            UsageError: The model fails on the batch, or says something else.
        """
        arguments = _arguments(inputs)
        try:
            said = model(**arguments) if isinstance(arguments, Mapping) else model(*arguments)
        except UsageError:
            raise
        except Exception as error:  # whatever the user's forward raises
            raise UsageError(f"Your model failed on a batch: {first_line(error)}.") from error
        named = said.get("logits") if isinstance(said, Mapping) else getattr(said, "logits", None)
        said = said if named is None else named
        said = said[0] if isinstance(said, tuple) and said else said
        if not isinstance(said, Tensor):
            raise UsageError(
                "A model returns a tensor, a mapping or an output with `logits`, or a tuple that "
                f"begins with one; got {type(said).__name__}."
            )
        return said

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the user's loss, cross-entropy, or the mean squared error.

        Raises:
            UsageError: It does not fit the outputs and targets.
        """
        try:
            if self.own_loss is not None:
                return _one_number(self.own_loss(outputs, targets))
            if not self.is_classification:
                return F.mse_loss(outputs.reshape(targets.shape), targets.to(outputs.dtype))
            if outputs.shape[:-1] == targets.shape:
                return cross_entropy(outputs, targets, label_smoothing)
            problem = "the last dimension of outputs must be that of the classes"
        except UsageError:
            raise
        except Exception as error:  # whatever the user's loss raises
            problem = first_line(error)
        raise UsageError(
            f"The loss cannot take outputs of {_describe(outputs)} and targets of "
            f"{_describe(targets)}: {problem}. Change them, or give a loss of your own."
        )

    def scorer(self) -> Scorer:
        """Return the scorer of classes, of tokens, or of values; none for a loss of the user's."""
        if self.own_loss is not None:
            return NoScorer()
        if not self.is_classification:
            return ValueScorer(1.0)
        return ClassScorer() if self.example.targets.dim() == 1 else TokenScorer()


def _one_number(loss: Any) -> Tensor:
    if isinstance(loss, Tensor) and loss.dim() == 0:
        return loss
    got = _describe(loss) if isinstance(loss, Tensor) else type(loss).__name__
    raise UsageError(f"A loss returns a tensor of one number, a mean; got {got}.")


def _source(thing: Any) -> str:
    """Return the source of a function or class; its name where there is none."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"


def _describe(tensor: Tensor) -> str:
    return f"shape {tuple(tensor.shape)} ({str(tensor.dtype).removeprefix('torch.')})"


def _arguments(inputs: Any) -> Any:
    """Return inputs as what a model is called with: keywords, or positional arguments."""
    if isinstance(inputs, Mapping):
        return dict(inputs)
    return tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)
