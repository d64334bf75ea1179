"""Reads a run state from the database: what `watch` shows, and what earlier runs of a study left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from fer_tune.display.run_state import RunState, ShownJob, ShownWorker, fixed_in, unit_of

if TYPE_CHECKING:
    from fer_tune.job import EpochRow
    from fer_tune.store import AttemptRecord, JobRecord, Store, StudyRecord
    from fer_tune.study import TrialSummary

PAUSE = timedelta(seconds=60)
"""The database does not say when a run began. Attempts with a longer pause between them belong to two runs."""
MOMENT = timedelta(seconds=5)
"""A run may take so long between two jobs."""

Curves = dict[str, list["EpochRow"]]
"""Epochs that count, by the job's uid."""

ENDED = ("complete", "pruned", "failed")
UNFINISHED = ("running", "interrupted")


@dataclass
class StudyReader:
    """Reads one study again and again. The epochs of jobs that have ended are read once."""

    store: Store
    record: StudyRecord
    _kept: Curves = field(default_factory=dict)
    """Of the jobs that have ended."""

    def recall(self, state: RunState) -> None:
        """Adds the trials of earlier runs to the state of a run, which has counted them."""
        state.fixed = fixed_in(self._sweep["space"])
        if state.kind == "search":
            state.recall(job for job in self._trials().values() if job.state in ENDED)

    def read(self) -> RunState:
        """Returns the search as it is now, or the final fits where only they are being trained."""
        from fer_tune.store import final_lock, is_run

        name = self.record.name
        if not (alive := is_run(self.store, name)):
            for job in reversed(self.store.jobs.of(name, "final")):
                if job.state == "running" and is_run(self.store, final_lock(name, str(job.origin.get("batch")))):
                    return self._final_fits(job)
        return self._search(alive)

    def _search(self, alive: bool) -> RunState:
        from fer_tune.study import last_budget

        budget = last_budget(self.store, self.record.name)
        state = RunState(budget=int(budget["trials"]), hours=budget["hours"], epochs=self._sweep["epochs"])
        state.objective = self.record.objective
        return self._filled(state, self._trials(), alive)

    def _final_fits(self, running: JobRecord) -> RunState:
        """Returns the state of the fits that were asked for together with one that is running."""
        batch = running.origin.get("batch")
        fits = [fit for fit in self.store.jobs.of(self.record.name, "final") if fit.origin.get("batch") == batch]
        curves = self._all_curves()
        jobs = {fit.uid: self._fit(fit, curves) for fit in fits}
        seeds = int(running.origin.get("seeds", len(fits)))
        state = RunState(kind="final", objective="train_accuracy", budget=seeds, epochs=running.last_epoch)
        return self._filled(state, jobs, alive=True)

    def _filled(self, state: RunState, jobs: Mapping[str, ShownJob], alive: bool) -> RunState:
        """Adds the study, the jobs, the workers of the last run, and its times to a state."""
        record, now = self.record, datetime.now(UTC)
        state.study, state.family, state.data = record.name, record.family, record.data_source
        state.fixed = fixed_in(self._sweep["space"])
        attempts = [one for one in self.store.jobs.attempts(record.name) if one.kind == state.kind]
        attempts = last_run(attempts, now)
        state.unit = unit_of(attempt.device for attempt in attempts)
        state.counts = Counter(job.state for job in jobs.values())
        state.recall(job for job in jobs.values() if job.state in ENDED)
        state.unfinished = {uid: job for uid, job in jobs.items() if job.state in UNFINISHED}
        if alive:
            _put_workers(state, attempts, now)
        _put_times(state, attempts, now, alive)
        return state

    @property
    def _sweep(self) -> Mapping[str, Any]:
        return self.record.sweep_json

    # jobs ---------------------------------------------------------------------------------------------------------

    def _trials(self) -> dict[str, ShownJob]:
        """Returns the trials that a worker was given, by uid, in the order in which they ended."""
        from fer_tune.study import trials

        early = datetime.min.replace(tzinfo=UTC)
        found = [trial for trial in trials(self.store, self.record.name) if trial.state in (*ENDED, *UNFINISHED)]
        found.sort(key=lambda trial: (trial.ended or early, trial.number))
        curves = self._all_curves()
        return {trial.job or f"trial {trial.number}": self._trial(trial, curves) for trial in found}

    def _trial(self, trial: TrialSummary, curves: Curves) -> ShownJob:
        return ShownJob(
            label=f"trial {trial.number}",
            number=trial.number,
            objective=self.record.objective,
            epochs=self._sweep["epochs"],
            name=trial.name,
            params=trial.params,
            rows=self._curve(trial.job, trial.state, curves) if trial.job else [],
            state=trial.state,
            value=trial.value,
            reason=str(trial.attrs.get("reason", "")),
        )

    def _fit(self, fit: JobRecord, curves: Curves) -> ShownJob:
        return ShownJob(
            label=f"final fit {fit.uid}",
            number=fit.seed,
            objective="train_accuracy",
            epochs=fit.last_epoch,
            params=fit.params,
            rows=self._curve(fit.uid, fit.state, curves),
            state=fit.state,
            reason=fit.reason,
        )

    def _all_curves(self) -> Curves:
        """Returns the epochs of all jobs at the first reading, and none later: then few are new."""
        return {} if self._kept else self.store.epochs.curves(self.record.name)

    def _curve(self, uid: str, state: str, curves: Curves) -> list[EpochRow]:
        """Returns the epochs of a job, each once."""
        if uid in self._kept:
            return self._kept[uid]
        rows = curves[uid] if uid in curves else self.store.epochs.curve(self.record.name, uid)
        if state in ENDED:
            self._kept[uid] = rows
        return rows


