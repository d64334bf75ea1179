"""The folder with the results of an evaluation."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from fer_tune.errors import SettingsError
from fer_tune.sources.evaluate import PREDICTIONS

METRICS = "metrics.json"


def read_metrics(folder: Path) -> dict[str, Any]:
    """Returns the figures that a folder has; none if there is no such file, or it is damaged."""
    try:
        known = json.loads((folder / METRICS).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def results_of(model: Path) -> Path:
    """Returns a folder for the figures of a model, which is not the model's own."""
    return Path("results") / (model.resolve().name or "model")


def refuse_model(out: Path) -> None:
    """Raises an error if a folder is none, or has a model or an ensemble in it, whose files would
    be replaced."""
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is not a folder.", "--out takes a folder, which is made if it is missing.")
    if any((out / name).exists() for name in ("model.safetensors", "config.json", "ensemble.json")):
        raise SettingsError(
            f"{out} has a model in it, and the figures of an evaluation would replace files of the model.",
            f"Name another folder: `--out {shlex.quote(str(results_of(out)))}`.",
        )


def refuse_model_file(path: Path, folder: Path, but: str = "") -> None:
    """Raises an error if a file to write is in the folder of a model, whose files it could replace.

    Args:
        but: a suffix such as `.onnx`. The files of a model do not end so, and it is allowed.

    Raises:
        SettingsError: the file is in the folder.
    """
    if path.resolve().is_relative_to(folder.resolve()) and not (but and path.suffix.lower() == but):
        also = f", or a name that ends in {but}" if but else ""
        raise SettingsError(
            f"{path} is in the folder of the model, whose files are the model's alone.",
            f"Name a file in another folder{also}.",
        )


def claim(out: Path, about: dict[str, str]) -> None:
    """Makes a folder for results, before an opening is spent on them.

    Args:
        about: the model, the source and the part, as `metrics.json` names them.

    Raises:
        SettingsError: the folder has results of something else.
        StorageError: it cannot be written.
    """
    from fer_tune.files import probe_file

    for name in (PREDICTIONS, METRICS):
        probe_file(out / name)
    if not (out / METRICS).exists():
        return
    known = {"source": None} | read_metrics(out)  # no evaluation wrote a file without a source
    # Files of earlier versions do not name the model.
    if any(known.get(key, value) != value for key, value in about.items()):
        named = [f"{key} {known[key]}" for key in about if known.get(key)]
        shown = f" ({', '.join(named)})" if named else ""
        raise SettingsError(
            f"{out} has other results{shown}, and this evaluation would replace them.",
            f"Name another folder with `--out`, or remove {out / METRICS} first.",
        )
