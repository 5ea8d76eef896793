"""The whole page in one file that opens from disk and asks nobody for anything."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from redrop.disk import write_atomically
from redrop.errors import UsageError
from redrop.lab.linker import PREFIX, import_map, modules_from
from redrop.lab.models import embedded_models
from redrop.lab.studies import find_studies, study_payload

STATIC = Path(__file__).parent / "static"


def export(path: Path, folder: Path | None = None) -> None:
    """Write the page, with the studies of a folder in it, to one HTML file.

    Args:
        path: Of the file.
        folder: Of studies, or of one study; without it the page has no runs to show.

    Raises:
        UsageError: The folder is none, a study is broken, or the file cannot be written.
    """
    check_folder(folder)
    write_atomically(path, page(folder))


def check_folder(folder: Path | None) -> None:
    """Raise UsageError unless what the lab is to look into is a folder, or nothing."""
    if folder is not None and not folder.is_dir():
        raise UsageError(
            f"The lab looks into a folder of studies; `{folder}` is none. Check the path, or leave "
            "it out."
        )


def page(folder: Path | None = None) -> str:
    """Return the page as text."""
    studies = [] if folder is None else _studies(folder.resolve())
    data: dict[str, Any] = {"models": embedded_models(), "studies": studies}
    if studies:
        data["state"] = {"view": "runs"}
    modules = modules_from(STATIC, "js/app.js")
    chart = (STATIC / "vendor" / "uplot.js").read_text(encoding="utf-8")
    names = json.dumps(import_map(modules))
    start = f'import "{PREFIX}js/app.js";'
    policy = (
        f"default-src 'none'; script-src data: {_hash(chart)} {_hash(names)} {_hash(start)}; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    scripts = [
        f"<script>{chart}</script>",
        f'<script type="importmap">{names}</script>',
        *(
            f'<script type="application/json" id="rd-data-{name}">{_safe(value)}</script>'
            for name, value in data.items()
        ),
        f'<script type="module">{start}</script>',
    ]
    index = (STATIC / "index.html").read_text(encoding="utf-8")
    head, body = index.split("</head>")
    head = re.sub(r'<script [^>]*></script>\n|<link rel="modulepreload"[^>]*>\n', "", head)
    head = re.sub(r'<link rel="stylesheet" href="([^"]+)">', _inline_style, head)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    head = head.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{meta}')
    return f"{head}</head>{body.replace('</body>', chr(10).join(scripts) + '</body>')}"


def _studies(folder: Path) -> list[dict[str, Any]]:
    found = find_studies(folder)
    return [study_payload(name, place, {}, "") for name, place in found.items()]


def _inline_style(match: re.Match[str]) -> str:
    return f"<style>\n{(STATIC / match[1]).read_text(encoding='utf-8')}</style>"


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _safe(value: object) -> str:
    """Return JSON that cannot end its script element or open a comment in it."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
