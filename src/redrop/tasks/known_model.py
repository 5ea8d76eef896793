"""What is known of a model that was built once, so that it is not built again to be checked.

A user's own model, or one of Hugging Face, may take minutes to build and fill the memory. A plan
asks of it whether the rates of every arm fit, how large it is, and which code it is. One look
answers that, and arms that differ in their rates alone share it.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from redrop.errors import UsageError
from redrop.integrations import Conversion, set_rates


@dataclass(frozen=True, slots=True)
class Look:
    """What one model was seen to be.

    Args:
        parameters: Numbers that training changes.
        code: SHA-256 of the source of its classes, where that is asked.
    """

    parameters: int
    code: str = ""


@dataclass(frozen=True, slots=True)
class Looks:
    """All that a task knows of its models; no model is kept.

    Args:
        seen: By what a recipe changes of the model besides its rates.
        fitting: The complete settings that were seen to fit.
    """

    seen: dict[str, Look] = field(default_factory=dict)
    fitting: set[str] = field(default_factory=set)


def key_of(settings: Mapping[str, Any]) -> str:
    """Return settings as a key: equal ones have the same.

    >>> key_of({"a": 1, "b": {}}) == key_of({"b": {}, "a": 1})
    True
    """
    return json.dumps(settings, sort_keys=True)


def trainable(model: nn.Module) -> int:
    """Return how many numbers training changes; those that layers share count once.

    >>> layer = nn.Linear(3, 2)
    >>> trainable(nn.Sequential(layer, nn.Linear(2, 3), layer))
    17
    """
    return sum(each.numel() for each in model.parameters() if each.requires_grad)


def with_rates(
    conversion: Conversion, dropout: Mapping[str, float], *, keeps_rates: bool, advice: str
) -> AbstractContextManager[object]:
    """Set the rates of a recipe; left as a context, it puts back those that were there.

    Args:
        conversion: Of the model.
        dropout: Rate by kind of site, by pattern of names, or for all.
        keeps_rates: Leave the model's own rates where `dropout` names nothing; else they are 0.
        advice: What to say of a model that is to drop and has no site.

    Raises:
        UsageError: A pattern names no site, or there is none.
    """
    rates = dict(dropout) if keeps_rates else {"*": 0.0, **dropout}
    if rates and conversion.sites:
        return set_rates(conversion, rates)
    if any(rates.values()):
        raise UsageError(advice)
    return nullcontext()
