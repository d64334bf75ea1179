"""The stored predictions of a study's jobs for the validation images."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tune.data.access import open_search
from fer_tune.errors import DataError, StorageError
from fer_tune.selection.contributions import contributions
from fer_tune.selection.race import SeedResult
from fer_tune.store import JobRecord, Store, StudyRecord

KIND = "val_logits"
"""Kind of the artifacts: float16 [V, classes], of the epoch that counts."""


class Predictions:
    """Reads what jobs predicted for the validation images of their study.

    Args:
        study: whose jobs they are.
    """

    def __init__(self, store: Store, study: StudyRecord) -> None:
        self._store, self._study = store, study

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        """The labels of the validation images, [V], or None if the cache lost the data set."""
        try:
            data = open_search(self._study.data_ref(self._store.root))
        except DataError:
            return None
        return data.labels[data.val]

    @property
    def images(self) -> int:
        """The number of validation images."""
        return int(self._study.split.counts.get("val", 0)) or (0 if self.labels is None else len(self.labels))

    def logits(self, uid: str) -> NDArray[Any] | None:
        """Returns a job's logits, float16 [V, classes], or None if they are missing or damaged."""
        found = [file for file in self._store.artifacts.of(self._study.name, uid) if file.kind == KIND]
        if not found or self.labels is None:
            return None
        try:
            logits = np.load(self._store.artifacts.path(found[-1]), allow_pickle=False)
        except (OSError, ValueError, EOFError, StorageError):
            return None
        shape = (len(self.labels), len(self._study.data_spec.classes))
        return logits if logits.shape == shape else None

    def contributions(self, uid: str) -> NDArray[np.float64] | None:
        """Returns what each image adds to a job's objective, [V], or None without its logits."""
        logits = self.logits(uid)
        if logits is None or self.labels is None:
            return None
        classes = len(self._study.data_spec.classes)
        return contributions(logits.argmax(axis=1), self.labels, self._study.objective, classes)

    def run(self, job: JobRecord) -> SeedResult:
        """Returns a complete job as a run of a race."""
        assert job.value is not None
        return SeedResult(job.value, self.contributions(job.uid))
