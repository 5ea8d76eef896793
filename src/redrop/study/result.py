"""What `redrop.study(...)` returns."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from redrop.study.protocol import Finished
from redrop.study.records import Study
from redrop.study.show import draw_table
from redrop.study.verdict import Verdict
from redrop.train.recipe import Recipe

WIDTH = 120
"""Letters in a line of a printed result."""


@dataclass(frozen=True, kw_only=True, repr=False)
class StudyResult:
    """A study that is done: where it lies and what it says. Printed, it shows table and verdict.

    Args:
        folder: Of the study.
        study: All its records; of a budgeted study those of its last stage, the confirmation.
        verdict: Of that study.
        recommended: The recipe to use, or None where the study cannot say.
        report: The page with everything, an HTML file.
        table: One row per arm, as in the report.
        finished: What the stages of a budgeted study found; None for another one.
    """

    folder: Path
    study: Study
    verdict: Verdict
    recommended: Recipe | None
    report: Path
    table: Any
    finished: Finished | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """The answer in plain words, the most important first."""
        return self.verdict.sentences if self.finished is None else self.finished.sentences

    def __repr__(self) -> str:
        console = Console(file=StringIO(), width=WIDTH, color_system=None, highlight=False)
        with console.capture() as capture:
            console.print(draw_table(self.table, WIDTH))
            for sentence in self.sentences:
                console.print(sentence, markup=False)
            console.print(f"\nReport: {self.report}", markup=False, soft_wrap=True)
        return capture.get().rstrip("\n")

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        headings = "".join(
            f"<th>{escape(each.title)}<br><small>{escape(each.detail)}</small></th>"
            for each in self.table.headings
        )
        rows = "".join(
            f"<tr{_STRONG if arm.arm == self.table.recommended else ''}>"
            + "".join(f"<td>{escape(cell)}</td>" for cell in row)
            + "</tr>"
            for arm, row in zip(self.table.arms, self.table.rows, strict=True)
        )
        headline, *rest = (escape(sentence) for sentence in self.sentences)
        points = "".join(f"<li>{sentence}</li>" for sentence in rest)
        return (
            f"<div><p><strong>{headline}</strong></p><table><thead><tr>{headings}</tr></thead>"
            f"<tbody>{rows}</tbody></table><p><small>{escape(self.table.caption)}</small></p>"
            f"<ul>{points}</ul><p>Report: <code>{escape(str(self.report))}</code></p></div>"
        )


_STRONG = ' style="font-weight: bold"'
