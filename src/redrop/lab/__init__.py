"""The page: see dropout happen, with the very masks that a training run used.

`serve` shows it in a browser, `export` writes it to one file. Serving needs the extra `lab`.
"""

from collections.abc import Callable
from pathlib import Path

from redrop.errors import UsageError
from redrop.lab.export import export

__all__ = ["export", "serve"]


def serve(
    folder: Path | None = None,
    *,
    hugging_face: Path | None = None,
    port: int = 0,
    open_browser: bool = True,
    announce: Callable[[str], None] = lambda _address: None,
) -> None:
    """Serve the page on 127.0.0.1 until interrupted; see `redrop.lab.server.serve`.

    Raises:
        UsageError: The extra is not installed, the port is taken, or the folder is none.
    """
    try:
        from redrop.lab import server
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise UsageError(
            f"The lab's server needs {error.name}, which is not installed. "
            "Run `pip install redrop[lab]`, or write a file with `redrop lab --export page.html`."
        ) from error
    server.serve(
        folder,
        hugging_face=hugging_face,
        port=port,
        open_browser=open_browser,
        announce=announce,
    )
