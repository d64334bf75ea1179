"""What other programs changed in a study that this process runs.

Only this process should write the trials of its study. A user may still enqueue, end or delete
trials, for example in optuna-dashboard.
"""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial, TrialState

from fer_tune.store import Store
from fer_tune.study.trial_writes import TrialWrites


class OtherWriters:
    """Compares the database with what this process knows of its trials.

    Attributes:
        newest: the key of the newest trial that this process knows.
    """

    def __init__(self, store: Store, writes: TrialWrites) -> None:
        self._store, self._writes = store, writes
        self.known(0)

    def known(self, newest: int) -> None:
        """Begins to compare with the trials that were read just now.

        Args:
            newest: the key of the newest of them, or 0.
        """
        self.newest = newest
        self._discards = self._store.pending.discards
        self._writes.lost.clear()

    def added(self, key: int) -> None:
        """Notes the key of a trial that this process has added."""
        self.newest = max(self.newest, key)

    @property
    def gave_up(self) -> bool:
        """Whether writes of this process were given up."""
        return self._discards != self._store.pending.discards

    @property
    def lost(self) -> bool:
        """Whether a write was left out, because its trial does not run any more."""
        return bool(self._writes.lost)

    def changed(self, by_state: dict[TrialState, tuple[int, int]]) -> bool:
        """Returns whether trials have another state in the database, or writes were given up.

        Args:
            by_state: how many trials are in each state here, and the sum of their keys.
        """
        return self.gave_up or self._writes.by_state() != by_state

    def is_longer(self) -> bool:
        """Returns whether another program added or deleted trials, or writes were given up.

        Raises:
            StudyError: another program deleted the study.
        """
        newest = self._writes.newest()
        if newest < self.newest:
            self.require_study()
        return newest != self.newest or self.gave_up

    def taken(self, running: Sequence[FrozenTrial], trials: Sequence[FrozenTrial]) -> list[int]:
        """Returns the numbers of trials that another program ended or deleted.

        Args:
            running: the trials that run, and that the database knows.
            trials: all trials.

        Raises:
            StudyError: another program deleted the study.
        """
        self.require_study()
        still, lost = self._writes.running([trial._trial_id for trial in running]), self._writes.lost
        # A trial that ended here too does not run here, but its writes were left out.
        taken = {trial.number for trial in running if trial._trial_id not in still}
        return sorted(taken | {trial.number for trial in trials if trial._trial_id in lost})

    def require_study(self) -> None:
        """Refuses to continue if another program deleted the study.

        Raises:
            StudyError: it did.
        """
        if not self._writes.exists():
            raise self._writes.deleted()
