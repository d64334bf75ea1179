"""What optuna-dashboard shows beside the numbers, written when a trial is told: its note and its pictures.

So it is there for whoever reads the database, also for plain optuna-dashboard, while a run is going or after it. It
is written once: from then on the note is the user's to change. What a run that was killed did not come to, the next
one makes up for.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from fer_tune.dashboard.pictures import confusion_picture, curves_picture
from fer_tune.dashboard.storage import add_picture, remark, without_remark
from fer_tune.dashboard.texts import study_note, trial_note
from fer_tune.data.access import open_search
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.errors import DataError, StorageError
from fer_tune.files import replace_file, replace_text
from fer_tune.job import EpochRow
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import trial

CURVES, CONFUSION, RETRAINED = "c0", "cf", "cd"
"""How the ids of pictures end; the dashboard's addresses of artifacts have hexadecimal digits only."""


class Annotator:
    """Notes and pictures of one study.

    A picture that cannot be drawn or kept is left out: no trial is worth less for it.
    """

    def __init__(self, store: Store, settings: Settings, study: str) -> None:
        self._store = store
        self._folder = settings.pictures
        self._record = store.studies.get(study)

    def catch_up(self) -> int:
        """Writes the study's note and those of trials that ended without one; returns how many trials."""
        remark(self._store, self._record.name, None, study_note(self._record))
        left = without_remark(self._store, self._record.name)
        for number in left:
            self.write(number)
        return len(left)

    def write(self, number: int) -> None:
        """Writes a trial's note, unless the user wrote one, with its learning curves and its confusion matrix."""
        study = self._record.name
        found = trial(self._store, study, number)
        rows = self._store.epochs.curve(study, found.job) if found.job else []
        attempts = self._store.jobs.attempts(study, found.job) if found.job else []
        pictures = self._draw(number, rows, found.job)
        remark(self._store, study, number, trial_note(found, rows, attempts), pictures)

    def retrained(self, number: int, confusion: Path) -> None:
        """Adds the confusion matrix that a retrain measured on test, a PNG file."""
        artifact = self._id(number, RETRAINED)
        content = confusion.read_bytes()
        replace_file(self._folder / artifact, lambda stream: stream.write(content))
        add_picture(self._store, self._record.name, number, artifact, "retrained, on test.png")

    def _draw(self, number: int, rows: list[EpochRow], job: str | None) -> dict[str, str]:
        """Draws what there is to draw; names by artifact's id."""
        title = f"{self._record.name}, trial {number}"
        drawn: dict[str, str] = {}
        try:
            if rows:
                self._keep(number, CURVES, curves_picture(rows, title))
                drawn[self._id(number, CURVES)] = "learning curves.svg"
            if (matrix := self._confusion(job)) is not None:
                self._keep(number, CONFUSION, confusion_picture(matrix, EMOTIONS, f"{title}: validation, best epoch"))
                drawn[self._id(number, CONFUSION)] = "confusion matrix.svg"
        except StorageError:
            pass
        return drawn

    def _keep(self, number: int, kind: str, picture: str) -> None:
        replace_text(self._folder / self._id(number, kind), picture)

    def _id(self, number: int, kind: str) -> str:
        return f"{self._record.uid}-{number:04x}-{kind}"

    def _confusion(self, job: str | None) -> list[list[int]] | None:
        """Counts on validation in the best epoch, from the logits that the trial left; None if it left none."""
        recorded = self._store.artifacts.of(self._record.name, job) if job else []
        files = [file for file in recorded if file.kind == "val_logits"]
        truth = self._truth
        if not files or truth is None:
            return None
        try:
            logits = np.load(self._store.artifacts.path(files[-1]), allow_pickle=False)
        except (OSError, ValueError):
            return None
        size = len(EMOTIONS)
        if logits.shape != (len(truth), size):
            return None
        counts = np.bincount(size * truth + logits.argmax(1), minlength=size * size)
        return [[int(count) for count in row] for row in counts.reshape(size, size)]

    @cached_property
    def _truth(self) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
        """Labels of the validation images; None if the faces are gone."""
        try:
            faces = open_search(self._record.data_ref(self._store.root))
        except DataError:
            return None
        return faces.labels[faces.val]
