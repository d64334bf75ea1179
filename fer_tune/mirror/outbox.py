"""Which runs are still to be copied, in which order, and the cursors that remember it.

The mirror sets a run's cursor when it begins the run, moves it with the rows, and marks it finished
when the tracker is known to have the whole run. Until then every mirror brings the run up to date.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from fer_tune.mirror.runs import OVER, best_job, record_holders, run_of
from fer_tune.mirror.tracker import Run, Tracker
from fer_tune.store import Cursor, JobRecord, Store

FAILURES = 3
"""Runs that may fail before a look at the database ends: the trouble is then the tracker's."""

SLOW = 3.0
"""Seconds after which a failure is the network's, so that the next run would wait as long.

A run that the server refuses, it refuses at once.
"""


class Outbox:
    """The runs of one study that a tracker does not have yet.

    Args:
        name: of the tracker, which has cursors of its own.
        include_disabled: whether jobs that ran with `--wandb disabled` are copied too.
    """

    def __init__(
        self, store: Store, study: str, tracker: Tracker, name: str = "wandb", include_disabled: bool = False
    ) -> None:
        self._store, self._tracker, self._name, self._all = store, tracker, name, include_disabled
        self._study = store.studies.get(study)
        self._reopen_left()

    def copy(self, everything: bool = False) -> int:
        """Copies what the tracker does not have yet. Returns how many runs it brought.

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
        """Yields the runs that have something to bring, in the order of their jobs."""
        jobs = [job for job in self._store.jobs.of(self._study.name) if job.mirrored or self._all]
        cursors = self._cursors()
        best = best_job(jobs)
        if best is not None:
            self._supersede(jobs, best, cursors)
        for job in jobs:
            cursor = cursors.get(job.uid)
            if cursor is not None and cursor.finished:
                continue
            if not (job.state in OVER or self._tracker.live or everything):
                continue
            run = run_of(
                self._store,
                self._study,
                job,
                run_id=cursor.run if cursor is not None else job.uid,
                best=job.uid == best,
            )
            moved = cursor is None or (cursor.attempt, cursor.epoch) != run.at
            if run.over or (run.history and moved and (self._tracker.live or everything)):
                yield run

    def _supersede(self, jobs: Sequence[JobRecord], best: str, cursors: dict[str, Cursor]) -> None:
        """Reopens the run that the tracker has as the best, so that it loses its tag to another."""
        done = {uid for uid, cursor in cursors.items() if cursor.finished}
        known = [uid for uid in record_holders(jobs) if uid != best and uid in done]
        if known and best not in done:
            cursors[known[-1]] = self._reopen(cursors[known[-1]])

    def _reopen_left(self) -> None:
        """Reopens the runs that were finished elsewhere and belong here too."""
        finished = {cursor.run: cursor for cursor in self._cursors().values() if cursor.finished}
        for run in self._tracker.left(set(finished)):
            self._reopen(finished[run])

    def _reopen(self, cursor: Cursor) -> Cursor:
        unfinished = Cursor(cursor.job, cursor.tracker, cursor.run)
        self._store.cursors.set(unfinished)
        return unfinished

    def _bring(self, run: Run) -> None:
        if run.job not in self._cursors():
            self._store.cursors.set(Cursor(run.job, self._name, run.id))
        self._tracker.bring(run)
        self._store.cursors.set(Cursor(run.job, self._name, run.id, *run.at, finished=run.over))

    def _cursors(self) -> dict[str, Cursor]:
        return self._store.cursors.of(self._study.name, self._name)
