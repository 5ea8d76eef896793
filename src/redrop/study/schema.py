"""What a line of a record and a plan look like, and the check that they do."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass
from dataclasses import fields as members
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from redrop.errors import UsageError
from redrop.train.recipe import Recipe

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PLAN_FILE = "study.json"
STATUSES = ("done", "stopped early", "diverged")

_JSON_NAMES = {
    str: "a text",
    int: "an integer",
    float: "a number",
    NoneType: "null",
    Mapping: "an object",
    tuple: "a list",
}

_SHORT_UNITS = {"nats per token": "nats", "squared standard deviations": "sd²"}

Line = TypeVar("Line", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The first line of a record: which run this is. Lines name the fields as they stand here."""

    id: str
    arm: str
    seed: int
    config: Mapping[str, Any]
    versions: Mapping[str, Any]
    machine: Mapping[str, Any]
    started: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """One "eval" line. Losses in the plan's unit; None where the value was not finite.

    `train_loss` is measured with dropout on (mean over the mini-batches since the line before),
    `train_eval_loss` on training data with dropout off: only the latter compares to validation.
    """

    step: int
    train_loss: float | None
    train_eval_loss: float | None
    validation_loss: float | None
    validation_metrics: Mapping[str, Any]
    learning_rate: float | None
    gradient_norm: float | None
    clipped_share: float | None
    seconds: float | None

    @property
    def gap(self) -> float | None:
        """Return validation_loss - train_eval_loss, the generalization gap."""
        if self.validation_loss is None or self.train_eval_loss is None:
            return None
        return self.validation_loss - self.train_eval_loss


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The last line of a complete record; test losses are None where no test data were read."""

    status: str
    steps: int
    best_step: int | None
    best_validation_loss: float | None
    final_validation_loss: float | None
    test_loss_best: float | None
    test_loss_final: float | None
    seconds: float
    tokens: int
    test_metrics_best: Mapping[str, Any]
    test_metrics_final: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise UsageError(f"`status` must be one of {STATUSES}; got {self.status!r}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlan:
    """The contents of `study.json`: everything that was fixed before the first run.

    Args:
        arms: The recipes that are compared, in the order of the report; one is the baseline.
        margin: Smallest difference that matters, in the unit of the loss.
        looks: By how much the error of a look is divided: how often the study was planned to be
            judged, or the price of a look that was not planned (see `study.looks`).
        command: The exact command that repeats the study.
        settings: {"task": ..., "model": ..., "train": ..., "data": ...}; the report reads
            `data.name`, `data.unit`, `data.train_targets` and `data.bayes_loss` where present.
        parameters: Numbers that training changes in the baseline's network; None in a plan of
            before they were counted. They follow from the settings and decide nothing.
        spent: What looks before an unplanned one may have erred; 0 while all looks are planned, and
            None in a plan of before the two were told apart.
    """

    name: str
    arms: tuple[Recipe, ...]
    baseline: str
    seeds: tuple[int, ...]
    margin: float
    confidence: float
    looks: int
    command: str
    settings: Mapping[str, Any]
    data_sha256: str
    versions: Mapping[str, Any]
    parameters: int | None = None
    spent: float | None = None

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names) or self.baseline not in names:
            raise UsageError(
                "A plan needs arms of distinct names, one of them the baseline; got "
                f"{names} and baseline {self.baseline!r}."
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UsageError(f"A plan needs distinct seeds, at least one; got {self.seeds}.")
        if not (0 <= self.margin < math.inf and 0 < self.confidence < 1 and self.looks >= 1):
            raise UsageError(
                "A plan needs `margin` >= 0, `confidence` in (0, 1) and `looks` >= 1; got "
                f"{self.margin}, {self.confidence} and {self.looks}."
            )
        if self.parameters is not None and self.parameters < 0:
            raise UsageError(f"`parameters` of a plan must be at least 0; got {self.parameters}.")
        if self.spent is not None and not 0 <= self.spent < math.inf:
            raise UsageError(f"`spent` of a plan must be at least 0; got {self.spent}.")

    @property
    def unit(self) -> str:
        """Of the losses: "nats per token", "nats"."""
        return str(self.settings.get("data", {}).get("unit", "nats per token"))

    @property
    def short_unit(self) -> str:
        """The unit as it stands behind a number in a sentence."""
        return _SHORT_UNITS.get(self.unit, self.unit)

    def arm(self, name: str) -> Recipe:
        """Return the arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def to_json(self) -> str:
        """Return the text of `study.json`."""
        return json.dumps({"kind": "study", **asdict(self)}, indent=2, allow_nan=False) + "\n"


def parse(kind: type[Line], fields: Mapping[str, Any], where: str) -> Line:
    """Build a line from its JSON fields; fields it does not know are left to others.

    A field that has a default came later than the format: what was written before lacks it.

    Raises:
        UsageError: A field is missing or of another type; the message names it and `where`.

    >>> parse(Header, {"id": "0"}, "a.jsonl, header")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    redrop.errors.UsageError: a.jsonl, header: the field `arm` is missing. Restore or remove ...
    """
    values = {}
    later = {each.name for each in members(kind) if each.default is not MISSING}
    for name, hint in get_type_hints(kind).items():
        if name not in fields and name in later:
            continue
        if name not in fields:
            raise UsageError(f"{where}: the field `{name}` is missing. Restore or remove the file.")
        values[name] = _checked(fields[name], hint, f"{where}: `{name}`")
    try:
        return kind(**values)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _checked(value: object, hint: Any, what: str) -> object:
    """Return the value if its type is among those of the annotation; JSON's 1 is a float, too."""
    types = get_args(hint) if isinstance(hint, UnionType) else (get_origin(hint) or hint,)
    accepted = (*types, int) if float in types else types
    if isinstance(value, bool) or not isinstance(value, accepted):
        wanted = " or ".join(_JSON_NAMES[kind] for kind in types)
        raise UsageError(f"{what} must be {wanted}; got {value!r}. Restore or remove the file.")
    return value


def parse_plan(fields: Mapping[str, Any], where: str) -> StudyPlan:
    """Build a plan from the JSON of `study.json`.

    Raises:
        UsageError: A field is missing, of another type, or against the rules of a plan.
    """
    for name, member in (("arms", dict), ("seeds", int)):
        values = fields.get(name)
        if not isinstance(values, list) or not all(isinstance(value, member) for value in values):
            raise UsageError(
                f"{where}: `{name}` must be a list of {member.__name__}; got {values!r}."
            )
    try:
        arms = tuple(Recipe.from_json(arm) for arm in fields["arms"])
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    return parse(StudyPlan, {**fields, "arms": arms, "seeds": tuple(fields["seeds"])}, where)


def read_plan(folder: Path) -> StudyPlan | None:
    """Return the plan in a study folder, or None where there is none.

    Raises:
        UsageError: `study.json` is broken.
    """
    path = folder / PLAN_FILE
    try:
        fields = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise UsageError(f"`{path}` is not JSON ({error}). Restore it, or start anew.") from error
    if not isinstance(fields, dict):
        raise UsageError(f"`{path}` must hold a JSON object; got {type(fields).__name__}.")
    return parse_plan(fields, str(path))
