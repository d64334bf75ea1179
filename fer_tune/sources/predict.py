"""Predictions for images of any kind, and what is written of them."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_tune.data.containers import printable
from fer_tune.data.faces import Faces
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.data.pictures import expanded, read_pictures
from fer_tune.errors import DataError, SettingsError
from fer_tune.files import probe_file, replace_text
from fer_tune.job import Tta
from fer_tune.pool.devices import choose_device
from fer_tune.sources.results_folder import refuse_model_file


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
    from fer_tune.report.contact_sheet import refuse_many, write_sheet
    from fer_tune.train.ensemble import load_any

    model = load_any(folder, choose_device())
    _check_targets([path for path in (submission, sheet) if path is not None], folder, images)
    if sheet is not None:
        refuse_many(len(expanded(images)))  # a table has at least one image
    found = read_pictures(images, model.spec.side, model.spec.channels, faces)
    for text in found.notes:
        note(text)
    if submission is not None:
        _refuse_repeated(found.names)
    if sheet is not None:
        refuse_many(len(found.names))
    rows = model.predict(found.images, tta).tolist()
    ranked = [sorted(zip(row, model.spec.classes, strict=True), reverse=True) for row in rows]
    predictions = [
        Prediction(name, {label: probability for probability, label in row})
        for name, row in zip(found.names, ranked, strict=True)
    ]
    if submission is not None:
        _write_submission(submission, predictions, model.spec.classes)
    if sheet is not None:
        captions = [
            (f"{one.label} {100 * max(one.probabilities.values()):.0f} %", Path(one.image).name) for one in predictions
        ]
        write_sheet(sheet, found.images, captions)
    return predictions


def _check_targets(targets: Sequence[Path], folder: Path, images: Sequence[Path]) -> None:
    """Checks the files to write before the work: they can be written, and replace nothing needed.

    Raises:
        SettingsError: one is an image to predict, or is in the model's folder, or both are one.
        DataError: an image does not exist.
        StorageError: one cannot be written.
    """
    places = [path.resolve() for path in targets]
    if len(set(places)) < len(places):
        raise SettingsError(f"{targets[0]} cannot be the submission and the sheet.", "Name two files.")
    inputs = {path.resolve() for path in expanded(images)} if targets else set()
    for path, place in zip(targets, places, strict=True):
        if place in inputs:
            raise SettingsError(f"{path} is one of the images to predict, and would be replaced.", "Name another file.")
        refuse_model_file(path, folder)
    for path in targets:
        probe_file(path)


def _refuse_repeated(names: Sequence[str]) -> None:
    """Raises DataError if an id comes twice: a submission has one row for each."""
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{count} images have the id {printable(name)}, and a submission takes each id once.",
            "Give each row its own `id`, or predict the files one by one.",
        )


def _write_submission(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Writes `id,emotion`. The emotions of FER2013 are numbers, other classes are names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "emotion"))
    for one in predictions:
        writer.writerow((one.image, EMOTIONS.index(one.label) if tuple(classes) == EMOTIONS else one.label))
    replace_text(path, text.getvalue())
