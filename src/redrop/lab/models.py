"""The models whose attention the page shows: a description each, and where the weights lie."""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redrop.errors import UsageError

SHIPPED = Path(__file__).parent / "weights"
STATE, WEIGHTS = "state.json", "weights.safetensors"
LARGEST_WEIGHTS = 16 * 1024 * 1024
"""Bytes of a model that a browser computes with while somebody drags a slider."""
TITLES = {
    "little-english": "Little English, trained without dropout",
    "little-english-dropout": "Little English, trained with attention dropout",
}


def shipped_models() -> list[dict[str, Any]]:
    """Return the entries of the models that come with the package.

    >>> [entry["name"] for entry in shipped_models()]
    ['little-english', 'little-english-dropout']
    """
    entries = []
    for name, title in TITLES.items():
        about = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
        about["tokenizer"] = {"kind": "word", "words": about.pop("words")}
        file = f"models/{name}.safetensors"
        entries.append({"name": name, "title": title, "about": about, "file": file})
    return entries


def embedded_models() -> list[dict[str, Any]]:
    """Return the shipped models with their weights in base64, for a page without a server."""
    entries = []
    for entry in shipped_models():
        weights = (SHIPPED / f"{entry['name']}.safetensors").read_bytes()
        text = base64.b64encode(weights).decode("ascii")
        entries.append({**{k: v for k, v in entry.items() if k != "file"}, "weights": text})
    return entries


def run_models(studies: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Return an entry for every run of the studies whose weights the page can compute with."""
    entries = []
    for study, folder in studies.items():
        for run in sorted((folder / "checkpoints").glob("*")):
            state = _state(run)
            if state is None or not _is_computable(run, state):
                continue
            name = run_name(study, run)
            title = f"{run.name.rpartition('-')[0]}, step {state['step']}, of {study[:40]}"
            about = {
                "name": name,
                "config": state["model"],
                "run": {
                    "seed": state["train"]["seed"],
                    "step": state["step"],
                    "p": state["model"]["dropout"]["attention_weights"],
                },
            }
            files = {part: f"api/{part}?name={name}" for part in ("weights", "tokenizer")}
            entry = {"name": name, "title": title, "about": about}
            entries.append({**entry, "file": files["weights"], "tokenizer": files["tokenizer"]})
    return entries


def run_weights(studies: Mapping[str, Path], name: str) -> bytes:
    """Return the safetensors file of a run's last checkpoint.

    Raises:
        UsageError: No run of that name has weights.
    """
    return (_checkpoint(studies, name) / WEIGHTS).read_bytes()


def run_tokenizer(studies: Mapping[str, Path], name: str) -> dict[str, Any]:
    """Return the tokenizer of a run's last checkpoint, in the form that the page reads.

    Raises:
        UsageError: No run of that name has a tokenizer that the page knows.
    """
    state = _state(_checkpoint(studies, name).parent)
    stored = _tokenizer(state or {})
    if stored is None:
        raise UsageError(
            f"The page reads the tokenizers char, byte and bpe; {name[:80]!r} has none."
        )
    return _pieces(stored) if stored["kind"] == "bpe" else stored


def run_name(study: str, run: Path) -> str:
    """Return the name of a run's model on the page: its id, and a digest of its study's place."""
    place = hashlib.sha256(study.encode()).hexdigest()[:4]
    return f"run:{place}-{run.name.rpartition('-')[2]}"


def newest_checkpoint(run: Path) -> Path | None:
    """Return the newest complete checkpoint: what train.checkpoint chooses, without torch."""
    final = run / "final"
    if (final / STATE).is_file():
        return final
    steps = [folder for folder in run.glob("step-*") if (folder / STATE).is_file()]
    return max(steps, key=lambda folder: folder.name, default=None)


def _state(run: Path) -> dict[str, Any] | None:
    newest = newest_checkpoint(run)
    if newest is None:
        return None
    try:
        state = json.loads((newest / STATE).read_bytes())
    except (
        OSError,
        ValueError,
    ):  # removed or half gone while a run goes on: the next look finds it
        return None
    return state if isinstance(state, dict) else None


def _checkpoint(studies: Mapping[str, Path], name: str) -> Path:
    for study, folder in studies.items():
        for run in (folder / "checkpoints").glob("*"):
            newest = newest_checkpoint(run)
            if run_name(study, run) == name and newest is not None:
                return newest
    raise UsageError(f"A model is named by a run that has a checkpoint; {name[:80]!r} is none.")


def _is_computable(run: Path, state: Mapping[str, Any]) -> bool:
    """Return whether the page knows network and tokenizer and can hold the weights."""
    newest = newest_checkpoint(run)
    try:
        size = (newest / WEIGHTS).stat().st_size if newest else 0
    except OSError:
        return False
    # A network of another kind has no vocabulary; tied embeddings lack the output layer's weights.
    model = state.get("model", {})
    is_known = {"vocab_size", "width", "heads"} <= model.keys() and not model.get("tie_embeddings")
    return is_known and _tokenizer(state) is not None and 0 < size <= LARGEST_WEIGHTS


def _tokenizer(state: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        stored = json.loads(state["tokenizer"])
        return stored if stored["kind"] in ("char", "byte", "bpe") else None
    except (KeyError, TypeError, ValueError):
        return None


def _pieces(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what encodes by a trained byte-level BPE: its pieces by id, its merges by rank.

    Hugging Face `tokenizers` writes a merge as a pair, and before version 0.20 as "left right".
    """
    model = json.loads(stored["model"])["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
    return {"kind": "bpe", "pieces": pieces, "merges": [list(pair) for pair in pairs]}
