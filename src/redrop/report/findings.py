"""What the stages of a budgeted study have found so far, the last of them finished or not."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from redrop.study.baseline import Horizon, find_horizon
from redrop.study.dose import Dosed, find_dose
from redrop.study.folders import ProtocolFolder
from redrop.study.protocol import Finished, Progress
from redrop.study.records import Study
from redrop.study.screen import Screened, screen
from redrop.study.stage import Journal, Stage

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """None where a stage is not finished, or was left out."""

    horizon: Horizon | None = None
    screened: Screened | None = None
    dosed: Dosed | None = None


def find(folder: ProtocolFolder, progress: Progress) -> Findings:
    """Return what is known of each stage but the confirmation, which nobody judges half done."""
    end = progress.next
    if isinstance(end, Finished):
        return Findings(horizon=end.horizon, screened=end.screened, dosed=end.dosed)
    begun = {stage.name for stage in progress.stages[:-1]}
    complete = {study.folder.name: study for study in folder.studies if study.folder.name in begun}
    settings = folder.settings
    journal = Journal(settings=settings, account=settings.account(), next_seed=settings.first_seed)
    horizon = _tell(find_horizon(journal), complete)
    if horizon is None or not horizon.may_screen:
        return Findings(horizon=horizon)
    screened = _tell(screen(journal, horizon.steps), complete)
    if screened is None or not screened.kept:
        return Findings(horizon=horizon, screened=screened)
    dosed = _tell(find_dose(journal, horizon.steps, screened.kept), complete)
    return Findings(horizon=horizon, screened=screened, dosed=dosed)


def _tell(
    story: Generator[Stage, Study, Found | None], complete: Mapping[str, Study]
) -> Found | None:
    """Return what a stage comes to, or None if one of its studies is not complete."""
    try:
        stage = next(story)
        while stage.name in complete:
            stage = story.send(complete[stage.name])
    except StopIteration as end:
        found: Found | None = end.value
        return found
    return None
