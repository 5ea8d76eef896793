"""`redrop report`."""

from pathlib import Path

from rich.console import Console

from redrop.cli.options import Json


def report(folder: Path, *, json_: Json = False) -> None:
    """Rebuild a study's report from its records, finished or not.

    Args:
        folder: Of the study.
        json_: Print report.json on standard output.
    """
    print_report(folder, as_json=json_)


def print_report(folder: Path, *, as_json: bool) -> None:
    """Write the reports of a study and print it as a table and a verdict."""
    # matplotlib takes a second; `--help` does not wait for it.
    from redrop.report import rich_table, write_report

    paths = write_report(folder)
    if as_json:
        print(paths.json.read_text(encoding="utf-8"), end="")
        return
    console = Console(highlight=False)
    console.print(rich_table(paths.report.table, console.width))
    for sentence in paths.report.verdict.sentences:
        console.print(sentence)
    for run in paths.report.missing:
        console.print(f"Not complete: {run}")
    console.print(f"\nReport: {paths.html}", soft_wrap=True)
