"""The calibration of a final fit by a temperature."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fer_tune.errors import StorageError
from fer_tune.files import replace_text
from fer_tune.selection.calibration import calibration_error, fit_temperature, needs_temperature, softmax
from fer_tune.sources.final_job import PARTS
from fer_tune.store import JobRecord, Store, StudyRecord
from fer_tune.study.predictions import Predictions

CLEARLY = 2.0
"""A network borrows no temperature from one whose schedule or training was longer or shorter by
more than this factor. A network that trains longer becomes surer of itself, right or wrong, and
needs another temperature."""


@dataclass(frozen=True)
class Calibration:
    """The temperature of a model, and what it changes on the images that it was fitted to.

    Attributes:
        temperature: divides the logits. It is 1 unless the images speak clearly against that.
        source: the job whose validation predictions it was fitted to: the fit itself, or one of the
            same configuration; see `alike`.
        before, after: expected calibration error of the source on validation.
        about: the source in words; empty if it is the fit itself.
    """

    temperature: float
    source: str
    before: float
    after: float
    about: str = ""


def calibrate(store: Store, study: StudyRecord, job: JobRecord, folder: Path) -> Calibration | None:
    """Fits a temperature to predictions for validation images, and writes it beside the model.

    A fit that was trained on validation images has none for them. `alike` says whose it borrows.

    Returns:
        The calibration, or None if no such predictions are stored.
    """
    from fer_tune.train.export import CALIBRATION

    source = Lender(job.uid, "") if job.fit == "train" else alike(store, study, job)
    predictions = Predictions(store, study)
    logits = predictions.logits(source.uid) if source else None
    if logits is None or source is None or predictions.labels is None:
        return None
    temperature = fit_temperature(logits, predictions.labels)
    if not needs_temperature(logits, predictions.labels, temperature):
        temperature = 1.0
    before, after = (calibration_error(softmax(logits, one), predictions.labels) for one in (1.0, temperature))
    found = Calibration(temperature, source.uid, before, after, source.about)
    replace_text(folder / CALIBRATION, json.dumps(asdict(found), indent=2) + "\n")
    return found


def read_calibration(folder: Path) -> Calibration | None:
    """Returns the calibration that is beside a model, or None if there is none.

    Raises:
        StorageError: the file is damaged.
    """
    from fer_tune.train.export import CALIBRATION

    path = folder / CALIBRATION
    try:
        return Calibration(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise StorageError(f"{path} is damaged: it is not a calibration.", "Run `fer-tune retrain` again.") from error


@dataclass(frozen=True)
class Lender:
    """A job whose predictions for validation images a temperature is fitted to.

    Attributes:
        uid: of the job.
        about: the job in words; empty if it is the fit itself.
    """

    uid: str
    about: str


def alike(store: Store, study: StudyRecord, job: JobRecord) -> Lender | None:
    """Returns a job of the same configuration that was trained on training images alone.

    Of the final fits with the same changes, and of the trial if nothing was changed, it is the one
    whose schedule is nearest, and then the one that was trained for nearest as long. With other
    hyperparameters the network of the trial says nothing. Nor does one of clearly another length.
    """
    trial, changes = job.origin["trial"], job.origin.get("changes", {})
    of_trial = store.jobs.find_trial(study.name, int(trial))
    known = [] if changes or of_trial is None else [of_trial]
    known += [
        one
        for one in store.jobs.of(study.name, "final")
        if (one.state, one.fit) == ("complete", "train")
        and (one.origin["trial"], one.origin.get("changes", {})) == (trial, changes)
    ]
    length = _length(study, job)
    near = [
        (one, epoch)
        for one in reversed(known)
        if _close(one.schedule, job.schedule) and _close(epoch := _predicted_after(store, study, one), length)
    ]
    if not near:
        return None
    one, epoch = min(near, key=lambda found: (abs(found[0].schedule - job.schedule), abs(found[1] - length)))
    return Lender(one.uid, _words(one, epoch))


def _close(one: float, other: float) -> bool:
    """Returns whether two numbers of epochs do not differ clearly."""
    return max(one, other) <= CLEARLY * min(one, other)


def _length(study: StudyRecord, job: JobRecord) -> float:
    """Returns how long a fit trained, in epochs of the training images.

    A fit that ends before its schedule does takes as many steps as the trial had taken; see
    `final_job.last_epoch`. An epoch of more images has more steps.
    """
    counts = study.split.counts
    if job.last_epoch == job.schedule or not counts.get("train"):
        return job.last_epoch
    return job.last_epoch * sum(counts.get(part, 0) for part in PARTS[job.fit]) / counts["train"]


def _predicted_after(store: Store, study: StudyRecord, job: JobRecord) -> int:
    """Returns the epoch that the stored predictions of a job are of: the one that decides its
    objective."""
    curve = store.epochs.curve(study.name, job.uid)
    if job.kind == "final" or study.sweep_json.get("objective_of", "max") != "max":
        return len(curve)
    return max(curve, key=lambda row: (getattr(row, study.objective), -row.epoch)).epoch if curve else 0


def _words(job: JobRecord, epoch: int) -> str:
    """Returns which network a job had trained after an epoch, in words."""
    whole = f"{job.schedule} epoch{'s' if job.schedule > 1 else ''}"
    epochs = whole if epoch == job.schedule else f"epoch {epoch} of {job.schedule}"
    if job.kind != "final":
        return f"trial {job.number}, {epochs}"
    return f"a fit of trial {job.origin['trial']} on training images, seed {job.seed}, {epochs}"
