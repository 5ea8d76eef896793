"""A panel of the page in a notebook cell; needs the extra `notebook`.

>>> from redrop.lab.widget import LabWidget  # doctest: +SKIP
>>> LabWidget("attention", text="A dog sat", show="after")  # doctest: +SKIP
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from redrop.errors import UsageError
from redrop.lab.linker import PREFIX, modules_from
from redrop.lab.models import embedded_models

STATIC = Path(__file__).parent / "static"
STYLES = ("tokens", "lab", "controls", "attention", "block")
VIEWS = ("activations", "attention", "block")
ENTRY = "js/widget.js"


def module() -> str:
    """Return the panels as one ES module of the kind that anywidget hosts.

    The modules become blob addresses, dependencies first, since a cell has no import map.
    """
    sources = json.dumps(modules_from(STATIC, ENTRY))
    name = PREFIX.replace("/", r"\/")
    return (
        f"const sources = {sources}, urls = {{}};\n"
        "for (const [name, source] of Object.entries(sources)) {\n"
        f'  const linked = source.replace(/"{name}([^"]+)"/g, (_, to) => `"${{urls[to]}}"`);\n'
        '  urls[name] = URL.createObjectURL(new Blob([linked], { type: "text/javascript" }));\n'
        "}\n"
        "async function render({ model, el }) {\n"
        f'  const {{ show }} = await import(urls["{ENTRY}"]);\n'
        "  const shown = show(el, {\n"
        '    view: model.get("view"), models: JSON.parse(model.get("_models")),\n'
        '    hash: model.get("hash"),\n'
        '    changed: (hash) => { model.set("hash", hash); model.save_changes(); },\n'
        "  });\n"
        '  const follow = () => shown.setHash(model.get("hash"));\n'
        '  model.on("change:hash", follow);\n'
        '  return () => { model.off("change:hash", follow); shown.destroy(); };\n'
        "}\n"
        "export default { render };\n"
    )


def style() -> str:
    """Return the panels' style sheet."""
    texts = [(STATIC / "css" / f"{name}.css").read_text(encoding="utf-8") for name in STYLES]
    return "\n".join(texts).replace("body {\n  margin: 0;\n}\n", "")


def to_hash(state: dict[str, Any]) -> str:
    """Return the text that the page has behind its # for some of its state.

    >>> to_hash({"p": 0.3, "x": [1, 2]})
    '#v=1&p=0.3&x=1%2C2'
    """
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for name, value in state.items()
    }
    return f"#v=1&{urlencode(texts)}" if texts else ""


def from_hash(text: str) -> dict[str, str]:
    """Return the state behind a #, as texts.

    >>> from_hash("#v=1&p=0.3&x=1%2C2")
    {'p': '0.3', 'x': '1,2'}
    """
    return {name: value for name, value in parse_qsl(text.removeprefix("#")) if name != "v"}


def __getattr__(name: str) -> Any:
    if name == "LabWidget":
        return _widget_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _widget_class() -> Any:
    """Define the class once anywidget is there; importing this module needs it not."""
    try:
        # by name, since type checkers and most users do without the two
        anywidget: Any = import_module("anywidget")
        traitlets: Any = import_module("traitlets")
    except ModuleNotFoundError as error:
        raise UsageError(
            f"Widgets need {error.name}, which is not installed. "
            "Run `pip install redrop[notebook]`."
        ) from error

    class LabWidget(anywidget.AnyWidget):
        """A panel of the lab.

        Args:
            view: "activations", "attention" or "block".
            state: What the page's address would say: p, seed, step, text, layer, head, …

        Attributes:
            hash: The state as in the page's address; panel and attribute follow each other.
        """

        _esm = module()
        _css = style()
        view = traitlets.Unicode("activations").tag(sync=True)
        hash = traitlets.Unicode("").tag(sync=True)
        _models = traitlets.Unicode("[]").tag(sync=True)

        def __init__(self, view: str = "activations", **state: Any) -> None:
            if view not in VIEWS:
                raise UsageError(f"`view` must be one of {', '.join(VIEWS)}; got {view!r}.")
            models = json.dumps(embedded_models()) if view == "attention" else "[]"
            super().__init__(view=view, hash=to_hash(state), _models=models)

        @property
        def state(self) -> dict[str, str]:
            """What differs from the panel's defaults."""
            return from_hash(self.hash)

    globals()["LabWidget"] = LabWidget
    return LabWidget
