"""Reads a run state from the database: for `watch`, and for a run that continues a study."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fer_tune.display.run_state import KEPT, RunState, fixed_in, unit_of
from fer_tune.display.shown import ShownJob, ShownWorker, pruned_pace
from fer_tune.pool.port import Slot

if TYPE_CHECKING:
    from fer_tune.job import EpochRow, Kind
    from fer_tune.store import JobRecord, Store, StudyRecord
    from fer_tune.store.outlines import AttemptOutline, JobOutline

PAUSE = timedelta(seconds=60)
"""Attempts with a longer pause between them belong to two runs. No table says when a run began."""
MOMENT = timedelta(seconds=5)
"""A run may take so long between two jobs."""

ENDED = ("complete", "pruned", "failed")
MANY = 100
"""More jobs than these are read with all the others of the study, and not one by one."""


@dataclass
class StudyReader:
    """Reads one study again and again. What it shows of jobs that have ended is read once."""

    store: Store
    record: StudyRecord
    _kept: dict[tuple[str, str, int], ShownJob] = field(default_factory=dict)
    """Jobs that were shown while they did not run, by uid, state and number of epochs."""

    def recall(self, state: RunState) -> None:
        """Adds the trials of earlier runs to the state of a run, which has counted them."""
        state.fixed = fixed_in(self.record.sweep_json["space"])
        state.images = self.record.split.counts.get("val", 0)
        if state.kind == "search":
            self._put_ended(state, self._jobs("search"))

    def read(self) -> RunState:
        """Returns the search as it is now, or the final fits or confirmations where only they are
        being trained."""
        from fer_tune.store import confirm_lock, final_lock, is_run
        from fer_tune.study import last_budget

        name, record = self.record.name, self.record
        state = RunState(name, "search", record.family, record.data_source, record.objective)
        state.fixed = fixed_in(record.sweep_json["space"])
        state.images = record.split.counts.get("val", 0)
        alive = is_run(self.store, name)
        fits = [] if alive else self._jobs("final")
        for fit in fits:
            batch = fit.origin["batch"] if fit.origin else ""
            if fit.state == "running" and is_run(self.store, final_lock(name, batch)):
                jobs = [job for job in fits if job.origin and job.origin["batch"] == batch]
                state.kind, state.objective, state.epochs = "final", "train_accuracy", fit.last_epoch
                state.budget = int((fit.origin or {}).get("seeds", len(jobs)))
                return self._filled(state, jobs, alive=True)
        if not alive and is_run(self.store, confirm_lock(name)):
            jobs = self._jobs("confirm")
            trials = {job.origin["trial"] for job in jobs if job.origin}
            seeds = max((int(job.origin["seeds"]) for job in jobs if job.origin), default=0)
            state.kind, state.epochs, state.budget = "confirm", record.sweep_json["epochs"], seeds * len(trials)
            return self._filled(state, jobs, alive=True)
        budget = last_budget(self.store, name)
        state.budget, state.hours, state.epochs = int(budget["trials"]), budget["hours"], record.sweep_json["epochs"]
        return self._filled(state, self._jobs("search"), alive)

    def _jobs(self, kind: Kind) -> list[JobOutline]:
        from fer_tune.store.outlines import job_outlines

        return job_outlines(self.store, self.record.name, kind)

    def _filled(self, state: RunState, jobs: Sequence[JobOutline], alive: bool) -> RunState:
        """Adds the jobs, the workers of the last run, and its times to a state."""
        from fer_tune.store.outlines import attempt_outlines

        now = datetime.now(UTC)
        attempts = last_run(attempt_outlines(self.store, state.study, state.kind), now)
        state.unit = unit_of(attempt.device for attempt in attempts)
        self._put_ended(state, jobs)
        running = [job for job in jobs if job.state == "running"]
        paused = [job for job in jobs if job.state == "paused"]
        state.unfinished = self._shown([*running, *paused], state.objective)
        state.counts = Counter(job.state for job in jobs if job.state in (*ENDED, "paused"))
        if alive:
            _put_workers(state, attempts, now)
        else:
            state.counts["interrupted"] = len(running)
        _put_times(state, attempts, now, alive)
        return state

    def _put_ended(self, state: RunState, jobs: Sequence[JobOutline]) -> None:
        """Adds what all ended jobs cost, and the few of them that a state keeps."""
        early = datetime.min.replace(tzinfo=UTC)
        ended = sorted((job for job in jobs if job.state in ENDED), key=lambda job: (job.ended or early, job.uid))
        for job in ended:
            pace = pruned_pace(job.state, job.reason, job.epochs, job.device_seconds)
            saved = pace * (job.last_epoch - job.reached)
            state.costs.include(job.epochs, job.device_seconds, saved, job.seconds)
            if state.kind == "search" and job.state == "complete" and job.value and math.isfinite(job.value):
                state.completed(job.value, job.name)
        last, best = ended[-KEPT:], []
        if state.kind == "search":
            best = [job for job in ended if job.state == "complete" and job.value and math.isfinite(job.value)]
            best = sorted(best, key=lambda job: (-(job.value or 0.0), job.number or 0))[:KEPT]
        shown = self._shown([*last, *best], state.objective)
        state.last.extendleft(shown[job.uid] for job in last)
        state.best = [shown[job.uid] for job in best]

    def _shown(self, jobs: Sequence[JobOutline], objective: str) -> dict[str, ShownJob]:
        """Returns jobs with their epochs, as they are shown, by uid."""
        store, study = self.store, self.record.name
        keys = {job.uid: (job.uid, job.state, job.epochs) for job in jobs}
        new = {uid for uid, key in keys.items() if key not in self._kept or key[1] == "running"}
        if len(new) > MANY:
            records, curves = {job.uid: job for job in store.jobs.of(study)}, store.epochs.curves(study)
        else:
            records = {uid: store.jobs.get(uid) for uid in new}
            curves = {uid: store.epochs.curve(study, uid) for uid in new}
        shown = {uid: _shown(records[uid], keys[uid][1], objective, curves.get(uid, [])) for uid in new}
        self._kept |= {keys[uid]: job for uid, job in shown.items() if job.state != "running"}
        return {uid: shown.get(uid) or self._kept[key] for uid, key in keys.items()}


def _shown(job: JobRecord, state: str, objective: str, rows: list[EpochRow]) -> ShownJob:
    label = f"final fit {job.uid}" if job.number is None else f"trial {job.number}"
    number = job.seed if job.number is None else job.number
    epochs = job.schedule if job.number is not None else job.last_epoch
    rung = job.last_epoch if job.number is not None and job.last_epoch < job.schedule else None
    shown = ShownJob(label, number, objective, epochs, job.name, job.params, rows, rung=rung)
    shown.ends(state, job.value, job.reason)
    return shown


def last_run(attempts: Iterable[AttemptOutline], now: datetime) -> list[AttemptOutline]:
    """Returns the attempts since the last pause. They are in the order of their starts."""
    run: list[AttemptOutline] = []
    busy = datetime.min.replace(tzinfo=UTC)
    for attempt in attempts:
        if attempt.started - busy > PAUSE:
            run.clear()
        run.append(attempt)
        busy = max(busy, attempt.ended or now)
    return run


def _put_workers(state: RunState, attempts: Iterable[AttemptOutline], now: datetime) -> None:
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


def _put_times(state: RunState, attempts: Sequence[AttemptOutline], now: datetime, alive: bool) -> None:
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


def _heard(state: RunState, attempt: AttemptOutline) -> datetime:
    """Returns about when the last epoch of an attempt that has not ended was over."""
    job = state.unfinished.get(attempt.job)
    rows = [row.seconds for row in job.rows if row.attempt == attempt.attempt] if job else []
    return attempt.started + timedelta(seconds=sum(rows))


def _clock(moment: datetime, now: datetime) -> float:
    """Returns a moment by the monotonic clock."""
    return time.monotonic() - (now - moment).total_seconds()
