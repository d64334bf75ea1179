"""Which runs are still to be copied, in which order, and the cursors that remember it.

The mirror sets a run's cursor when it begins the run, moves it with the rows, and marks it finished when
the tracker is known to have the whole run. Until then every mirror brings the run up to date again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from fer_tune.mirror.runs import Chain, chains, is_told, job_of, record_holders, trial_run
from fer_tune.mirror.tracker import Run, Tracker
from fer_tune.store import Cursor, Store
from fer_tune.study import trials_and_best

FAILURES = 3
"""Runs that may fail before a look at the database ends: the trouble is then the tracker's, not theirs."""

SLOW = 3.0
"""Seconds after which a failure is the network's, so that the next run would wait as long.

A run that the server refuses, it refuses at once.
"""


class Outbox:
    """The runs of one study that a tracker does not have yet."""

    def __init__(self, store: Store, study: str, tracker: Tracker, name: str) -> None:
        self.store = store
        self.record = store.studies.get(study)
        self.tracker = tracker
        self.name = name
        self._reopen_left()

    def copy(self, everything: bool = False) -> int:
        """Copies what the tracker does not have yet; returns how many runs were brought.

        Args:
            everything: also copies jobs that are not over to a tracker that is not live.

        Raises:
            Exception: whatever the tracker raised. The other runs were copied nevertheless.
        """
        brought, errors = 0, []
        for run in self._waiting(everything):
            began = time.monotonic()
            try:
                self._bring(run)
                brought += 1
            except Exception as error:  # a tracker raises whatever its network raises
                errors.append(error)
                if len(errors) == FAILURES or time.monotonic() - began > SLOW:
                    break
        if errors:
            raise errors[0]
        return brought

    def _waiting(self, everything: bool) -> Iterator[Run]:
        """Yields the runs that have something to bring: by trial, then retrains."""
        found, best = trials_and_best(self.store, self.record.name)
        by_job = self._cursors()
        allowed = {job.uid for job in self.store.jobs.of(self.record.name, "search") if job.mirrored}
        jobs = {first: job_of(chain) for first, chain in chains(found).items()}
        cursors = {first: by_job[job] for first, job in jobs.items() if job in by_job}
        if best is not None:
            self._supersede(found, best, cursors)
        done = {number for number, cursor in cursors.items() if cursor.finished}
        for first, chain in chains(found).items():
            if first in done or jobs[first] not in allowed or not (is_told(chain) or self.tracker.live or everything):
                continue
            run = trial_run(self.store, self.record, chain, chain[-1].number == best)
            cursor = cursors.get(first)
            if run.over or (run.history and (cursor is None or (cursor.attempt, cursor.epoch) != run.at)):
                yield run

    def _supersede(self, found: Chain, best: int, cursors: dict[int, Cursor]) -> None:
        """Reopens the run that the tracker has as the best, so that its tag goes, when another trial is best."""
        root = {trial.number: first for first, chain in chains(found).items() for trial in chain}
        done = {number for number, cursor in cursors.items() if cursor.finished}
        known = [root[number] for number in record_holders(found) if number != best and root[number] in done]
        if known and root[best] not in done:
            cursors[known[-1]] = self._reopen(cursors[known[-1]])

    def _reopen_left(self) -> None:
        """Reopens the runs that were finished elsewhere and belong here too."""
        left = self.tracker.left(self.record.uid)
        for cursor in self._cursors().values():
            if cursor.finished and cursor.run in left:
                self._reopen(cursor)

    def _reopen(self, cursor: Cursor) -> Cursor:
        unfinished = Cursor(cursor.job, cursor.tracker, cursor.run)
        self.store.cursors.set(unfinished)
        return unfinished

    def _bring(self, run: Run) -> None:
        if run.job not in self._cursors():
            self.store.cursors.set(Cursor(run.job, self.name, run.id))
        self.tracker.bring(run)
        self.store.cursors.set(Cursor(run.job, self.name, run.id, *run.at, finished=run.over))

    def _cursors(self) -> dict[str, Cursor]:
        return self.store.cursors.of(self.record.name, self.name)
