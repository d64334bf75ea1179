"""The latest final fit of a study: test scores, worst mistakes, the command that repeats it."""

from __future__ import annotations

import base64
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fer_tune.data import cache
from fer_tune.data.spec import DataRef
from fer_tune.errors import DataError
from fer_tune.job import Value
from fer_tune.store import ArtifactRecord, Store, StudyRecord
from fer_tune.study.usual_fits import unusual
from fer_tune.sweep.space import show

SHOWN = 16
"""How many mistakes a report shows."""


@dataclass(frozen=True)
class Mistake:
    """A test image that the model mistook.

    Attributes:
        true, predicted: names of classes.
        confidence, chance: the probability that the model gave to `predicted` and to `true`.
        picture: the image, as a `data:` address of a PNG file.
    """

    true: str
    predicted: str
    confidence: float
    chance: float
    picture: str


@dataclass(frozen=True)
class ReportedFit:
    """A final fit.

    Attributes:
        metrics: the content of its `metrics.json`.
        confusion: counts on test, a row for each true class and a column for each predicted one.
        mistakes: its most confident mistakes, the worst first.
        unusual: how it differs from a usual fit of its trial, in words; empty for a usual one.
    """

    metrics: dict[str, Any]
    confusion: list[list[int]]
    mistakes: list[Mistake] = field(default_factory=list)
    unusual: str = ""

    @property
    def recall(self) -> list[float]:
        """The recall of each class on test; nan for a class without images."""
        return [row[i] / sum(row) if sum(row) else math.nan for i, row in enumerate(self.confusion)]

    def command(self, study: str, trial: Mapping[str, Value], seed: int) -> str:
        """Returns the command that repeats the fit.

        Args:
            trial: the hyperparameters of the trial that it started from. What differs was changed
                with `--set`.
            seed: the study's. A fit under a later seed needs the fits before it.
        """
        epochs = self.metrics["epochs"]
        schedule = self.metrics.get("schedule", epochs)
        words = ["fer-tune", "retrain", "--study", study, "--trial", str(self.metrics["trial"])]
        words += ["--epochs", str(schedule)]
        on = self.metrics.get("on", "train+val")
        words += [] if on == "train+val" else ["--on", on]
        words += ["--until", "end"] if epochs == schedule else []
        later = self.metrics.get("seed", seed) - seed
        words += ["--seeds", str(later + 1)] if later > 0 else []
        for name, value in self.metrics.get("params", {}).items():
            if name not in trial or trial[name] != value:
                words += ["--set", f"{name}={show(value)}"]
        return shlex.join(words)


def read_final_fit(store: Store, record: StudyRecord, best: int | None = None) -> ReportedFit | None:
    """Returns the latest final fit that was tested and whose files exist, or None.

    Usual fits are preferred to others (see `study.usual_fits`).

    Args:
        best: the best trial. Its fits are preferred to those of other trials, usual or not.
    """
    finals = {job.uid for job in store.jobs.of(record.name, "final")}
    by_job: dict[str, dict[str, ArtifactRecord]] = {}
    for file in store.artifacts.of(record.name):
        if file.job in finals:
            by_job.setdefault(file.job, {})[file.kind] = file
    read = {uid: found for uid, files in by_job.items() if (found := _figures(store, files)) is not None}
    if not read:
        return None
    others = {uid: _unusual(record, metrics) for uid, (metrics, _) in read.items()}
    latest = sorted(read, key=lambda uid: (read[uid][0].get("trial") == best, not others[uid]))[-1]
    predictions = by_job[latest].get("predictions")
    data, classes = record.data_ref(store.root), record.data_spec.classes
    mistakes = worst_mistakes(store.artifacts.path(predictions), data, classes) if predictions else []
    metrics, confusion = read[latest]
    return ReportedFit(metrics, confusion["plain"], mistakes, others[latest])


def _unusual(record: StudyRecord, metrics: Mapping[str, Any]) -> str:
    """Returns how a fit differs from a usual one, in words; empty for a usual one."""
    on, changes = metrics.get("on", "train+val"), metrics.get("changes", {})
    schedule = metrics.get("schedule", metrics["epochs"])
    return ", ".join(unusual(record, on=on, changes=changes, schedule=schedule))


def _figures(store: Store, files: Mapping[str, ArtifactRecord]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Returns a fit's metrics and its confusion matrices; None if it was not tested."""
    try:
        metrics, confusion = (
            json.loads(store.artifacts.path(files[kind]).read_text("utf-8")) for kind in ("metrics", "confusion")
        )
    except (KeyError, OSError, ValueError):
        return None
    return metrics, confusion


def worst_mistakes(predictions: Path, data: DataRef, classes: Sequence[str]) -> list[Mistake]:
    """Returns the most confident mistakes, the worst first; none if files are gone."""
    try:
        with np.load(predictions, allow_pickle=False) as file:
            index, label, plain = file["index"], file["label"], file["plain"]
        images = cache.read(data.cache, data.signature).images
    except (OSError, ValueError, KeyError, DataError):
        return []
    predicted = plain.argmax(1)
    confidence = np.where(predicted == label, 0.0, plain.max(1))
    order = [place for place in np.argsort(-confidence, kind="stable")[:SHOWN].tolist() if confidence[place] > 0]
    return [
        Mistake(
            true=classes[label[place]],
            predicted=classes[predicted[place]],
            confidence=float(confidence[place]),
            chance=float(plain[place, label[place]]),
            picture=_png(images[index[place]]),
        )
        for place in order
        if 0 <= index[place] < len(images)
    ]


def _png(image: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(np.asarray(image)).save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