def last_run(attempts: Iterable[AttemptRecord], now: datetime) -> list[AttemptRecord]:
    """Returns the attempts since the last pause, in the order in which they started."""
    run: list[AttemptRecord] = []
    busy = datetime.min.replace(tzinfo=UTC)
    for attempt in sorted(attempts, key=lambda one: one.started):
        if attempt.started - busy > PAUSE:
            run.clear()
        run.append(attempt)
        busy = max(busy, attempt.ended or now)
    return run


def _put_workers(state: RunState, attempts: Iterable[AttemptRecord], now: datetime) -> None:
    """Adds the workers of the last run, and what they train."""
    for attempt in attempts:
        worker = state.workers[attempt.worker] = ShownWorker(attempt.device, ready=True)
        job = state.unfinished.get(attempt.job)
        if attempt.ended is None and job is not None:
            worker.job = job
            job.starts(_clock(min(now, _heard(state, attempt)), now))


def _put_times(state: RunState, attempts: Sequence[AttemptRecord], now: datetime, alive: bool) -> None:
    """Adds when the last run began and ended, and says so where it is not running."""
    if not attempts:
        state.remark = "No trial has started yet."
        return
    state.began = _clock(attempts[0].started, now)
    heard = min(now, max(attempt.ended or _heard(state, attempt) for attempt in attempts))
    if alive:
        if not state.running and now - heard > MOMENT:
            state.remark = "No trial is running at the moment."
        return
    state.over = _clock(heard, now)
    if interrupted := state.counts["interrupted"]:
        what = "1 trial was" if interrupted == 1 else f"{interrupted} trials were"
        state.remark = f"Not running. {what} interrupted; the next run continues from there."
    else:
        state.remark = f"Not running. The last trial ended {heard.astimezone():%Y-%m-%d %H:%M:%S}."


def _heard(state: RunState, attempt: AttemptRecord) -> datetime:
    """Returns about when the last epoch of an attempt that has not ended was over."""
    job = state.unfinished.get(attempt.job)
    rows = [row.seconds for row in job.rows if row.attempt == attempt.attempt] if job else []
    return attempt.started + timedelta(seconds=sum(rows))


def _clock(moment: datetime, now: datetime) -> float:
    """Returns a moment by the monotonic clock."""
    return time.monotonic() - (now - moment).total_seconds()
