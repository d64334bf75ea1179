"""An ensemble of trained networks as a folder, and what reads a folder of either kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer_tune import __version__
from fer_tune.data.spec import DataSpec
from fer_tune.errors import DataError, StorageError
from fer_tune.files import replace_text, writing
from fer_tune.job import Tta
from fer_tune.train.export import CALIBRATION, Predictor

FILE = "ensemble.json"

FORMAT = 1
"""Version of `ensemble.json`."""

MOST = 1000
"""Members of an ensemble, at most."""

ENSEMBLE_FOLDER = "Give the folder that `fer-tune ensemble` printed. It holds ensemble.json and its members."
AGAIN = "Run `fer-tune ensemble` again."

PARTS = ("model.safetensors", "config.json", CALIBRATION)
"""Files of a member."""


def save_ensemble(folder: Path, members: Sequence[tuple[Path, int]], description: Mapping[str, Any]) -> None:
    """Writes the folder of an ensemble, with a copy of each member.

    Args:
        members: the folder and the weight of each member.
        description: where the ensemble came from, as JSON can hold it.

    Raises:
        StorageError: a file cannot be read or written.
    """
    entries = []
    for place, (source, weight) in enumerate(members):
        name = f"member-{place}"
        with writing(folder / name):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for part in PARTS:
                if (source / part).is_file():
                    shutil.copyfile(source / part, folder / name / part)
        entries.append({"folder": name, "weight": weight})
    content = {"format": FORMAT, "members": entries, "versions": {"fer_tune": __version__}, **description}
    replace_text(folder / FILE, json.dumps(content, indent=2) + "\n")


class Ensemble:
    """Trained networks whose probabilities are averaged.

    Attributes:
        members: the networks.
        weights: of their probabilities.
        description: the content of `ensemble.json`.
        spec: what the images are that it takes.
    """

    def __init__(self, members: Sequence[Predictor], weights: Sequence[float], description: Mapping[str, Any]) -> None:
        self.members, self.weights, self.description = list(members), list(weights), description
        self.spec: DataSpec = self.members[0].spec

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Ensemble:
        """Reads the folder of an ensemble.

        Raises:
            DataError: it is of another format, or its members take different images.
            StorageError: its files are damaged.
        """
        path = folder / FILE
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
            entries = [(str(entry["folder"]), float(entry["weight"])) for entry in description["members"][:MOST]]
            if description["format"] != FORMAT:
                raise DataError(f"{path} is not of format {FORMAT}.", ENSEMBLE_FOLDER)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise StorageError(f"{path} is damaged.", AGAIN) from error
        sound = [weight > 0 and name == Path(name).name and name not in ("", ".", "..") for name, weight in entries]
        if not entries or not all(sound):
            raise StorageError(f"{path} is damaged: it names no members, or a folder outside of it.", AGAIN)
        members = [_member(folder / name, device) for name, _ in entries]
        if len({member.spec for member in members}) > 1:
            raise DataError(f"The members of {folder} take different images.", ENSEMBLE_FOLDER)
        return cls(members, [weight for _, weight in entries], description)

    def predict(self, images: np.ndarray[Any, np.dtype[np.uint8]], tta: Tta = "none") -> np.ndarray[Any, Any]:
        """Returns probabilities, float32 [N, classes], of uint8 images [N, S, S] or [N, S, S, 3].

        Args:
            tta: the views of an image whose probabilities are averaged.
        """
        total = np.zeros((len(images), len(self.spec.classes)), np.float32)
        for member, weight in zip(self.members, self.weights, strict=True):
            total += weight * member.predict(images, tta)
        return total / sum(self.weights)


def _member(folder: Path, device: str) -> Predictor:
    """Reads a member of an ensemble.

    Its errors say what to do about the ensemble, because `fer-tune retrain` does not mend it.
    """
    try:
        return Predictor.load(folder, device)
    except (DataError, StorageError) as error:
        if "`fer-tune retrain`" not in error.hint:
            raise
        hint = "This member of the ensemble is missing, damaged or too old. Run `fer-tune ensemble` again."
        raise type(error)(error.message, hint) from error


def load_any(folder: Path, device: str = "cpu") -> Predictor | Ensemble:
    """Reads the folder of a model or of an ensemble.

    Raises:
        DataError: it has neither, or one of another format.
        StorageError: its files are damaged.
    """
    return Ensemble.load(folder, device) if (folder / FILE).is_file() else Predictor.load(folder, device)
