"""The jobs that a run has started and not yet finished, and what a run can do with one of them.

It can begin a job, give it to a slot, ask its worker to stop it, let it wait for another worker,
and leave it. Each step is recorded in the store, and observers hear of it after the commit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fer_tune.job import OUT_OF_TIME, EpochRow, Job, JobEnd
from fer_tune.jobs.checkpoints import remove_checkpoint
from fer_tune.jobs.limits import Failures
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import EndState
from fer_tune.jobs.running import Running
from fer_tune.jobs.source import Source
from fer_tune.jobs.states import Event, transition
from fer_tune.pool import Pool, Slot
from fer_tune.store import AttemptRecord, Store


@dataclass
class StartedJobs:
    """The jobs that a run has started and not yet finished.

    Attributes:
        now: returns the runner's clock; see `Runner`.
        running: all of them, by uid.
        waiting: those that lost their worker and wait for another one.
        failures: counts the jobs that failed.
        afterwards: what must wait until the database has what happened, such as calls of observers.
    """

    source: Source
    pool: Pool
    store: Store
    observers: Observer
    now: Callable[[], float]
    running: dict[str, Running] = field(default_factory=dict)
    waiting: deque[Running] = field(default_factory=deque)
    failures: Failures = field(default_factory=Failures)
    afterwards: list[Callable[[], object]] = field(default_factory=list)
    _pausing: bool = False

    def commit(self) -> None:
        """Commits what waits, and then does what had to wait for it."""
        self.store.commit()
        afterwards, self.afterwards = self.afterwards, []
        for call in afterwards:
            call()

    def on(self, worker: int) -> list[Running]:
        """Returns the jobs that a worker trains."""
        return [entry for entry in self.in_training() if entry.where.worker == worker]

    def in_training(self) -> list[Running]:
        """Returns the jobs that workers train."""
        return [entry for entry in self.running.values() if entry.worker is not None]

    def busy_workers(self) -> set[int]:
        """Returns the workers that train."""
        return {entry.worker.index for entry in self.running.values() if entry.worker is not None}

    # one job ------------------------------------------------------------------------------------------------------

    def begin(self, job: Job) -> Running:
        """Adds a job that the source has recorded."""
        entry = self.running[job.uid] = Running(job)
        if job.attempt:
            earlier = self.store.epochs.curve(job.study, job.uid)
            entry.earlier = {row.epoch: row for row in earlier}
            entry.spent = seconds_of(self.store.jobs.attempts(job.study, job.uid), earlier)
        return entry

    def submit(self, entry: Running, slot: Slot) -> None:
        """Gives a job to a slot, once the database has its attempt."""
        entry.state = transition(entry.state, Event.SUBMITTED).after
        worker = entry.worker = self.pool.workers[slot.worker]
        entry.slot, job = slot, entry.job
        self.store.jobs.start_attempt(job, slot.worker, worker.device, slot.lane)
        self.store.commit()
        entry.heard = self.now()
        entry.began = entry.heard if entry.began is None else entry.began
        self.pool.submit(slot, job)
        self.afterwards.append(lambda: self.observers.job_started(job, worker, slot.lane))

    def stop(self, entry: Running, keep: bool = False) -> None:
        """Asks the worker of a job to stop it, once.

        Args:
            keep: whether it should finish its epoch and write a checkpoint.
        """
        if not entry.stopping:
            entry.stopping = True
            self.pool.stop_job(entry.where, keep=keep)

    def wait_again(self, entry: Running) -> None:
        """Lets a job that lost its worker wait for another one."""
        entry.state = transition(entry.state, Event.LOST).after
        entry.try_again()
        self.waiting.append(entry)

    def leave(self, entry: Running, event: Event, reason: str, end: JobEnd | None) -> None:
        """Finishes with a job in this run: its source records how it ended.

        Args:
            end: the last message of its worker, or None if it waits for a worker.
        """
        move = transition(entry.state, event)
        state: EndState = "requeued" if move.after == "queued" else move.after  # type: ignore[assignment]
        # Files first: if this process is killed in between, the next run finds a running job.
        if entry.job.artifacts is not None:
            recorded = end.files.values() if end else ()
            self.store.artifacts.discard_unrecorded(entry.job.study, entry.job.uid, entry.job.artifacts, recorded)
        job, ended = entry.job, entry.ended(state, reason, end)
        self.source.ended(job, ended)
        del self.running[job.uid]
        checkpoint = job.checkpoint
        if not move.checkpoint and checkpoint is not None:
            self.afterwards.append(lambda: remove_checkpoint(checkpoint))
        if move.after == "failed":
            self.failures.add(reason, ended.infeasible > 0)
        elif move.after != "queued":
            self.failures.reset()
        self.afterwards.append(lambda: self.observers.job_ended(job, ended))

    # all jobs -----------------------------------------------------------------------------------------------------

    def stop_all(self, goes_on: bool) -> None:
        """Stops running jobs and ends waiting ones, because the hours of the run are over.

        Jobs that will be paused write a checkpoint first, and have `CUT_GRACE` for their epoch.

        Args:
            goes_on: whether a later run may continue them.
        """
        self._pausing = self.source.pauses and goes_on
        while self.waiting:
            entry = self.waiting.popleft()
            self.leave(entry, self.out_of_time(entry), OUT_OF_TIME, None)
        for entry in self.running.values():
            if not entry.out_of_time:
                entry.out_of_time, entry.stopped, entry.at_once = True, self.now(), not self._pausing
                self.stop(entry, keep=self._pausing)

    def out_of_time(self, entry: Running) -> Event:
        """Returns what happens to a job when the hours of its run are over."""
        if entry.last is None:
            return Event.OUT_OF_TIME_EMPTY
        return Event.CUT_OFF if self._pausing else Event.OUT_OF_TIME

    def queue_all(self, reason: str) -> None:
        """Queues again every job that this run has started and not finished."""
        for entry in list(self.running.values()):
            end = JobEnd(entry.job.uid, entry.job.attempt, "stopped", reason)
            if entry.worker is not None:
                self.store.jobs.end_attempt(end)
            if entry.verdict:
                self.leave(entry, Event.STOPPED, entry.verdict, end)
            else:
                self.leave(entry, Event.INTERRUPTED, reason, end)
        self.waiting.clear()
        self.commit()


def seconds_of(attempts: Sequence[AttemptRecord], rows: Sequence[EpochRow]) -> float:
    """Returns the seconds that the attempts at a job took together.

    Nobody recorded when an attempt of a killed run ended. Of such an attempt, the epochs count.

    Args:
        rows: the job's epochs.
    """
    known = [one for one in attempts if one.ended is not None and one.status != "lost"]
    unknown = {one.attempt for one in attempts} - {one.attempt for one in known}
    took = sum((one.ended - one.started).total_seconds() for one in known if one.ended is not None)
    return took + sum(row.seconds for row in rows if row.attempt in unknown)


def overdue(entry: Running) -> Event:
    """Returns what happens to a job when its time limit is over."""
    return Event.OVERDUE_EMPTY if entry.last is None else Event.OVERDUE
