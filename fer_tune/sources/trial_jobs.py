"""The jobs of a search: what a worker receives for a trial, and the folders that a trial has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fer_tune.data.spec import DataRef
from fer_tune.job import Job
from fer_tune.jobs.checkpoints import checkpoint_path
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.store import Store
    from fer_tune.study import Proposal
    from fer_tune.sweep.schema import Sweep


class TrialJobs:
    """Makes the jobs of one study.

    Args:
        uid: of the study.
        data: the images and their split.

    Attributes:
        checkpoints: the folder of the study's checkpoints.
    """

    def __init__(self, sweep: Sweep, uid: str, data: DataRef, settings: Settings, store: Store) -> None:
        self._sweep, self._uid, self._data, self._settings, self._store = sweep, uid, data, settings, store
        self.checkpoints = settings.checkpoint_folder(sweep.study, uid)

    def folder(self, uid: str) -> Path:
        """Returns the folder of a job's artifacts."""
        return self._settings.job_folder(self._sweep.study, self._uid, uid)

    def attempt(self, uid: str) -> int:
        """Returns the number of the next attempt at a job."""
        attempts = self._store.jobs.attempts(self._sweep.study, uid)
        return max((attempt.attempt + 1 for attempt in attempts), default=0)

    def make(self, proposal: Proposal, uid: str, attempt: int, until: int | None) -> Job:
        """Returns the job of a trial.

        Args:
            until: the epoch at which it pauses, or None.
        """
        sweep = self._sweep
        return Job(
            uid=uid,
            study=sweep.study,
            kind="search",
            family=sweep.family,
            params=proposal.params,
            schedule=sweep.budget.epochs,
            until=until,
            seed=proposal.seed,
            data=self._data,
            number=proposal.number,
            name=proposal.name,
            attempt=attempt,
            objective=sweep.objective,
            objective_of=sweep.objective_of,
            patience=sweep.patience,
            artifacts=self.folder(uid),
            checkpoint=checkpoint_path(self.checkpoints, uid),
            checkpoint_seconds=sweep.limits.checkpoint_interval,
            threads=1 if sweep.schedule.name == "deterministic" else None,
        )
