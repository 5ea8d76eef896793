"""The page's own files: those that were there at the start, by name, and nothing else."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".safetensors": "application/octet-stream",
}


class Files:
    """Answers with a file of a folder.

    A request only looks a name up, so no path of a request ever reaches the disk. The files are
    small and read at once: handing them to a thread would take longer, and 40 of them are the page.

    Args:
        folder: Whose files are served, those in its folders too.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {
            file.relative_to(folder).as_posix(): file
            for file in folder.rglob("*")
            if file.suffix in TYPES and file.is_file()
        }

    async def answer(self, request: Request) -> Response:
        """Return the file that the path names, `index.html` where it is empty."""
        file = self._files.get(request.path_params.get("path") or "index.html")
        if file is None:
            return PlainTextResponse("Not found.", 404)
        return Response(file.read_bytes(), media_type=TYPES[file.suffix])
