"""Reads a run state from the database: for `watch`, and for a run that continues a study."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fer_tune.display.run_state import RunState, ShownJob, ShownWorker, fixed_in, unit_of
from fer_tune.job import EpochRow
from fer_tune.pool.port import Slot

if TYPE_CHECKING:
    from fer_tune.store import AttemptRecord, JobRecord, Store, StudyRecord

PAUSE = timedelta(seconds=60)
"""Attempts with a longer pause between them belong to two runs. No table says when a run began."""
MOMENT = timedelta(seconds=5)
"""A run may take so long between two jobs."""

ENDED = ("complete", "pruned", "failed")


@dataclass
class StudyReader:
    """Reads one study again and again. The epochs of jobs that have ended are read once."""

    store: Store
    record: StudyRecord
    _kept: dict[str, list[EpochRow]] = field(default_factory=dict)
    """Epochs of the jobs that have ended, by uid."""

    def recall(self, state: RunState) -> None:
        """Adds the trials of earlier runs to the state of a run, which has counted them."""
        state.fixed = fixed_in(self.record.sweep_json["space"])
        if state.kind == "search":
            state.recall(self._ended(self.store.jobs.of(self.record.name, "search"), self.record.objective))

    def read(self) -> RunState:
        """Returns the search as it is now, or the final fits where only they are being trained."""
        from fer_tune.store import final_lock, is_run
        from fer_tune.study import last_budget

        name, record = self.record.name, self.record
        state = RunState(name, "search", record.family, record.data_source, record.objective)
        state.fixed = fixed_in(record.sweep_json["space"])
        alive = is_run(self.store, name)
        fits = [] if alive else self.store.jobs.of(name, "final")
        for fit in fits:
            if fit.state == "running" and is_run(self.store, final_lock(name, fit.origin["batch"])):
                jobs = [job for job in fits if job.origin["batch"] == fit.origin["batch"]]
                state.kind, state.objective, state.epochs = "final", "train_accuracy", fit.last_epoch
                state.budget = int(fit.origin.get("seeds", len(jobs)))
                return self._filled(state, jobs, alive=True)
        budget = last_budget(self.store, name)
        state.budget, state.hours, state.epochs = int(budget["trials"]), budget["hours"], record.sweep_json["epochs"]
        return self._filled(state, self.store.jobs.of(name, "search"), alive)

    def _filled(self, state: RunState, jobs: Sequence[JobRecord], alive: bool) -> RunState:
        """Adds the jobs, the workers of the last run, and its times to a state."""
        now = datetime.now(UTC)
        attempts = [one for one in self.store.jobs.attempts(state.study) if one.kind == state.kind]
        attempts = last_run(attempts, now)
        state.unit = unit_of(attempt.device for attempt in attempts)
        state.recall(self._ended(jobs, state.objective))
        running = [job for job in jobs if job.state == "running"]
        for job in [*running, *(job for job in jobs if job.state == "paused")]:
            rows = self.store.epochs.curve(state.study, job.uid)
            state.unfinished[job.uid] = _shown(job, state.objective, rows)
        state.counts = Counter(job.state for job in jobs if job.state in (*ENDED, "paused"))
        if alive:
            _put_workers(state, attempts, now)
        else:
            state.counts["interrupted"] = len(running)
        _put_times(state, attempts, now, alive)
        return state

    def _ended(self, jobs: Sequence[JobRecord], objective: str) -> list[ShownJob]:
        """Returns the jobs that have ended, in the order in which they did."""
        early = datetime.min.replace(tzinfo=UTC)
        ended = sorted((job for job in jobs if job.state in ENDED), key=lambda job: (job.ended or early, job.uid))
        if not self._kept:
            curves = self.store.epochs.curves(self.record.name)
            self._kept = {job.uid: curves.get(job.uid, []) for job in ended}
        for job in ended:
            if job.uid not in self._kept:
                self._kept[job.uid] = self.store.epochs.curve(job.study, job.uid)
        return [_shown(job, objective, self._kept[job.uid]) for job in ended]


def _shown(job: JobRecord, objective: str, rows: list[EpochRow]) -> ShownJob:
    label = f"final fit {job.uid}" if job.number is None else f"trial {job.number}"
    number = job.seed if job.number is None else job.number
    epochs = job.schedule if job.number is not None else job.last_epoch
    shown = ShownJob(label, number, objective, epochs, job.name, job.params, rows)
    shown.ends(job.state, job.value, job.reason)
    return shown


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
        slot = Slot(attempt.worker, attempt.lane)
        if attempt.ended is not None and slot.lane:
            state.workers.pop(slot, None)  # nobody recorded how many lanes there are
            state.workers.setdefault(Slot(slot.worker), ShownWorker(attempt.device, ready=True))
            continue
        worker = state.workers[slot] = ShownWorker(attempt.device, ready=True)
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
        state.began = None  # nobody recorded when that run ended
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
