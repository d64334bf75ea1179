"""The evaluation of models on test. Only this module opens the test images of a split.

It enters each opening in the ledger before it opens the images. So a reader of a test figure can
see how often the test images of that split were opened before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fer_tune.data.access import open_search
from fer_tune.job import Tta
from fer_tune.selection.calibration import calibration_error
from fer_tune.selection.statistics import standard_error
from fer_tune.store.openings import Opening, Openings

if TYPE_CHECKING:
    from fer_tune.data.spec import DataRef, DataSpec
    from fer_tune.store import LedgerRecord
    from fer_tune.train.metrics import Scores

VIEW_NAMES: dict[Tta, str] = {"none": "plain", "flip": "flip", "crops": "crops"}
"""What files call the kinds of test-time augmentation."""

PREDICTIONS = "predictions.npz"
"""File of the predictions for the test images.

It holds int64 `index` (position in the data set) and `label` [T], and the probabilities of each
view, such as `plain` and `flip`, float32 [T, C].
"""


class Model(Protocol):
    """A trained network, or an ensemble of them."""

    @property
    def spec(self) -> DataSpec:
        """What the images are that it takes."""
        ...

    def predict(self, images: Any, tta: Tta = "none") -> Any:
        """Returns probabilities, [N, classes], of uint8 images."""
        ...


@dataclass(frozen=True)
class TestScores:
    """What was measured on labelled images.

    Attributes:
        scores: accuracy, macro-F1, balanced accuracy and recall.
        error: standard error of the accuracy p of n images, sqrt(p (1 - p) / n); nan without any.
        confusion: counts of images, C rows of true classes and C columns of predicted ones.
        calibration_error: expected calibration error of the probabilities.
    """

    __test__ = False  # tells pytest that this is not a test class, despite its name

    scores: Scores
    error: float
    confusion: list[list[int]]
    calibration_error: float

    def figures(self) -> dict[str, float | None]:
        """Returns the figures as files have them: None without any image, as JSON has no nan."""
        known = {
            "accuracy": self.scores.accuracy,
            "accuracy_standard_error": self.error,
            "macro_f1": self.scores.macro_f1,
            "balanced_accuracy": self.scores.balanced_accuracy,
            "calibration_error": self.calibration_error,
        }
        return {name: None if math.isnan(value) else value for name, value in known.items()}


@dataclass(frozen=True)
class Tested:
    """The result of an opening.

    Attributes:
        views: the scores by kind of test-time augmentation.
        ledger: all openings of the split up to this one, the oldest first.
        images: number of test images.
        beside: the scores of another model, which was evaluated in the same opening.
        predicted: the probabilities by kind of test-time augmentation, [T, C].
    """

    views: dict[Tta, TestScores]
    ledger: tuple[Opening, ...]
    images: int
    beside: dict[Tta, TestScores] = field(default_factory=dict)
    predicted: dict[Tta, Any] = field(default_factory=dict, compare=False, repr=False)


def scored(labels: Any, probabilities: Any, classes: int) -> TestScores:
    """Returns the scores of probabilities [N, C] of images with these labels [N]."""
    import numpy as np

    from fer_tune.train.metrics import scores

    counts = np.bincount(classes * labels.astype(np.int64) + probabilities.argmax(1), minlength=classes * classes)
    matrix: list[list[int]] = counts.reshape(classes, classes).tolist()
    found = scores([[float(count) for count in row] for row in matrix])
    error = standard_error(found.accuracy, len(labels))
    return TestScores(found, math.nan if error is None else error, matrix, calibration_error(probabilities, labels))


def on_validation(model: Model, data: DataRef, views: Sequence[Tta]) -> dict[Tta, TestScores]:
    """Returns the scores of a model on validation images, by kind of test-time augmentation.

    Such a figure may choose between them, because test is not opened for it.

    Raises:
        DataError: the data or the split is not in the cache any more.
    """
    opened = open_search(data)
    images, labels = opened.images[opened.val], opened.labels[opened.val]
    return {view: scored(labels, model.predict(images, view), len(model.spec.classes)) for view in views}


def places_of_test(data: DataRef) -> Any:
    """Returns the positions of the test images of a split in the data set. It opens no image.

    Raises:
        DataError: the data or the split is not in the cache any more.
    """
    from fer_tune.data.access import open_final

    return open_final(data).test


def write_predictions(path: Path, places: Any, labels: Any, predicted: Mapping[Tta, Any]) -> None:
    """Writes predictions for images at some positions of a data set, as `PREDICTIONS` says.

    Raises:
        StorageError: the file cannot be written.
    """
    import numpy as np

    from fer_tune.files import replace_file

    arrays: dict[str, Any] = {VIEW_NAMES[view]: some for view, some in predicted.items()}
    arrays |= {"index": places, "label": labels}
    replace_file(path, lambda stream: np.savez_compressed(stream, **arrays))


def open_test(
    model: Model,
    data: DataRef,
    openings: Openings,
    *,
    id: str,
    purpose: str,
    name: str,
    study: str = "",
    views: Sequence[Tta] = ("none", "flip"),
    database: Sequence[LedgerRecord] = (),
    predictions: Path | None = None,
    beside: Model | None = None,
) -> Tested:
    """Opens the test images of a split, and returns the scores of a model.

    It can write the predictions to a file. So nobody has to open test again to see which images
    were mistaken. The result is in the ledger before.

    Args:
        id, purpose, name, study: see `store.openings.Opening`; `name` is its `model`. A second call
            with an id counts as the same opening.
        views: the kinds of test-time augmentation to evaluate.
        database: openings of the split that the database knows.
        predictions: the file to write, or None.
        beside: another model to evaluate in the same opening.

    Raises:
        DataError: the data or the split is not in the cache any more.
        StorageError: a file cannot be written.
    """
    from fer_tune.data.access import open_final

    opened = open_final(data)  # reads no image yet: a split that is not there is no opening
    entry = openings.open(id, data.split_hash, purpose=purpose, model=name, study=study)
    images, labels = opened.images[opened.test], opened.labels[opened.test]
    found = {view: model.predict(images, view) for view in views}
    classes = len(model.spec.classes)
    scores = {view: scored(labels, some, classes) for view, some in found.items()}
    others = {view: scored(labels, beside.predict(images, view), classes) for view in views} if beside else {}
    openings.result(id, {VIEW_NAMES[view]: one.scores.accuracy for view, one in scores.items()})
    if predictions is not None:
        write_predictions(predictions, opened.test, labels, found)
    known = openings.of_split(data.split_hash, list(database))
    before = tuple(one for one in known if one.id == id or one.opened <= entry.opened)
    return Tested(scores, before, len(labels), others, found)
