"""The calibration of a final fit by a temperature."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fer_tune.errors import StorageError
from fer_tune.files import replace_text
from fer_tune.selection.calibration import calibration_error, fit_temperature, needs_temperature, softmax
from fer_tune.store import JobRecord, Store, StudyRecord
from fer_tune.study.predictions import Predictions


@dataclass(frozen=True)
class Calibration:
    """The temperature of a model, and what it changes on the images that it was fitted to.

    Attributes:
        temperature: divides the logits. It is 1 unless the images speak clearly against that.
        source: the job whose validation predictions it was fitted to: the fit itself, or one of the
            same configuration; see `calibrate`.
        before, after: expected calibration error on validation.
        about: the source in words; empty if it is the fit itself.
    """

    temperature: float
    source: str
    before: float
    after: float
    about: str = ""


def calibrate(store: Store, study: StudyRecord, job: JobRecord, folder: Path) -> Calibration | None:
    """Fits a temperature to predictions for validation images, and writes it beside the model.

    A fit that was trained on validation images has none for them. A fit of the same configuration
    on training images has them. So has the trial, unless hyperparameters of it were changed.

    Returns:
        The calibration, or None if no such predictions are stored.
    """
    from fer_tune.train.export import CALIBRATION

    source = job if job.fit == "train" else _alike(store, study, job)
    predictions = Predictions(store, study)
    logits = predictions.logits(source.uid) if source else None
    if logits is None or source is None or predictions.labels is None:
        return None
    temperature = fit_temperature(logits, predictions.labels)
    if not needs_temperature(logits, predictions.labels, temperature):
        temperature = 1.0
    before, after = (calibration_error(softmax(logits, one), predictions.labels) for one in (1.0, temperature))
    found = Calibration(temperature, source.uid, before, after, "" if source.uid == job.uid else _words(source))
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


def _words(source: JobRecord) -> str:
    """Returns which network a job trained, in words."""
    epochs = "1 epoch" if source.last_epoch == 1 else f"{source.last_epoch} epochs"
    if source.kind != "final":
        return f"trial {source.number}, {epochs}"
    return f"a fit of trial {source.origin['trial']} on training images, seed {source.seed}, {epochs}"


def _alike(store: Store, study: StudyRecord, job: JobRecord) -> JobRecord | None:
    """Returns a job of the same configuration that was trained on training images alone.

    Of the final fits with the same changes, and of the trial if nothing was changed, it is the one
    whose schedule is nearest. With other hyperparameters the network of the trial says nothing.
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
    return min(reversed(known), key=lambda one: abs(one.schedule - job.schedule), default=None)
