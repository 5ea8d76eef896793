"""`redrop export`."""

from pathlib import Path

from redrop.errors import UsageError


def export(
    *folders: Path,
    to: Path | None = None,
    tensorboard: Path | None = None,
    trackio: str | None = None,
) -> None:
    """Give the records of studies to other programs.

    Args:
        folders: Of the studies; a folder of studies stands for all that lie in it.
        to: A table of all runs, as .parquet, .csv or .jsonl; beside it, in NAME.evaluations.…, a
            table of all evaluations. Parquet and CSV need redrop[export].
        tensorboard: Folder for TensorBoard's event files, one per run; needs redrop[tensorboard].
        trackio: Project of trackio to log the finished runs to; needs redrop[trackio].
    """
    if not folders:
        raise UsageError("`redrop export` needs the folder of a study; got none.")
    if to is None and tensorboard is None and trackio is None:
        raise UsageError(
            "`redrop export` needs to know where to: pass --to runs.parquet, --tensorboard FOLDER "
            "or --trackio PROJECT."
        )
    from redrop.report.export import check_format, export_tables
    from redrop.report.gather import gather_studies
    from redrop.study.wording import count

    if to is not None:
        check_format(to)  # before the records are read
    studies = gather_studies(folders)
    if to is not None:
        paths = export_tables(studies, to)
        print(f"{count(paths.run_count, 'run')}: {paths.runs}")
        print(f"{count(paths.evaluation_count, 'evaluation')}: {paths.evaluations}")
    if tensorboard is not None:
        from redrop.report.tensorboard import export_tensorboard

        exported = export_tensorboard(studies, tensorboard)
        print(f"{count(exported, 'run')}: tensorboard --logdir {tensorboard}")
    if trackio is not None:
        from redrop.report.trackio import export_trackio

        exported = export_trackio(studies, trackio)
        print(f"{count(exported, 'new run')}: trackio show --project {trackio}")
