"""What a runner does with the messages of workers: it records them, and then decides by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fer_tune.job import OUT_OF_TIME, EpochRow, JobEnd
from fer_tune.jobs.limits import Pace
from fer_tune.jobs.running import Running, blame
from fer_tune.jobs.started_jobs import StartedJobs, overdue
from fer_tune.jobs.states import Event
from fer_tune.pool import EndEvent, LanesEvent, LostEvent, ProgressEvent, ReadyEvent, RowEvent
from fer_tune.pool import Event as PoolEvent


@dataclass
class JobMessages:
    """Handles what workers sent.

    Attributes:
        retries: how often a job is tried again after its worker died.
        interrupted: whether the run is interrupted. Then no job is tried again.
    """

    jobs: StartedJobs
    pace: Pace
    retries: int
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.source, self.store, self.observers = self.jobs.source, self.jobs.store, self.jobs.observers

    def handle(self, events: Sequence[PoolEvent]) -> None:
        """Handles what arrived together."""
        for arrived in _rounds(events):
            self._rows([event.row for event in arrived if isinstance(event, RowEvent)])
            for event in arrived:
                if not isinstance(event, RowEvent):
                    self._last_event(event) if self.interrupted else self._event(event)

    def _event(self, event: PoolEvent) -> None:
        workers, later = self.jobs.pool.workers, self.jobs.afterwards.append
        match event:
            case ReadyEvent(worker):
                ready = workers[worker]
                later(lambda: self.observers.worker_ready(ready))
            case LanesEvent(worker):
                changed = workers[worker]
                later(lambda: self.observers.lanes_changed(changed))
            case ProgressEvent(_, progress):
                entry = self.jobs.running[progress.job]
                entry.heard = self.jobs.now()
                job = entry.job
                later(lambda: self.observers.job_progress(job, progress))
            case EndEvent(_, end):
                self._ended(self.jobs.running[end.job], end)
            case LostEvent():
                self._lost(event)

    def _last_event(self, event: PoolEvent) -> None:
        """Handles an event after an interruption: no job is tried again, and none is started."""
        match event:
            case EndEvent(_, end) if end.status == "stopped" and not self.jobs.running[end.job].decided:
                self.store.jobs.end_attempt(end)
                self.jobs.running[end.job].worker = None
            case EndEvent(_, end):
                self._ended(self.jobs.running[end.job], end)
            case LostEvent(_, jobs):
                for job in jobs:
                    self.store.jobs.end_attempt(JobEnd(job.uid, job.attempt, "failed", event.reason, event.log_tail))
                    self.jobs.running[job.uid].worker = None
            case ProgressEvent():
                self._event(event)

    # epochs -------------------------------------------------------------------------------------------------------

    def _rows(self, rows: Sequence[EpochRow]) -> None:
        """Records one epoch of each of several jobs, and then lets the source judge them."""
        heard = []
        for row in rows:
            entry = self.jobs.running[row.job]
            entry.heard = self.jobs.now()
            if not entry.verdict:
                self.store.epochs.add(row)
                self.source.record_epoch(entry.job, row, entry.value(row))
                heard.append((entry, row))
        self.store.commit()
        for entry, row in heard:
            self._judge(entry, row)
        self.store.commit()  # what the source noted while it judged
        for entry, _ in heard:
            if entry.verdict:
                self.jobs.stop(entry)

    def _judge(self, entry: Running, row: EpochRow) -> None:
        job, replayed, value = entry.job, entry.add(row), entry.value(row)
        if not replayed:
            self.pace.took(row.seconds)
        entry.verdict = self.source.judge(job, row, value, replayed).reason
        self.jobs.afterwards.append(lambda: self.observers.epoch(job, row, value, replayed))

    # ends ---------------------------------------------------------------------------------------------------------

    def _ended(self, entry: Running, end: JobEnd, lost: bool = False) -> None:
        """Records an attempt whose end is also the job's end."""
        self.store.jobs.end_attempt(end)
        event, reason = what_happened(entry, end, self.jobs.out_of_time(entry), lost)
        self.jobs.leave(entry, event, reason, end)

    def _lost(self, event: LostEvent) -> None:
        worker = self.jobs.pool.workers[event.worker]
        self.jobs.afterwards.append(lambda: self.observers.worker_lost(worker, event.reason, event.log_tail))
        lost = [self.jobs.running[job.uid] for job in event.jobs]
        blame(lost)
        for entry in lost:
            self._lost_job(entry, event)

    def _lost_job(self, entry: Running, event: LostEvent) -> None:
        end = JobEnd(entry.job.uid, entry.job.attempt, "failed", event.reason, event.log_tail)
        if entry.decided:
            self._ended(entry, end, lost=True)
            return
        self.store.jobs.end_attempt(end)
        if entry.hung > 1 or entry.losses > self.retries:
            self.jobs.leave(entry, Event.LOST_TOO_OFTEN, event.reason, end)
        else:
            self.jobs.wait_again(entry)


def what_happened(entry: Running, end: JobEnd, out_of_time: Event, lost: bool = False) -> tuple[Event, str]:
    """Returns what the end of an attempt means for its job, and the reason to record.

    Args:
        out_of_time: what it means if the hours of the run are over.
        lost: whether the attempt ended because its worker died.
    """
    cut = lost or end.status == "stopped"
    event, reason = (Event.TOO_LARGE if end.infeasible > 0 else Event.RAISED), end.reason
    if entry.verdict:
        event, reason = Event.STOPPED, entry.verdict
    elif end.status == "paused" and entry.best is not None:
        event = Event.PAUSED
    elif end.status == "completed" and (entry.best is not None or entry.job.fit != "train"):
        event = Event.COMPLETED
    elif end.status in ("completed", "paused"):
        event, reason = Event.NEVER_FINITE, f"{entry.job.objective} was never finite"
    elif cut and entry.overdue:
        event, reason = overdue(entry), entry.overdue
    elif cut and entry.out_of_time:
        event, reason = out_of_time, OUT_OF_TIME
    elif end.status == "stopped":
        event, reason = Event.INTERRUPTED, "interrupted"
    elif end.status == "diverged" and entry.job.fit == "train":
        event = Event.DIVERGED
    return event, reason


def _rounds(events: Sequence[PoolEvent]) -> Iterator[list[PoolEvent]]:
    """Yields the events in groups. Each has at most one event of a job, in order.

    So an epoch is judged before the next one of the same job is recorded.
    """
    rounds: list[list[PoolEvent]] = []
    later: Counter[str | int] = Counter()
    for event in events:
        concerned = _concerned(event)
        place = max(later[name] for name in concerned)
        for name in concerned:
            later[name] = place + 1
        if place == len(rounds):
            rounds.append([])
        rounds[place].append(event)
    yield from rounds


def _concerned(event: PoolEvent) -> list[str | int]:
    """Returns the uids of the jobs and the worker that an event is about."""
    match event:
        case RowEvent(_, row):
            return [row.job]
        case ProgressEvent(_, progress):
            return [progress.job]
        case EndEvent(_, end):
            return [end.job]
        case LostEvent(worker, jobs):
            return [worker, *(job.uid for job in jobs)]
    return [event.worker]
