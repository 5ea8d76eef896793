"""All that can be pasted of an arm."""

from redrop.report.paste.chosen import choose
from redrop.report.paste.with_hugging_face import hugging_face
from redrop.report.paste.with_pytorch import pytorch
from redrop.report.paste.with_redrop import command, own_loop, python
from redrop.study.schema import StudyPlan
from redrop.study.verdict import Verdict
from redrop.train.recipe import Recipe

Configurations = tuple[tuple[str, str], ...]


def configurations(plan: StudyPlan, recipe: Recipe | None) -> Configurations:
    """Return (title, code) for each way to use an arm of a study.

    Args:
        plan: Of the study: its task, and how its runs were trained.
        recipe: Of the arm, or None where nothing is recommended: then there is nothing to paste.

    Returns:
        Empty for a plan that does not name its task.
    """
    chosen = None if recipe is None else choose(plan, recipe)
    if chosen is None:
        return ()
    found = [("redrop, command line", command(chosen)), ("redrop, Python", python(chosen))]
    if chosen.spec.network == "module":
        found.append(("redrop, your own training loop", own_loop(chosen)))
    found.append(("Plain PyTorch", pytorch(chosen)))
    fields = hugging_face(chosen)
    if fields is not None:
        found.append(("Hugging Face", fields))
    return tuple(found)


def recommended_arm(plan: StudyPlan, verdict: Verdict) -> Recipe | None:
    """Return the recipe of the arm that a verdict recommends, or None where it cannot say."""
    return None if verdict.recommended is None else plan.arm(verdict.recommended)
