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
    from fer_tune.store import AttemptRecord, Store, StudyRecord
    from fer_tune.study import TrialSummary

PAUSE = timedelta(seconds=60)
"""The database does not say when a run began. Attempts with a longer pause between them belong to two runs."""

MOMENT = timedelta(seconds=5)
"""A run may take so long between two trials."""

ENDED = ("complete", "pruned", "failed", "requeued")
UNFINISHED = ("running", "interrupted")


@dataclass
class StudyReader:
    """Reads one study again and again. The epochs of trials that have ended are read once."""

    store: Store
    record: StudyRecord
    _kept: dict[int, list[EpochRow]] = field(default_factory=dict)
    """Of the trials that have ended."""

    def recall(self, state: RunState) -> None:
        """Adds the trials of earlier runs to the state of a run, which has counted them."""
        state.fixed = fixed_in(self._sweep["space"])
        state.recall(self._jobs(self._trials(), ENDED))

    def read(self) -> RunState:
        """Returns the study as it is now."""
        from fer_tune.store import is_run
        from fer_tune.study import last_budget

        name, now = self.record.name, datetime.now(UTC)
        alive = is_run(self.store, name)
        trials, attempts = self._trials(), last_run(self.store.attempts(name), now)
        budget = last_budget(self.store, name)
        state = RunState(
            study=name,
            family=self.record.family,
            data=self.record.data_source,
            objective=self.record.objective,
            budget=int(budget["trials"]),
            hours=budget["hours"],
            schedule=self._sweep["epochs"],
            fixed=fixed_in(self._sweep["space"]),
            counts=Counter(trial.state for trial in trials),
            unit=unit_of(attempt.device for attempt in attempts),
        )
        state.recall(self._jobs(trials, ENDED))
        state.unfinished = {job.number: job for job in self._jobs(trials, UNFINISHED)}
        if alive:
            _put_workers(state, attempts, now)
        _put_times(state, attempts, now, alive)
        return state

    @property
    def _sweep(self) -> Mapping[str, Any]:
        return self.record.sweep_json

    def _trials(self) -> list[TrialSummary]:
        from fer_tune.study import trials

        return trials(self.store, self.record.name)

    def _jobs(self, trials: Sequence[TrialSummary], states: Sequence[str]) -> list[ShownJob]:
        """Returns the trials in these states, in the order in which they ended."""
        found = [trial for trial in trials if trial.state in states]
        curves, early = self._curves(found), datetime.min.replace(tzinfo=UTC)
        found.sort(key=lambda trial: (trial.ended or early, trial.number))
        return [self._job(trial, curves.get(trial.number, [])) for trial in found]

    def _curves(self, trials: Sequence[TrialSummary]) -> dict[int, list[EpochRow]]:
        """Returns the epochs of trials, each epoch once."""
        name = self.record.name
        fresh = [trial for trial in trials if trial.number not in self._kept]
        if self._kept:
            read = {trial.number: self.store.curves(name, trial.number).get(trial.number, []) for trial in fresh}
        else:
            read = self.store.curves(name)
        self._kept |= {trial.number: read.get(trial.number, []) for trial in fresh if trial.state in ENDED}
        return read | self._kept

    def _job(self, trial: TrialSummary, rows: list[EpochRow]) -> ShownJob:
        return ShownJob(
            number=trial.number,
            objective=self.record.objective,
            schedule=self._sweep["epochs"],
            name=trial.name,
            params=trial.params,
            rows=rows,
            state=trial.state,
            value=trial.value,
            reason=str(trial.attrs.get("reason", "")),
        )


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
        job = state.unfinished.get(attempt.number)
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
    job = state.unfinished.get(attempt.number)
    rows = [row.seconds for row in job.rows if row.attempt == attempt.attempt] if job else []
    return attempt.started + timedelta(seconds=sum(rows))


def _clock(moment: datetime, now: datetime) -> float:
    """Returns a moment by the monotonic clock."""
    return time.monotonic() - (now - moment).total_seconds()
