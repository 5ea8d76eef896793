"""What a budgeted study consists of: its settings, its stages, and what came of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from redrop.errors import UsageError
from redrop.study.budget import Account, Budget, open_account
from redrop.study.records import Study, canonical_json
from redrop.study.schema import StudyPlan
from redrop.train.recipe import Recipe
from redrop.train.recipe_word import parse_recipe

Kind = Literal["baseline", "screen", "dose", "confirm"]

TEXT_FACTORS = (
    "attention_weights-0.1",
    "feed_forward_residual-0.1",
    "embedding-0.1",
    "weight_decay-1",
    "attention_residual-0.1",
    "feed_forward_hidden-0.1",
    "drop_path-0.1",
    "label_smoothing-0.1",
)
"""What a screening on text tries, the most promising first: a small budget takes the first four."""

SMALLEST_CONFIRMATION = 6
"""Runs of the least study that can say anything: 2 arms at 3 seeds."""

FULL_CONFIRMATION = 12
"""Runs that the earlier stages leave for the confirmation: 3 arms at 4 seeds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolSettings:
    """What a budgeted study asks, fixed before its first run.

    Args:
        budget: The most that it may cost.
        factors: What the screening tries, each at its high level, the most promising first.
        margin: Smallest difference in loss that matters; the plans of the stages hold the same.
        first_steps: Length of the first baseline run; it doubles until the baseline has turned.
        steps: Length of every run, where the question is about runs of that length; the baseline
            is then run once and need not turn.
        tokens_per_step: Sequences of a batch times their length, for a budget in tokens.
        workers: Runs side by side; a time budget counts the seconds of each.
        baseline_seeds: Of each baseline run; with two workers the second one costs no time.
        seconds_per_step: A first guess, so that a budget too small is refused before any run.
        default: What people do without thinking; the winner has to beat it, too.
        looks: How often the confirmation may be judged; its intervals pay for each look.
        most_seeds: Of the confirmation.
        first_seed: Every seed from here on is the protocol's.

    Raises:
        UsageError: A number is out of range, or two factors have one name.
    """

    budget: Budget
    factors: tuple[Recipe, ...] = field(
        default_factory=lambda: tuple(parse_recipe(word) for word in TEXT_FACTORS)
    )
    margin: float = 0.01
    first_steps: int = 200
    steps: int | None = None
    tokens_per_step: int | None = None
    workers: int = 1
    baseline_seeds: int = 1
    seconds_per_step: float | None = None
    default: Recipe = field(default_factory=lambda: parse_recipe("all-0.1"))
    looks: int = 2
    most_seeds: int = 12
    first_seed: int = 0

    def __post_init__(self) -> None:
        for name in ("first_steps", "workers", "baseline_seeds", "looks", "most_seeds"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` must be at least 1; got {getattr(self, name)}.")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"`steps` must be at least 1; got {self.steps}. Leave it out.")
        names = [factor.name for factor in self.factors]
        if len(set(names)) < len(names):
            raise UsageError(f"The factors of a screening need distinct names; got {names}.")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the settings that `dataclasses.asdict` made into plain JSON values.

        Raises:
            UsageError: A value is refused.

        >>> settings = ProtocolSettings(budget=Budget(600.0, "seconds"))
        >>> ProtocolSettings.from_json(asdict(settings)) == settings
        True
        """
        fields = {
            **stored,
            "budget": Budget(**stored["budget"]),
            "factors": tuple(Recipe.from_json(factor) for factor in stored["factors"]),
            "default": Recipe.from_json(stored["default"]),
        }
        return cls(**fields)

    def account(self) -> Account:
        """Return the account before anything is spent."""
        return open_account(
            self.budget,
            tokens_per_step=self.tokens_per_step,
            workers=self.workers,
            seconds_per_step=self.seconds_per_step,
        )


def settings_digest(settings: ProtocolSettings, plan: StudyPlan) -> str:
    """Return 8 hex digits that name a budgeted study: its settings, data and training.

    Args:
        settings: Of the protocol.
        plan: Any plan of the question; its arms, seeds and precision do not matter.
    """
    question = {k: v for k, v in plan.settings.items() if k != "train"}
    train = {k: v for k, v in plan.settings["train"].items() if k != "precision"}
    content = [asdict(settings), question, train, plan.data_sha256, dict(plan.versions)]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """Something that the study went on without.

    Args:
        what: A factor, an arm or a stage, in words.
        after: Name of the stage whose results decided it.
        why: In one sentence, with figures.
    """

    what: str
    after: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One ordinary study among those of the protocol; `name` is that of its folder.

    Args:
        name: "1-baseline", "2-screen-1"; a name that came before asks for more seeds of it.
        kind: Which stage it belongs to; only "confirm" is judged, the others are looked at.
        arms: The first one is the baseline of that folder.
        seeds: Of every arm.
        steps: Of every run, with a schedule of that length.
        looks: Planned for this folder; its plan must hold this number from its first look on.
        reason: Why this stage, in one sentence.
    """

    name: str
    kind: Kind
    arms: tuple[Recipe, ...]
    seeds: tuple[int, ...]
    steps: int
    reason: str
    looks: int = 1

    @property
    def runs(self) -> int:
        """Number of runs."""
        return len(self.arms) * len(self.seeds)


@dataclass(slots=True)
class Journal:
    """What one replay of the protocol has gathered; lives no longer than that replay."""

    settings: ProtocolSettings
    account: Account
    stages: list[Stage] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    next_seed: int = 0

    def fresh_seeds(self, count: int) -> tuple[int, ...]:
        """Return seeds that no stage has used."""
        begin = self.next_seed
        self.next_seed += count
        return tuple(range(begin, begin + count))

    def enter(self, stage: Stage) -> Stage:
        """Note a stage that begins."""
        self.stages.append(stage)
        return stage

    def close(self, study: Study) -> None:
        """Pay for a stage that is finished."""
        self.account = self.account.after(study)

    def drop(self, what: str, why: str) -> None:
        """Note what the study goes on without."""
        self.dropped.append(Dropped(what=what, after=self.stages[-1].name, why=why))


def none_recipe() -> Recipe:
    """Return the baseline: the study's own settings, without dropout."""
    return parse_recipe("none")


def chosen_losses(study: Study, arm: str) -> dict[int, float | None]:
    """Return by seed the loss that choices are made by: validation, at the best checkpoint.

    None for a run that diverged: it is worse than any number.
    """
    lost = study.diverged(arm)
    return {
        seed: None if seed in lost or run.end is None else run.end.best_validation_loss
        for seed, run in study.of_arm(arm).items()
    }


def is_same(one: Recipe, other: Recipe) -> bool:
    """Say whether two recipes do the same, whatever they are called."""
    return all(
        dict(getattr(one, group)) == dict(getattr(other, group))
        for group in ("dropout", "model", "train", "augment")
    )


def say_names(recipes: Sequence[Recipe]) -> str:
    """Return the recipes in words, joined by semicolons, since a label may hold commas."""
    return "; ".join(recipe.label or recipe.name for recipe in recipes)
