"""How many numbers training changes in the network of a task."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from redrop.models.build import build_model
from redrop.models.config import MLPConfig, TransformerConfig, VisionTransformerConfig
from redrop.models.rates import DropoutRates
from redrop.tasks.configure import configure
from redrop.tasks.hugging_face import CausalTask
from redrop.tasks.known_model import trainable
from redrop.tasks.load import AnyTask
from redrop.tasks.module import ModuleTask
from redrop.train.recipe import Recipe


def count_parameters(task: AnyTask, arms: Sequence[Recipe]) -> int:
    """Return how many numbers training changes in the network of the first arm.

    Args:
        task: Without any recipe.
        arms: Of a study. Those of a model that is not redrop's own are checked, all at once: what
            differs in rates alone is built once.

    Raises:
        UsageError: The first arm does not fit, or any arm of such a model.
    """
    if isinstance(task, ModuleTask | CausalTask):
        task.check(*arms)
        return task.parameters(arms[0])
    # Rates have no parameters: without them more arms are one network.
    return _of_network(replace(configure(task.model, arms[0]), dropout=DropoutRates()))


@lru_cache(maxsize=8)
def _of_network(config: TransformerConfig | VisionTransformerConfig | MLPConfig) -> int:
    return trainable(build_model(config, seed=0))
