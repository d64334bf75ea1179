"""The evaluation of final fits on test. Only this module opens test images.

It enters each opening in the ledger before it opens the images. So a reader of a test figure can
see how often the test images of that split were opened before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.errors import TrainingError
from fer_tune.job import EpochRow, Value
from fer_tune.selection.statistics import standard_error
from fer_tune.store import JobRecord, Store, StudyRecord

if TYPE_CHECKING:
    from fer_tune.train.metrics import Scores

PURPOSE = "final fit"
"""The purpose of an opening, as the ledger records it."""

PREDICTIONS = "predictions.npz"
"""File of the predictions for the test images.

It holds int64 `index` (position in the data set) and `label` [T], and the probabilities `plain` and
`flip`, float32 [T, C].
"""


@dataclass(frozen=True)
class TestScores:
    """What was measured on test.

    Attributes:
        scores: accuracy, macro-F1, balanced accuracy and recall.
        error: standard error of the accuracy p of n images, sqrt(p (1 - p) / n).
        confusion: counts of images, C rows of true classes and C columns of predicted ones.
    """

    __test__ = False  # tells pytest that this is not a test class, despite its name

    scores: Scores
    error: float
    confusion: list[list[int]]


@dataclass(frozen=True)
class FinalFit:
    """The result of a final fit.

    Attributes:
        job: uid of the job.
        trial: number of the trial whose configuration was trained.
        folder: holds `model.safetensors`, `config.json`, `metrics.json`, `epochs.json`,
            `confusion.json`, `confusion.png`, `report.json`, `predictions.npz`.
        params: hyperparameters by name, including the changes.
        changes: hyperparameters that replaced the trial's.
        classes: names of the data's classes.
        epochs, schedule: number of trained epochs, and of epochs of the learning-rate schedule.
        rows: one for each epoch. Validation figures are nan, because the fit trained on that part.
        images, test_images: number of images that were trained on, and that were evaluated.
        parameters: number of trainable parameters.
        seconds: duration of the training.
        plain: scores of the network's predictions.
        flip: scores of its predictions averaged over each image and its mirror image.
        openings: how often test images of this split have been opened, including this time.
    """

    study: str
    job: str
    trial: int
    folder: Path
    params: dict[str, Value]
    changes: dict[str, Value]
    classes: tuple[str, ...]
    seed: int
    epochs: int
    schedule: int
    rows: tuple[EpochRow, ...]
    images: int
    test_images: int
    parameters: int
    seconds: float
    plain: TestScores
    flip: TestScores
    openings: int


def evaluate(store: Store, study: StudyRecord, job: JobRecord, folder: Path, device: str) -> FinalFit:
    """Evaluates a trained job on test. Writes the results to files and records these as artifacts.

    Args:
        folder: the job's folder, which holds its model.
        device: `cpu` or `cuda:N`.

    Raises:
        TrainingError: the job is not complete.
        DataError: the study's data or split is not in the cache any more.
        StorageError: the model cannot be read, or the files cannot be written.
    """
    if job.state != "complete":
        raise TrainingError(*_failure(job))
    rows = store.epochs.curve(study.name, job.uid)
    entry = store.ledger.open_test(study.name, job.uid, study.split.hash, PURPOSE)
    counts = study.split.counts
    parameters = max((attempt.parameters for attempt in store.jobs.attempts(study.name, job.uid)), default=0)
    plain, flip = _open_test(study, store.root, folder, device)
    fit = FinalFit(
        study=study.name,
        job=job.uid,
        trial=int(job.origin["trial"]),
        folder=folder,
        params=job.params,
        changes=dict(job.origin.get("changes", {})),
        classes=study.data_spec.classes,
        seed=job.seed,
        epochs=len(rows),
        schedule=job.schedule,
        rows=tuple(rows),
        images=counts.get("train", 0) + counts.get("val", 0),
        test_images=sum(map(sum, plain.confusion)),
        parameters=parameters,
        seconds=sum(row.seconds for row in rows),
        plain=plain,
        flip=flip,
        openings=sum(opening.id <= entry for opening in store.ledger.of_split(study.split.hash)),
    )
    for kind, path in _write(fit).items():  # the metrics come last: if they are recorded, all else is
        store.artifacts.add(study.name, job.uid, kind, path)
    return fit


def _failure(job: JobRecord) -> tuple[str, str]:
    hint = "`fer-tune retrain` trains it again."
    if "not finite" in job.reason:
        hint = "A smaller learning rate may help: `--set lr=...`."
    elif "memory" in job.reason:
        hint = "A smaller width may help: `--set width=...`."
    return f"The final fit {job.uid} of {job.study} {job.state}: {job.reason}", hint


def _open_test(study: StudyRecord, root: Path, folder: Path, device: str) -> tuple[TestScores, TestScores]:
    """Opens test, and returns the plain and the flip-averaged scores of the job's saved model.

    It writes the predictions to a file. So nobody has to open test again to see which images were
    mistaken.
    """
    import numpy as np

    from fer_tune.data.access import open_final
    from fer_tune.files import replace_file
    from fer_tune.train.export import Predictor

    data = open_final(study.data_ref(root))
    predictor = Predictor.load(folder, device)
    images, labels = data.images[data.test], data.labels[data.test]
    plain, flip = (predictor.predict(images, flip=flip) for flip in (False, True))
    replace_file(
        folder / PREDICTIONS,
        lambda stream: np.savez_compressed(stream, index=data.test, label=labels, plain=plain, flip=flip),
    )
    size = len(study.data_spec.classes)
    return _scores(labels, plain.argmax(1), size), _scores(labels, flip.argmax(1), size)


def _scores(labels: Any, predicted: Any, classes: int) -> TestScores:
    import numpy as np

    from fer_tune.train.metrics import scores

    counts = np.bincount(classes * labels.astype(np.int64) + predicted, minlength=classes * classes)
    matrix: list[list[int]] = counts.reshape(classes, classes).tolist()
    found = scores([[float(count) for count in row] for row in matrix])
    return TestScores(found, standard_error(found.accuracy, len(labels)) or 0.0, matrix)


def _write(fit: FinalFit) -> dict[str, Path]:
    """Writes what was measured. Returns the files by kind, the metrics last."""
    from fer_tune.files import replace_text
    from fer_tune.report.confusion import confusion_png

    texts: dict[str, Any] = {
        "epochs": [_plain(row) for row in fit.rows],
        "confusion": {"classes": list(fit.classes), "plain": fit.plain.confusion, "flip": fit.flip.confusion},
        "report": {
            "plain": class_report(fit.classes, fit.plain.confusion),
            "flip": class_report(fit.classes, fit.flip.confusion),
        },
        "metrics": {
            "study": fit.study,
            "job": fit.job,
            "trial": fit.trial,
            "params": fit.params,
            "changes": fit.changes,
            "seed": fit.seed,
            "epochs": fit.epochs,
            "schedule": fit.schedule,
            "images": fit.images,
            "test_images": fit.test_images,
            "parameters": fit.parameters,
            "seconds": round(fit.seconds, 3),
            "test_openings": fit.openings,
            "test": {"plain": _figures(fit.plain), "flip": _figures(fit.flip)},
        },
    }
    title = f"{fit.study}, trial {fit.trial}: {fit.plain.scores.accuracy:.2%} of {fit.test_images} on test"
    picture = confusion_png(fit.plain.confusion, fit.classes, fit.folder / "confusion.png", title)
    files = {"predictions": fit.folder / PREDICTIONS, "confusion_png": picture}
    for kind, content in texts.items():
        files[kind] = fit.folder / f"{kind}.json"
        replace_text(files[kind], json.dumps(content, indent=2) + "\n")
    return files


def _plain(row: EpochRow) -> dict[str, Any]:
    """Returns a row for JSON, with None in place of nan."""
    values = asdict(row) | {"recall": [None if isnan(value) else value for value in row.recall]}
    return {key: None if isinstance(value, float) and isnan(value) else value for key, value in values.items()}


def _figures(measured: TestScores) -> dict[str, float]:
    return {
        "accuracy": measured.scores.accuracy,
        "accuracy_standard_error": measured.error,
        "macro_f1": measured.scores.macro_f1,
        "balanced_accuracy": measured.scores.balanced_accuracy,
    }


def class_report(classes: Sequence[str], confusion: list[list[int]]) -> dict[str, dict[str, float]]:
    """Returns precision, recall, F1 and support for each class.

    Args:
        classes: C names.
        confusion: counts of images, C rows of true classes and C columns of predicted ones.

    Returns:
        The figures by class name. A fraction whose divisor is 0 is 0.
    """
    report = {}
    for index, name in enumerate(classes):
        right = confusion[index][index]
        true, predicted = sum(confusion[index]), sum(row[index] for row in confusion)
        report[name] = {
            "precision": right / predicted if predicted else 0.0,
            "recall": right / true if true else 0.0,
            "f1": 2 * right / (true + predicted) if true + predicted else 0.0,
            "support": true,
        }
    return report
