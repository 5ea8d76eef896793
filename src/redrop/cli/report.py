"""`redrop report`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from redrop.cli.options import Json
from redrop.errors import UsageError

Markdown = Annotated[bool, Parameter(name="--markdown", negative=())]
"""Print one Markdown document on standard output instead of text."""


def report(
    folder: Path,
    *others: Path,
    out: Path | None = None,
    json_: Json = False,
    markdown: Markdown = False,
) -> None:
    """Rebuild a study's report from its records, finished or not; or compare several studies.

    Args:
        folder: Of the study, of a study with a budget, or of a map.
        others: Folders of more studies: they are set beside each other in one table. A study with
            a budget takes part with its confirmation.
        out: Of several studies: where to write comparison.html, a folder or a file.
        json_: Print report.json, or the comparison as JSON, on standard output.
        markdown: Print the report, or the comparison, as Markdown on standard output, for a pull
            request or a log: redrop report studies/my-1a2b3c4d --markdown > report.md
    """
    if json_ and markdown:
        raise UsageError(
            "A report is printed in one form; got `--json` and `--markdown`. Pass one."
        )
    if others:
        _print_comparison((folder, *others), out=out, as_json=json_, as_markdown=markdown)
        return
    if out is not None:
        raise UsageError(
            f"`--out` is where a comparison of several studies is written; got one, `{folder}`. "
            "Its report lies in its own folder: leave `--out` out, or name more studies."
        )
    _printer(folder)(folder, as_json=json_, as_markdown=markdown)


def _printer(folder: Path) -> Callable[..., None]:
    """Return what prints the report of a folder: it is told by the files that lie there."""
    from redrop.study.folders import holds_map, holds_protocol

    if holds_protocol(folder):
        return print_protocol
    return print_map if holds_map(folder) else print_report


def print_report(folder: Path, *, as_json: bool, as_markdown: bool = False) -> None:
    """Write the reports of a study and print it as a table and a verdict."""
    # matplotlib takes a second; `--help` does not wait for it.
    from redrop.report import report_markdown, rich_table, write_report

    paths = write_report(folder)
    if as_json:
        print(paths.json.read_text(encoding="utf-8"), end="")
        return
    if as_markdown:
        print(report_markdown(paths.report), end="")
        return
    console = Console(highlight=False)
    console.print(rich_table(paths.report.table, console.width))
    for sentence in paths.report.verdict.sentences:
        console.print(sentence)
    for run in paths.report.missing:
        console.print(f"Not complete: {run}")
    console.print(f"\nReport: {paths.html}", soft_wrap=True)


def _print_comparison(
    folders: Sequence[Path], *, out: Path | None, as_json: bool, as_markdown: bool
) -> None:
    from redrop.report.comparison import compare_studies, comparison_markdown, rich_comparison
    from redrop.report.gather import gather_studies

    comparison = compare_studies(gather_studies(folders, judged=True))
    page = None
    if out is not None:
        from redrop.report.comparison_page import write_comparison

        page = write_comparison(comparison, out)
    if as_json:
        print(comparison.to_json(), end="")
        return
    if as_markdown:
        print(comparison_markdown(comparison), end="")
        return
    console = Console(highlight=False)
    console.print(rich_comparison(comparison, console.width))
    console.print(f"{comparison.headline}.")
    for sentence in comparison.sentences:
        console.print(sentence, markup=False)
    if page is not None:
        console.print(f"\nComparison: {page}", soft_wrap=True)


def print_protocol(folder: Path, *, as_json: bool, as_markdown: bool = False) -> None:
    """Write the report of a budgeted study, finished or not, and print it in short."""
    from redrop.report.protocol_write import HTML, JSON, rich_stages, write_protocol_report

    told = write_protocol_report(folder)
    if as_json:
        print((folder / JSON).read_text(encoding="utf-8"), end="")
        return
    if as_markdown:
        from redrop.report.protocol_markdown import protocol_markdown

        print(protocol_markdown(told), end="")
        return
    console = Console(highlight=False)
    console.print(rich_stages(told, console.width))
    console.print(f"[bold]{escape(told.headline)}[/bold]")
    for sentence in told.sentences:
        console.print(sentence, markup=False)
    for title, code in told.pasted[:1]:
        console.print(f"\n{title}:")
        console.print(code, markup=False, soft_wrap=True)
    console.print(f"\nReport: {folder / HTML}", soft_wrap=True)


def print_stopped(folder: Path, *, as_json: bool) -> None:
    """Report a budgeted study that ended at its baseline; say nothing of any other."""
    from redrop.report.protocol_stop import replay_to_stop
    from redrop.study.folders import read_protocol_folder

    try:
        recorded = read_protocol_folder(folder)
        stop = None if recorded is None else replay_to_stop(recorded)[1]
    except UsageError:  # there is nothing to report; the caller has the reason
        return
    if stop is not None:
        print_protocol(folder, as_json=as_json)


def print_map(folder: Path, *, as_json: bool, as_markdown: bool = False) -> None:
    """Write the report of a regime map and print it in short."""
    from redrop.report.map_report import (
        MAP_HTML,
        MAP_JSON,
        map_markdown,
        rich_losses,
        rich_map,
        write_map_report,
    )

    told = write_map_report(folder)
    if as_json:
        print((folder / MAP_JSON).read_text(encoding="utf-8"), end="")
        return
    if as_markdown:
        print(map_markdown(told), end="")
        return
    console = Console(highlight=False)
    console.print(rich_map(told, console.width))
    console.print(f"{told.losses.title}. {told.losses.caption}")
    console.print(rich_losses(told))
    console.print(f"[bold]{escape(told.headline)}[/bold]")
    for sentence in told.drawn.sentences:
        console.print(sentence, markup=False)
    for waiting in told.waiting:
        console.print(f"Not complete: {waiting}")
    console.print(f"\nMap: {folder / MAP_HTML}", soft_wrap=True)
