"""Writes the notes and pictures of a study where optuna-dashboard finds them.

Plain optuna-dashboard shows them too, during a run and after it. Each note is written once. From
then on it belongs to the user, who may change it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from fer_tune.dashboard.notes import study_note, trial_note
from fer_tune.dashboard.pictures import confusion_picture, curves_picture
from fer_tune.dashboard.storage import add_note, add_picture, trials_without_note
from fer_tune.data.access import open_search
from fer_tune.errors import DataError, StorageError
from fer_tune.files import remove_drafts, replace_file, replace_text
from fer_tune.job import EpochRow
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import TrialSummary, trial
from fer_tune.study.summaries import best_start
from fer_tune.study.trial_states import START

CURVES, CONFUSION, FINAL_FIT = "c0", "cf", "cd"
"""Ends of the ids of pictures. The addresses of the dashboard allow hexadecimal digits only."""


class NoteWriter:
    """Writes the notes and pictures of one study.

    It leaves out a picture that cannot be drawn or stored.
    """

    def __init__(self, store: Store, settings: Settings, study: str) -> None:
        self._store = store
        self._folder = settings.pictures
        self._record = store.studies.get(study)
        self._classes = self._record.data_spec.classes
        self._best_start: float | None = None
        self._started = False

    def catch_up(self) -> int:
        """Writes the study's note and all missing notes of trials. Returns how many trials."""
        self.write_study()
        numbers = trials_without_note(self._store, self._record.name)
        for number in numbers:
            self.write(number)
        return len(numbers)

    def remove_drafts(self) -> None:
        """Removes half-written pictures that a killed process left."""
        remove_drafts(self._folder, below=False)

    def write_study(self) -> None:
        """Writes the study's note, unless it has one."""
        add_note(self._store, self._record.name, None, study_note(self._record))

    def write(self, number: int) -> None:
        """Writes the note of a trial and draws its pictures, unless the trial has a note."""
        study = self._record.name
        found = trial(self._store, study, number, alive=True)  # it has ended, whether or not its run has
        rows = self._store.epochs.curve(study, found.job) if found.job else []
        attempts = self._store.jobs.attempts(study, found.job) if found.job else []
        self._note_baseline(found)
        pictures = self._draw(number, rows, found.job)
        note = trial_note(found, rows, attempts, self._classes, self._best_start)
        add_note(self._store, study, number, note, pictures)

    def add_final_fit(self, number: int, confusion: Path) -> None:
        """Adds the PNG file of a final fit's confusion matrix to the trial that it started from."""
        self.remove_drafts()
        artifact = self._id(number, FINAL_FIT)
        content = confusion.read_bytes()
        replace_file(self._folder / artifact, lambda stream: stream.write(content))
        add_picture(self._store, self._record.name, number, artifact, "final fit, on test.png")

    def _note_baseline(self, ended: TrialSummary) -> None:
        """Keeps the best accuracy of `start:`. The database is asked only once: that takes long."""
        if self._record.objective != "val_accuracy":
            return
        if not self._started:
            self._started, known = True, best_start(self._store, self._record.name)
            self._best_start = known.value if known else None
        elif START in ended.attrs and ended.state == "complete" and ended.value is not None:
            self._best_start = max(ended.value, self._best_start or 0.0)

    def _draw(self, number: int, rows: list[EpochRow], job: str | None) -> dict[str, str]:
        """Draws the pictures that a trial has data for. Returns their names by id."""
        title = f"{self._record.name}, trial {number}"
        drawn: dict[str, str] = {}
        try:
            if rows:
                self._keep(number, CURVES, curves_picture(rows, title, self._best_start))
                drawn[self._id(number, CURVES)] = "learning curves.svg"
            if (matrix := self._confusion(job)) is not None:
                picture = confusion_picture(matrix, self._classes, f"{title}: validation, best epoch")
                self._keep(number, CONFUSION, picture)
                drawn[self._id(number, CONFUSION)] = "confusion matrix.svg"
        except StorageError:
            pass
        return drawn

    def _keep(self, number: int, kind: str, picture: str) -> None:
        replace_text(self._folder / self._id(number, kind), picture)

    def _id(self, number: int, kind: str) -> str:
        return f"{self._record.uid}-{number:04x}-{kind}"

    def _confusion(self, job: str | None) -> list[list[int]] | None:
        """Returns the counts on validation in the best epoch, or None if the job left no logits."""
        recorded = self._store.artifacts.of(self._record.name, job) if job else []
        files = [file for file in recorded if file.kind == "val_logits"]
        truth = self._truth
        if not files or truth is None:
            return None
        try:
            logits = np.load(self._store.artifacts.path(files[-1]), allow_pickle=False)
        except (OSError, ValueError):
            return None
        size = len(self._classes)
        if logits.shape != (len(truth), size):
            return None
        counts = np.bincount(size * truth + logits.argmax(1), minlength=size * size)
        return [[int(count) for count in row] for row in counts.reshape(size, size)]

    @cached_property
    def _truth(self) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
        """The labels of the validation images, or None if the images are no longer in the cache."""
        try:
            images = open_search(self._record.data_ref(self._store.root))
        except DataError:
            return None
        return images.labels[images.val]
