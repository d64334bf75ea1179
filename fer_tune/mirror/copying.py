"""From the database to runs: what is still to be copied, in which order, and the cursors that remember it.

A run's cursor is set when the run is begun, moves with its rows, and is marked finished once wandb is known to have
the whole run. Until then the run is brought up to date again by whoever comes next: `Runs.bring` may be called with
the same run any number of times, and a row is in wandb once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

from fer_tune.mirror.content import Chain, Run, chains, is_told, record_holders, trial_run
from fer_tune.store import Cursor, Store
from fer_tune.study import trials_and_best

FAILURES = 3
"""Runs that may fail before a look at the database is given up: the trouble is wandb's then, and not theirs."""

SLOW = 3.0
"""Seconds after which a failure is the network's: the next run would wait as long. A run that the server refuses, it
refuses at once."""


class Runs(Protocol):
    """Where runs go: wandb's server, wandb's offline files, or a test's list.

    Attributes:
        live: whether a run is to be brought while its trial is running.
    """

    live: bool

    def bring(self, run: Run) -> None:
        """Makes wandb's copy of the run say what `run` says; if it is over, returns when it is safe there."""
        ...

    def left(self, prefix: str) -> set[str]:
        """Ids, beginning with `prefix`, of runs that were written elsewhere and are to be brought here."""
        ...

    def close(self) -> None:
        """Lets go of runs that are not over; another mirror may go on with them."""
        ...


TRACKER = "wandb"


class Copier:
    """Copies one study."""

    def __init__(self, store: Store, study: str, runs: Runs) -> None:
        self.store = store
        self.record = store.studies.get(study)
        self.runs = runs
        self._reopen_left()

    def copy(self, everything: bool = False) -> int:
        """Copies what wandb does not have yet; returns how many runs were brought.

        Args:
            everything: also what is recorded of trials that are not over, where runs are not live.

        Raises:
            Exception: whatever wandb raised; the other runs were copied nevertheless.
        """
        brought, errors = 0, []
        for run in self._waiting(everything):
            began = time.monotonic()
            try:
                self._bring(run)
                brought += 1
            except Exception as error:  # wandb raises whatever its network raises
                errors.append(error)
                if len(errors) == FAILURES or time.monotonic() - began > SLOW:
                    break
        if errors:
            raise errors[0]
        return brought

    def _waiting(self, everything: bool) -> Iterator[Run]:
        """The runs that have something to bring: by trial, then retrains."""
        found, best = trials_and_best(self.store, self.record.name)
        by_job = self.store.cursors.of(self.record.name, TRACKER)
        allowed = {job.uid for job in self.store.jobs.of(self.record.name, "search") if job.mirrored}
        jobs = {first: _job(chain) for first, chain in chains(found).items()}
        cursors = {first: by_job[job] for first, job in jobs.items() if job in by_job}
        if best is not None:
            self._supersede(found, best, cursors)
        done = {number for number, cursor in cursors.items() if cursor.finished}
        for first, chain in chains(found).items():
            if first in done or jobs[first] not in allowed or not (is_told(chain) or self.runs.live or everything):
                continue
            run = trial_run(self.store, self.record, chain, chain[-1].number == best)
            cursor = cursors.get(first)
            if run.over or (run.history and (cursor is None or (cursor.attempt, cursor.epoch) != run.at)):
                yield run

    def _supersede(self, found: Chain, best: int, cursors: dict[int, Cursor]) -> None:
        """Reopens the run that wandb has as the best, unless it has the best one too: its tag must go first."""
        root = {trial.number: first for first, chain in chains(found).items() for trial in chain}
        done = {number for number, cursor in cursors.items() if cursor.finished}
        known = [root[number] for number in record_holders(found) if number != best and root[number] in done]
        if known and root[best] not in done:
            cursors[known[-1]] = self._reopen(cursors[known[-1]])

    def _reopen_left(self) -> None:
        """What lies elsewhere is brought again, though it was finished there."""
        left = self.runs.left(self.record.uid)
        for cursor in self.store.cursors.of(self.record.name, TRACKER).values():
            if cursor.finished and cursor.run in left:
                self._reopen(cursor)

    def _reopen(self, cursor: Cursor) -> Cursor:
        again = Cursor(cursor.job, TRACKER, cursor.run)
        self.store.cursors.set(again)
        return again

    def _bring(self, run: Run) -> None:
        if run.job not in self.store.cursors.of(self.record.name, TRACKER):
            self.store.cursors.set(Cursor(run.job, TRACKER, run.id))
        self.runs.bring(run)
        self.store.cursors.set(Cursor(run.job, TRACKER, run.id, *run.at, finished=run.over))


def _job(chain: Chain) -> str | None:
    return next((trial.job for trial in reversed(chain) if trial.job), None)
