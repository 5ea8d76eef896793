"""Arms of a study: which sites drop how much, in a word that a person can type."""

import re
from collections.abc import Iterable

from redrop.errors import UsageError
from redrop.models.config import DropoutRates
from redrop.study.schema import Arm

NONE = "none"
EVERYWHERE = "all"
_PART = re.compile(r"([a-z_]+)-([0-9.eE]+(?:-[0-9]+)?)")

_LABELS = {
    EVERYWHERE: "all sites",
    "embedding": "the embedding",
    "attention_weights": "attention weights",
    "attention_residual": "attention's residual projection",
    "feed_forward_hidden": "the feed-forward block",
    "feed_forward_residual": "the feed-forward block's residual projection",
}


def parse_arm(name: str) -> Arm:
    """Build an arm from its name.

    A name is `none`, or parts `site-p` joined by `+`, where `all` means every site and a later part
    overrides an earlier one: `all-0.2`, `attention_weights-0.1`, `all-0.2+attention_weights-0`.

    Raises:
        UsageError: A part is no `site-p`, the site is unknown, or p lies outside [0, 1].

    >>> parse_arm("attention_weights-0.1").label
    'dropout 0.1 on attention weights'
    """
    rates = dict.fromkeys(DropoutRates.sites(), 0.0)
    labels = []
    for part in name.split("+") if name != NONE else []:
        site, p = _parse_part(part, name)
        rates |= dict.fromkeys(rates, p) if site == EVERYWHERE else {site: p}
        labels.append(f"{p:g} on {_LABELS[site]}")
    DropoutRates(**rates)  # refuses a rate outside [0, 1] and says which
    return Arm(
        name=name, rates=rates, label="dropout " + ", ".join(labels) if labels else "no dropout"
    )


def parse_arms(names: Iterable[str]) -> tuple[Arm, ...]:
    """Build the arms of a study; the first one is the baseline that the others are compared to.

    Raises:
        UsageError: Fewer than two arms, or two arms of one name.
    """
    arms = tuple(parse_arm(name) for name in names)
    if len({arm.name for arm in arms}) < max(len(arms), 2):
        raise UsageError(
            "A study compares at least two different arms; got "
            f"{', '.join(arm.name for arm in arms) or 'none'}. Try: none all-0.1 all-0.2."
        )
    return arms


def _parse_part(part: str, name: str) -> tuple[str, float]:
    match = _PART.fullmatch(part)
    if match is None or match[1] not in _LABELS:
        raise UsageError(
            f"An arm is `none` or parts `site-p` joined by `+`; got {name!r}. Sites: "
            f"{', '.join(_LABELS)}."
        )
    try:
        return match[1], float(match[2])
    except ValueError as error:
        raise UsageError(f"`p` of an arm must be a number; got {name!r}.") from error
