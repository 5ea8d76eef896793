"""The regime card of a study that has run: its numbers, and what its baseline showed."""

from redrop.errors import UsageError
from redrop.study.records import Study
from redrop.study.regime import RegimeCard
from redrop.study.verdict import judge


def card_of(study: Study) -> RegimeCard:
    """Return the card of a study from its plan and the runs of its baseline.

    Args:
        study: With a complete run of its baseline, such as the first stage of a budgeted study.

    Raises:
        UsageError: No run of the baseline is complete, or the plan does not say how many training
            targets there are.
    """
    plan = study.plan
    unique = plan.settings.get("data", {}).get("train_targets")
    ends = [run.end for run in study.of_arm(plan.baseline).values() if run.end is not None]
    if not unique or not ends or not ends[0].steps:
        raise UsageError(
            f"The regime of a study is read from a complete run of its baseline; `{study.folder}` "
            "has none, or does not count its training data. Run the study first."
        )
    train = plan.settings.get("train", {})
    end = ends[0]
    return RegimeCard(
        unique=int(unique),
        unit="samples" if plan.settings["data"].get("samples") else "tokens",
        epochs=end.tokens / unique,
        parameters=plan.parameters or None,  # 0 gives no ratio to speak of
        batch=max(1, round(end.tokens / end.steps)),
        learning_rate=train.get("learning_rate"),
        # The timescale 1 / (learning rate · weight decay) is that of AdamW.
        weight_decay=train.get("weight_decay") if train.get("optimizer") is None else None,
        measured=judge(study).regime,
    )
