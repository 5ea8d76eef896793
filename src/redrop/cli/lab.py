"""`redrop lab`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from redrop import lab as page


def lab(
    folder: Path | None = None,
    *,
    export: Path | None = None,
    hugging_face: Path | None = None,
    port: int = 0,
    browser: Annotated[bool, Parameter(negative="--no-browser")] = True,
) -> None:
    """See dropout happen: open the page on this machine, or write it to one file.

    Args:
        folder: Of studies and runs to show; by default the current one.
        export: Write the page with these studies to this HTML file, which opens from disk.
        hugging_face: Folder of a causal language model of Hugging Face, to look into as well.
        port: To serve on, on 127.0.0.1 only; by default any free one.
        browser: Open the page in the browser.
    """
    if export is not None:
        page.export(export, folder)
        print(f"Page: {export}")
        return
    page.serve(
        folder,
        hugging_face=hugging_face,
        port=port,
        open_browser=browser,
        announce=lambda address: print(f"The lab: {address}\nCtrl-C ends it.", flush=True),
    )
