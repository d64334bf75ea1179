"""Predictions for images of any kind, and what is written of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_tune.data.faces import Faces
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.data.pictures import read_pictures
from fer_tune.files import replace_text
from fer_tune.job import Tta
from fer_tune.pool.devices import choose_devices


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Attributes:
        image: its file, or the `id` of its row in a CSV file.
        probabilities: of each class, by name, the most probable first.
    """

    image: str
    probabilities: dict[str, float]

    @property
    def label(self) -> str:
        """The most probable class."""
        return next(iter(self.probabilities))


def predict_images(
    folder: Path,
    images: Sequence[Path],
    *,
    tta: Tta = "none",
    faces: Faces = "auto",
    submission: Path | None = None,
    sheet: Path | None = None,
    note: Callable[[str], object] = lambda text: None,
) -> list[Prediction]:
    """Returns what a model or an ensemble says of each image. `api.predict` has the arguments."""
    from fer_tune.train.ensemble import load_any

    model = load_any(folder, choose_devices(None, 1)[0])
    found = read_pictures(images, model.spec.side, model.spec.channels, faces)
    for text in found.notes:
        note(text)
    rows = model.predict(found.images, tta).tolist()
    ranked = [sorted(zip(row, model.spec.classes, strict=True), reverse=True) for row in rows]
    predictions = [
        Prediction(name, {label: probability for probability, label in row})
        for name, row in zip(found.names, ranked, strict=True)
    ]
    if submission is not None:
        _write_submission(submission, predictions, model.spec.classes)
    if sheet is not None:
        from fer_tune.report.contact_sheet import write_sheet

        captions = [
            (f"{one.label} {100 * max(one.probabilities.values()):.0f} %", Path(one.image).name) for one in predictions
        ]
        write_sheet(sheet, found.images, captions)
    return predictions


def _write_submission(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Writes `id,emotion`. The emotions of FER2013 are numbers, other classes are names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "emotion"))
    for one in predictions:
        writer.writerow((one.image, EMOTIONS.index(one.label) if tuple(classes) == EMOTIONS else one.label))
    replace_text(path, text.getvalue())
