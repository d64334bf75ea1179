"""The source of final fits: one configuration, usually trained on training and validation.

It is trained once for each seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fer_tune.errors import StudyError
from fer_tune.job import Job, Part, Tta, Value, new_uid
from fer_tune.jobs.outcome import Plan
from fer_tune.settings import Settings
from fer_tune.sources.final_job import final_job, last_epoch
from fer_tune.sources.job_list import JobList
from fer_tune.store import JobRecord, Store, StudyLock, StudyRecord, final_lock
from fer_tune.store.openings import Openings
from fer_tune.study import TrialSummary, trials
from fer_tune.study.standings import best
from fer_tune.study.trial_states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

Until = Literal["best", "end"]

_UNFINISHED: dict[State, str] = {"pruned": "was pruned at", "paused": "is paused at", "failed": "failed after"}

ON_TEST = "training on all images"
"""The purpose of an opening by a fit that trains on test images, as the ledger records it."""


@dataclass(frozen=True)
class Request:
    """What the user wants to train.

    Attributes:
        trial: number of the trial whose configuration is trained; None means the best trial, by its
            confirmations if there are any.
        epochs: length of the learning-rate schedule; None means that of the study.
        until: `end` trains to the end of the schedule, where the learning rate is smallest. `best`
            stops early if the trial overfitted, and else trains to the end too. See `last_epoch`.
        seeds: number of fits. They use the study's seed and those that follow it.
        on: the part of the data to train on. `all` has test images in it, so that no figure on test
            can follow.
        tta: the kind of test-time augmentation to report; `flip` is always measured beside it. A
            fit that was trained without validation images is measured on them too.
        test: whether to evaluate the fits on test.
        changes: hyperparameters that replace the trial's.
    """

    trial: int | None = None
    epochs: int | None = None
    until: Until = "best"
    seeds: int = 1
    on: Part = "train+val"
    tta: Tta = "none"
    test: bool = True
    changes: Mapping[str, Value] = field(default_factory=dict)

    @property
    def views(self) -> tuple[Tta, ...] | None:
        """The kinds of test-time augmentation to evaluate, or None not to open test."""
        return None if not self.test or self.on == "all" else self._kinds

    @property
    def validated(self) -> tuple[Tta, ...]:
        """The kinds of test-time augmentation to evaluate on validation images."""
        return self._kinds if self.on == "train" else ()

    @property
    def _kinds(self) -> tuple[Tta, ...]:
        return ("none", "flip", "crops") if self.tta == "crops" else ("none", "flip")


class FinalFits(JobList):
    """The source of the fits of one request.

    If the fits of an equal request were interrupted, they continue. If they were finished, new jobs
    are made. Two processes never train the same jobs: the second one makes its own.

    Args:
        mirrored: whether trackers may copy the fits.

    Attributes:
        jobs: the fits, by seed.
        lock: keeps other processes away from these fits.
        plan: see `Source.plan`.

    Raises:
        StudyError: the study or the trial does not exist, or no trial is complete yet.
    """

    def __init__(self, store: Store, settings: Settings, study: str, request: Request, mirrored: bool = True) -> None:
        self._store, self._settings = store, settings
        self._record = record = store.studies.get(study)
        self._chosen = chosen = _choose(store, study, request.trial)
        self._schedule = request.epochs or int(record.sweep_json["epochs"])
        self._request, self._until = request, self._schedule
        if request.until == "best":
            self._until = last_epoch(store, record, chosen, self._schedule, request.on)
        self._batch, lock = self._find_or_begin()
        seed = int(record.sweep_json["seed"])
        plan = Plan(
            study=study,
            kind="final",
            family=record.family,
            data=record.data_source,
            objective=self._objective,
            jobs=request.seeds,
            epochs=self._until,
            budget={"seeds": request.seeds, "epochs": self._schedule},
        )
        origin = {
            "trial": chosen.number,
            "until": request.until,
            "changes": dict(request.changes),
            "request": self._signature,
            "batch": self._batch,
            "seeds": request.seeds,
        }
        jobs = [self._job(seed + place) for place in range(request.seeds)]
        super().__init__(store, plan, jobs, lock=lock, origin=origin, mirrored=mirrored)

    # called by the runner and by run_final_fits --------------------------------------------------

    def next(self) -> Job:
        """Records and returns the next job. To train on test images is an opening of test."""
        job = super().next()
        if job.fit == "all":
            ledger, split = Openings(self._settings.root), self._record.split.hash
            self._store.patiently(
                lambda: ledger.open(job.uid, split, purpose=ON_TEST, model=job.uid, study=self._record.name)
            )
        return job

    @property
    def request(self) -> Request:
        """What the user wants to train."""
        return self._request

    @property
    def trial(self) -> int:
        """Number of the trial whose configuration is trained."""
        return self._chosen.number

    @property
    def doubt(self) -> str | None:
        """What speaks against the trial, for the user: it did not train to its end. Else None."""
        trial, whole = self._chosen, self._record.sweep_json["epochs"]
        if trial.state == "complete":
            return None
        how = _UNFINISHED.get(trial.state, "has trained up to")
        said = f"Trial {trial.number} {how} epoch {trial.epochs} of {whole}, so its configuration was never trained"
        closed = "" if self._request.views is None else " --no-test leaves the test images closed."
        return f"{said} to the end.{closed}"

    @property
    def record(self) -> StudyRecord:
        """The study."""
        return self._record

    def repeat(self, uid: str) -> bool:
        """Returns whether these fits repeat the request that made a job."""
        jobs = self._store.jobs.of(self._record.name, "final")
        return any(job.uid == uid and job.origin.get("request") == self._signature for job in jobs)

    # within -------------------------------------------------------------------------------------------------------

    @property
    def _objective(self) -> str:
        return self._record.objective if self._request.on == "train" else "train_accuracy"

    @property
    def _signature(self) -> str:
        """A hash of the request. Requests for the same fits have the same hash."""
        request = self._request
        deciding: list[object] = [self._chosen.number, self._schedule, self._until, request.seeds]
        deciding.append(sorted(request.changes.items()))
        if request.on != "train+val" or not request.test:
            deciding += [request.on, request.test]
        return hashlib.sha256(json.dumps(deciding).encode()).hexdigest()[:12]

    def _find_or_begin(self) -> tuple[str, StudyLock]:
        """Returns the id of a batch of fits, and its lock.

        It is the batch of an equal, interrupted request that no process trains now, else a new
        batch.
        """
        for batch in self._unfinished_batches():
            lock = _lock(self._settings, self._record.name, batch)
            try:
                return batch, self._store.patiently(lock.acquire)
            except StudyError:  # another process trains it
                continue
        batch = new_uid()
        return batch, self._store.patiently(_lock(self._settings, self._record.name, batch).acquire)

    def _unfinished_batches(self) -> list[str]:
        batches: dict[str, list[JobRecord]] = {}
        for record in self._store.jobs.of(self._record.name, "final"):
            if record.origin.get("request") == self._signature:
                batches.setdefault(record.origin["batch"], []).append(record)
        return [batch for batch, jobs in batches.items() if not self._finished(jobs)]

    def _finished(self, jobs: Sequence[JobRecord]) -> bool:
        """Returns whether every fit of a batch is evaluated or failed."""
        evaluated = {file.job for file in self._store.artifacts.of(self._record.name) if file.kind == "metrics"}
        over = [job.uid in evaluated or job.state == "failed" for job in jobs]
        return all(over) and len(jobs) == self._request.seeds

    def _job(self, seed: int) -> Job:
        return final_job(
            self._store,
            self._settings,
            self._record,
            self._chosen,
            batch=self._batch,
            schedule=self._schedule,
            until=self._until,
            seed=seed,
            fit=self._request.on,
            changes=self._request.changes,
        )


def _lock(settings: Settings, study: str, batch: str) -> StudyLock:
    return StudyLock(settings, settings.url, final_lock(study, batch))


def _choose(store: Store, study: str, number: int | None) -> TrialSummary:
    if number is None:
        first = best(store, study)
        if not first:
            raise StudyError(f"The study {study} has no complete trial yet.", "Run its sweep for longer first.")
        return first[0]
    found = [summary for summary in trials(store, study) if summary.number == number]
    if not found:
        raise StudyError(f"The study {study} has no trial {number}.", f"`fer-tune trials --study {study}` lists them.")
    return found[0]
