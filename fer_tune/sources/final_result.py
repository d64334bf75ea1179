"""What a final fit leaves: its evaluation on test, its calibration, and files that say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from fer_tune.errors import TrainingError
from fer_tune.job import EpochRow, Part, Tta, Value
from fer_tune.sources.calibrate import Calibration, calibrate, read_calibration
from fer_tune.sources.evaluate import PREDICTIONS, Tested, TestScores, on_validation, open_test
from fer_tune.sources.final_files import write_files
from fer_tune.sources.final_job import PARTS
from fer_tune.store import JobRecord, Store, StudyRecord
from fer_tune.store.openings import Opening, Openings
from fer_tune.study.usual_fits import METRICS

if TYPE_CHECKING:
    from fer_tune.train.export import Predictor

PURPOSE = "final fit"
"""The purpose of an opening, as the ledgers record it."""


@dataclass(frozen=True)
class FinalFit:
    """The result of a final fit.

    Attributes:
        job: uid of the job.
        trial: number of the trial whose configuration was trained.
        folder: holds `model.safetensors`, `config.json`, `metrics.json`, `epochs.json` and, if it
            was calibrated, `calibration.json`; if test was opened, also `confusion.json`,
            `confusion.png`, `report.json` and `predictions.npz`.
        params: hyperparameters by name, including the changes.
        changes: hyperparameters that replaced the trial's.
        classes: names of the data's classes.
        on: the part of the data that it was trained on.
        epochs, schedule: number of trained epochs, and of epochs of the learning-rate schedule.
        rows: one for each epoch. Validation figures are nan, unless it was trained on the training
            part alone.
        images: number of images that were trained on.
        parameters: number of trainable parameters.
        seconds: duration of the training.
        calibration: None without stored predictions for validation images.
        validated: scores on validation by kind of test-time augmentation. Empty for a fit that was
            trained on validation images.
        tested: scores on test; None if test was not opened.
    """

    study: str
    job: str
    trial: int
    folder: Path
    params: dict[str, Value]
    changes: dict[str, Value]
    classes: tuple[str, ...]
    seed: int
    on: Part
    epochs: int
    schedule: int
    rows: tuple[EpochRow, ...]
    images: int
    parameters: int
    seconds: float
    calibration: Calibration | None
    tested: Tested | None
    validated: dict[Tta, TestScores] = field(default_factory=dict)

    @property
    def plain(self) -> TestScores:
        """Scores on test of the network's predictions."""
        return self.scores("none")

    @property
    def flip(self) -> TestScores:
        """Scores of its predictions averaged over each image and its mirror image."""
        return self.scores("flip")

    def scores(self, tta: Tta) -> TestScores:
        """Returns the scores on test with a kind of test-time augmentation.

        Raises:
            TrainingError: test was not opened.
        """
        if self.tested is None:
            raise TrainingError(f"The final fit {self.job} was not tested.", "Leave --no-test out to open test.")
        return self.tested.views[tta]

    @property
    def openings(self) -> int:
        """How often test images of this split have been opened, including this time."""
        return len(self.tested.ledger) if self.tested else 0

    @property
    def ledger(self) -> tuple[Opening, ...]:
        """The openings of the split up to this one, the oldest first."""
        return self.tested.ledger if self.tested else ()

    @property
    def figure(self) -> float:
        """What ranks fits of one request: accuracy on test, else on validation, else the negative
        training loss."""
        last = self.rows[-1]
        if self.tested is not None:
            return self.plain.scores.accuracy
        return -last.train_loss if isnan(last.val_accuracy) else last.val_accuracy


def nearest_to_median(fits: Sequence[FinalFit]) -> FinalFit:
    """Returns the fit whose figure is nearest the median: the one to keep, as no seed is better.

    The best one would be best by luck, and its figure on test would not be honest any more. Of two
    fits that are equally near, it is the one with the lower seed.
    """
    figures = sorted(fit.figure for fit in fits)
    half = len(figures) // 2
    median = figures[half] if len(figures) % 2 else (figures[half - 1] + figures[half]) / 2
    return min(fits, key=lambda fit: (round(abs(fit.figure - median), 9), fit.seed))


def finish(
    store: Store,
    study: StudyRecord,
    job: JobRecord,
    folder: Path,
    device: str,
    *,
    views: Sequence[Tta] | None = ("none", "flip"),
    validated: Sequence[Tta] = (),
    keep: bool = False,
) -> FinalFit:
    """Calibrates a trained job and evaluates it on test. Writes files and records them.

    Args:
        folder: the job's folder, which holds its model.
        device: `cpu` or `cuda:N`.
        views: the kinds of test-time augmentation to evaluate; None does not open test.
        validated: those to evaluate on validation images, for a fit that was not trained on them.
        keep: whether a fit whose files are recorded keeps them, and its calibration. Its figures
            were measured with that.

    Raises:
        TrainingError: the job is not complete.
        DataError: the study's data or split is not in the cache any more.
        StorageError: the model cannot be read, or the files cannot be written.
    """
    from fer_tune.train.export import Predictor

    if job.state != "complete":
        raise TrainingError(*_failure(job))
    rows = store.epochs.curve(study.name, job.uid)
    counts = study.split.counts
    attempts = store.jobs.attempts(study.name, job.uid)
    kept = keep and METRICS in {file.kind for file in store.artifacts.of(study.name, job.uid)}
    calibration = read_calibration(folder) if kept else calibrate(store, study, job, folder)
    model = Predictor.load(folder, device) if validated or views is not None else None
    on_val = on_validation(model, study.data_ref(store.root), validated) if model and validated else {}
    tested = None if model is None or views is None else _test(store, study, job, model, folder=folder, views=views)
    fit = FinalFit(
        study=study.name,
        job=job.uid,
        trial=int(job.origin["trial"]),
        folder=folder,
        params=job.params,
        changes=dict(job.origin.get("changes", {})),
        classes=study.data_spec.classes,
        seed=job.seed,
        on=job.fit,
        epochs=len(rows),
        schedule=job.schedule,
        rows=tuple(rows),
        images=sum(counts.get(part, 0) for part in PARTS[job.fit]),
        parameters=max((attempt.parameters for attempt in attempts), default=0),
        seconds=sum(row.seconds for row in rows),
        calibration=calibration,
        tested=tested,
        validated=on_val,
    )
    if not kept:
        for kind, path in write_files(fit).items():  # the metrics come last: if they are recorded, all else is
            store.artifacts.add(study.name, job.uid, kind, path)
    return fit


def _test(
    store: Store, study: StudyRecord, job: JobRecord, model: Predictor, *, folder: Path, views: Sequence[Tta]
) -> Tested:
    """Opens test for a final fit, recorded in the database's ledger and in the folder's."""
    store.ledger.open_test(study.name, job.uid, study.split.hash, PURPOSE)
    return open_test(
        model,
        study.data_ref(store.root),
        Openings(store.root),
        id=job.uid,
        purpose=PURPOSE,
        name=job.uid,
        study=study.name,
        views=views,
        database=store.ledger.of_split(study.split.hash),
        predictions=folder / PREDICTIONS,
    )


def _failure(job: JobRecord) -> tuple[str, str]:
    hint = "`fer-tune retrain` trains it again."
    if "not finite" in job.reason:
        hint = "A smaller learning rate may help: `--set lr=...`."
    elif "memory" in job.reason:
        hint = "A smaller width may help: `--set width=...`."
    return f"The final fit {job.uid} of {job.study} {job.state}: {job.reason}", hint
