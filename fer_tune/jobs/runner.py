"""The runner: gives jobs to workers and supervises them until their source has no more.

It knows nothing of Optuna, the terminal or GPUs. It knows which job is on which worker. What the
workers sent is in the database before the runner decides anything by it: it records what arrived
together in one transaction, then decides, gives free workers their next job, and tells observers.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fer_tune.errors import FerTuneError, TakenOverError
from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.jobs.checkpoints import remove_checkpoint
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import EndState, Reason, StudyOutcome
from fer_tune.jobs.running import Running, blame
from fer_tune.jobs.signals import Signals
from fer_tune.jobs.source import Source
from fer_tune.jobs.states import Event, transition
from fer_tune.jobs.supervision import EPOCH_GRACE, STOP_GRACE, Failures, Limits, Pace
from fer_tune.pool import EndEvent, Lanes, LanesEvent, LostEvent, Pool, ProgressEvent, ReadyEvent, RowEvent, Slot
from fer_tune.pool import Event as PoolEvent
from fer_tune.store import Store

TICK = 0.2
"""Seconds that the runner waits for workers, at most, before it checks clock and signals."""

AT_ONCE = 8
"""Jobs that are started, at most, before the runner looks for messages again.

Asking for hundreds of jobs takes seconds, in which no job would be judged.
"""

LANES_FILE = "lanes.json"
"""File in the storage folder in which workers keep how many lanes are worth it."""

OUT_OF_TIME = "time"
"""Reason that is recorded for a job that was stopped because the hours of its run were over."""


@dataclass
class Runner:
    """Moves jobs between a source and the workers of a pool.

    Attributes:
        running: the jobs that this run has started and not yet finished, by uid.
        waiting: those of them that lost their worker and wait for another one.
        lanes: how many jobs a worker trains at the same time; see `Pool.use_lanes`.
        clock: returns the time in seconds. A simulation has a clock of its own.
        deadline: when the hours of the run are over, by the clock.
        spent: seconds of devices that the study has used, in all its runs.
        ticked: when `spent` was counted last, by the clock.
        afterwards: what must wait until the database has what happened, such as calls of observers.
    """

    source: Source
    pool: Pool
    store: Store
    observers: Observer
    signals: Signals
    limits: Limits = field(default_factory=Limits)
    lanes: Lanes = "auto"
    running: dict[str, Running] = field(default_factory=dict)
    waiting: deque[Running] = field(default_factory=deque)
    deadline: float = math.inf
    failures: Failures = field(default_factory=Failures)
    spent: float = 0.0
    ticked: float = math.inf
    clock: Callable[[], float] = time.monotonic
    afterwards: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pace = Pace(self.limits.hang_timeout)
        self.study = self.source.plan.study

    def run(self) -> StudyOutcome:
        """Trains until the source has no more jobs, the hours are over, or a signal interrupts it.

        Raises:
            TakenOverError: another process trains these jobs now.
            FerTuneError: the storage could not be reached for too long, workers keep dying, or
                every job fails. The running jobs are queued again.
        """
        counts = self.source.begin(self._left)
        self.pool.use_lanes(self.lanes, self.store.root / LANES_FILE)
        if self.limits.hours is not None:
            self.deadline = self.clock() + 3600 * self.limits.hours
        if self.limits.gpu_hours is not None:
            self.spent = self.limits.spent()
        self.observers.study_opened(self.source.plan, counts, self.pool.workers)
        with self.store.batch():
            try:
                reason = self._loop()
                self._tell()
            except TakenOverError:
                raise  # the jobs belong to the other run now, so this one must not queue them again
            except FerTuneError:
                self.store.patiently.hurry()  # the next run requeues what cannot be recorded now
                with suppress(FerTuneError):
                    self._queue_all("the run ended with an error")
                raise
        return self.source.outcome(reason)

    def _loop(self) -> Reason:
        hungry = self._fill()
        self._tell()
        while not self.signals.requested:
            self._hold()
            if self._left() <= 0:
                self._stop_all()
            if not self.running and not self._may_start():
                return "hours" if self.source.wanted() and self._device_hours_left() > 0 else "budget"
            more = self._may_start() and self.source.prepare(sum(worker.lanes for worker in self.pool.workers))
            self._handle(self.pool.events(0 if more or hungry else TICK), self._event)
            self._supervise()
            hungry = self._fill()  # before observers, so that no worker waits for them
            self._tell()
            self.observers.tick()
            self.failures.refuse_hopeless(self.study, self.source.completed)
        self._leave_checkpoints()
        self._queue_all("interrupted")
        return "interrupted"

    def _hold(self) -> None:
        """Checks that the jobs are still ours, and stops those that another program ended."""
        self.source.hold()
        for uid, reason in self.source.taken().items():
            entry = self.running.get(uid)
            if entry is None or entry.verdict:
                continue
            if entry.worker is None:
                self.waiting.remove(entry)
                self._leave(entry, Event.OVERDUE, reason, None)
            else:
                entry.verdict = reason
                self._stop(entry)

    def _tell(self) -> None:
        """Commits what waits, and then does what had to wait for it."""
        self.store.commit()
        afterwards, self.afterwards = self.afterwards, []
        for call in afterwards:
            call()

    def _now(self) -> float:
        """Returns the runner's clock, in seconds.

        It leaves out the time spent waiting for the storage: no message is read then, so a silent
        worker may be healthy.
        """
        return self.clock() - self.store.patiently.waited

    def _left(self) -> float:
        """Returns the seconds until the hours of the run or the study's GPU-hours are over."""
        return min(max(0.0, self.deadline - self.clock()), self._device_hours_left())

    def _device_hours_left(self) -> float:
        """Returns the seconds until the study's GPU-hours are over, if all workers are busy."""
        if self.limits.gpu_hours is None:
            return math.inf
        now = self.clock()
        busy = {entry.worker.index for entry in self.running.values() if entry.worker is not None}
        self.spent += len(busy) * max(0.0, now - self.ticked)
        self.ticked = now
        return max(0.0, 3600 * self.limits.gpu_hours - self.spent) / max(1, len(self.pool.workers))

    def _may_start(self) -> bool:
        return self._left() > 0 and self.source.wanted()

    # jobs for workers ---------------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Gives idle slots a job: first those that lost their worker, then new ones.

        Returns whether slots are left for which it should be called again soon.
        """
        started = 0
        for slot in self.pool.idle():
            if started == AT_ONCE:
                return True
            doubtful = [entry for entry in self._on(slot.worker) if not entry.proven]
            if any(entry.suspect for entry in doubtful):
                continue
            if self.waiting:
                if self.waiting[0].suspect and doubtful:
                    continue
                entry = self.waiting.popleft()
            elif self._may_start() and not self.signals.requested:
                entry = self._begin(self.source.next())
            else:
                return False
            self._submit(entry, slot)
            started += 1
        return False

    def _on(self, worker: int) -> list[Running]:
        """Returns the jobs that a worker trains."""
        return [entry for entry in self.running.values() if entry.worker is not None and entry.where.worker == worker]

    def _begin(self, job: Job) -> Running:
        earlier = self.store.epochs.curve(job.study, job.uid) if job.attempt else []
        entry = self.running[job.uid] = Running(job, earlier={row.epoch: row for row in earlier})
        return entry

    def _submit(self, entry: Running, slot: Slot) -> None:
        entry.state = transition(entry.state, Event.SUBMITTED).after
        worker = entry.worker = self.pool.workers[slot.worker]
        entry.slot, job = slot, entry.job
        self.store.jobs.start_attempt(job, slot.worker, worker.device, slot.lane)
        self.store.commit()
        entry.heard = self._now()
        entry.began = entry.heard if entry.began is None else entry.began
        self.pool.submit(slot, job)
        self.afterwards.append(lambda: self.observers.job_started(job, worker, slot.lane))

    # messages of workers ------------------------------------------------------------------------------------------

    def _handle(self, events: Sequence[PoolEvent], handle: Callable[[PoolEvent], None]) -> None:
        """Handles what arrived together.

        Args:
            handle: handles an event that is not a row.
        """
        for arrived in _rounds(events):
            self._rows([event.row for event in arrived if isinstance(event, RowEvent)])
            for event in arrived:
                if not isinstance(event, RowEvent):
                    handle(event)

    def _event(self, event: PoolEvent) -> None:
        match event:
            case ReadyEvent(worker):
                ready = self.pool.workers[worker]
                self.afterwards.append(lambda: self.observers.worker_ready(ready))
            case LanesEvent(worker):
                changed = self.pool.workers[worker]
                self.afterwards.append(lambda: self.observers.lanes_changed(changed))
            case ProgressEvent(_, progress):
                entry = self.running[progress.job]
                entry.heard = self._now()
                job = entry.job
                self.afterwards.append(lambda: self.observers.job_progress(job, progress))
            case EndEvent(_, end):
                self._ended(self.running[end.job], end)
            case LostEvent():
                self._lost(event)

    def _rows(self, rows: Sequence[EpochRow]) -> None:
        """Records one epoch of each of several jobs, and then lets the source judge them."""
        heard = []
        for row in rows:
            entry = self.running[row.job]
            entry.heard = self._now()
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
                self._stop(entry)

    def _judge(self, entry: Running, row: EpochRow) -> None:
        job, replayed, value = entry.job, entry.add(row), entry.value(row)
        if not replayed:
            self.pace.took(row.seconds)
        entry.verdict = self.source.judge(job, row, value).reason
        self.afterwards.append(lambda: self.observers.epoch(job, row, value, replayed))

    def _ended(self, entry: Running, end: JobEnd, lost: bool = False) -> None:
        """Records an attempt whose end is also the job's end.

        Args:
            lost: whether the attempt ended because its worker died.
        """
        self.store.jobs.end_attempt(end)
        cut = lost or end.status == "stopped"
        if entry.verdict:
            event, reason = Event.STOPPED, entry.verdict
        elif end.status == "paused" and entry.best is not None:
            event, reason = Event.PAUSED, end.reason
        elif end.status == "completed" and (entry.best is not None or entry.job.fit != "train"):
            event, reason = Event.COMPLETED, end.reason
        elif end.status in ("completed", "paused"):
            event, reason = Event.NEVER_FINITE, f"{entry.job.objective} was never finite"
        elif cut and entry.overdue:
            event, reason = (Event.OVERDUE_EMPTY if entry.last is None else Event.OVERDUE), entry.overdue
        elif cut and entry.out_of_time:
            event, reason = self._out_of_time(entry), OUT_OF_TIME
        elif end.status == "stopped":
            event, reason = Event.INTERRUPTED, "interrupted"
        elif end.status == "diverged" and entry.job.fit == "train":
            event, reason = Event.DIVERGED, end.reason
        else:
            event, reason = (Event.TOO_LARGE if end.infeasible > 0 else Event.RAISED), end.reason
        self._leave(entry, event, reason, end)

    def _out_of_time(self, entry: Running) -> Event:
        return Event.OUT_OF_TIME_EMPTY if entry.last is None else Event.OUT_OF_TIME

    def _lost(self, event: LostEvent) -> None:
        worker = self.pool.workers[event.worker]
        self.afterwards.append(lambda: self.observers.worker_lost(worker, event.reason, event.log_tail))
        lost = [self.running[job.uid] for job in event.jobs]
        blame(lost)
        for entry in lost:
            self._lost_job(entry, event)

    def _lost_job(self, entry: Running, event: LostEvent) -> None:
        end = JobEnd(entry.job.uid, entry.job.attempt, "failed", event.reason, event.log_tail)
        if entry.verdict or entry.overdue or entry.out_of_time:
            self._ended(entry, end, lost=True)
        elif entry.hung > 1 or entry.losses > self.limits.retries:
            self.store.jobs.end_attempt(end)
            self._leave(entry, Event.LOST_TOO_OFTEN, event.reason, end)
        else:
            self.store.jobs.end_attempt(end)
            entry.state = transition(entry.state, Event.LOST).after
            entry.try_again()
            self.waiting.append(entry)

    # supervision ----------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Stops jobs that take too long, and ends workers that are silent for too long."""
        now = self._now()
        for entry in list(self.running.values()):
            self._end_overdue(entry, now)
            silence = now - entry.heard
            if silence > self.pace.patience:
                self._end_worker(entry, f"The worker sent nothing for {silence:.0f} s and was stopped")
            elif entry.stopped is not None and now - entry.stopped > STOP_GRACE:
                why = entry.overdue or ("the hours of the run are over" if entry.out_of_time else "interrupted")
                self._end_worker(entry, f"the worker was killed {STOP_GRACE:g} s after it was asked to stop ({why})")

    def _end_overdue(self, entry: Running, now: float) -> None:
        """Stops a job whose time limit is over."""
        limit = self.limits.job_timeout
        if limit is None or entry.began is None or now - entry.began <= limit or entry.verdict or entry.overdue:
            return
        entry.overdue = f"the job took longer than its trial_timeout of {limit:g} s"
        if entry.worker is None:
            self.waiting.remove(entry)
            event = Event.OVERDUE_EMPTY if entry.last is None else Event.OVERDUE
            self._leave(entry, event, entry.overdue, None)
        else:
            self._stop(entry)
            entry.stopped = now

    def _end_worker(self, entry: Running, why: str) -> None:
        """Ends a job's worker, once. The pool reports the loss as a `LostEvent`."""
        if entry.worker is not None and entry.worker.can_hang and entry.heard < math.inf:
            entry.hung, entry.heard, entry.stopped = entry.hung + 1, math.inf, None
            entry.ended_worker = True
            self.pool.end_worker(entry.worker.index, why)

    # ends -----------------------------------------------------------------------------------------------------

    def _leave(self, entry: Running, event: Event, reason: str, end: JobEnd | None) -> None:
        """Finishes with a job in this run: its source records how it ended."""
        move = transition(entry.state, event)
        state: EndState = "requeued" if move.after == "queued" else move.after  # type: ignore[assignment]
        # Files first: if this process is killed in between, the next run finds a running job.
        if entry.job.artifacts is not None:
            recorded = end.files.values() if end else ()
            discard_unrecorded(self.store, entry.job.study, entry.job.uid, entry.job.artifacts, recorded)
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

    def _leave_checkpoints(self) -> None:
        """Asks running jobs to finish their epoch and write a checkpoint, and waits for them."""
        on_workers = [entry for entry in self.running.values() if entry.worker is not None]
        for entry in on_workers:
            if not entry.stopping:
                entry.stopping = True
                self.pool.stop_job(entry.where, keep=True)
        if on_workers:
            self.observers.note(
                f"Interrupted: {_finishing(len(on_workers))}. The same command continues from there. A second "
                "Ctrl-C ends the run at once and loses the unfinished epochs."
            )
        patience = self._now() + EPOCH_GRACE
        while any(entry.worker is not None for entry in self.running.values()):
            self._hold()
            self._handle(self.pool.events(TICK), self._last_event)
            if self._now() > patience:
                self._stop_slow_epochs()
            self._supervise()
            self._tell()
            self.observers.tick()

    def _stop_slow_epochs(self) -> None:
        """Stops the jobs whose epoch takes too long after an interruption. They wrote their
        checkpoints when they were asked to finish."""
        for entry in self.running.values():
            if entry.worker is not None and entry.stopped is None:
                entry.stopped = self._now()
                self.pool.stop_job(entry.where)

    def _last_event(self, event: PoolEvent) -> None:
        """Handles an event after an interruption: no job is tried again, and none is started."""
        match event:
            case EndEvent(_, end) if end.status == "stopped" and not self._is_decided(self.running[end.job]):
                self.store.jobs.end_attempt(end)
                self.running[end.job].worker = None
            case EndEvent(_, end):
                self._ended(self.running[end.job], end)
            case LostEvent(_, jobs):
                for job in jobs:
                    self.store.jobs.end_attempt(JobEnd(job.uid, job.attempt, "failed", event.reason, event.log_tail))
                    self.running[job.uid].worker = None
            case ProgressEvent():
                self._event(event)

    def _is_decided(self, entry: Running) -> bool:
        """Returns whether the job ends for a reason of its own, and not because of the
        interruption."""
        return bool(entry.verdict or entry.overdue or entry.out_of_time)

    def _stop_all(self) -> None:
        """Stops running jobs and ends waiting ones, because the hours of the run are over."""
        while self.waiting:
            entry = self.waiting.popleft()
            self._leave(entry, self._out_of_time(entry), OUT_OF_TIME, None)
        for entry in self.running.values():
            if not entry.out_of_time:
                entry.out_of_time, entry.stopped = True, self._now()
                self._stop(entry)

    def _stop(self, entry: Running) -> None:
        if not entry.stopping:
            entry.stopping = True
            self.pool.stop_job(entry.where)

    def _queue_all(self, reason: str) -> None:
        """Queues again every job that this run has started and not finished."""
        for entry in list(self.running.values()):
            end = JobEnd(entry.job.uid, entry.job.attempt, "stopped", reason)
            if entry.worker is not None:
                self.store.jobs.end_attempt(end)
            if entry.verdict:
                self._leave(entry, Event.STOPPED, entry.verdict, end)
            else:
                self._leave(entry, Event.INTERRUPTED, reason, end)
        self.waiting.clear()
        self._tell()


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


def discard_unrecorded(store: Store, study: str, uid: str, folder: Path, recorded: Iterable[Path] = ()) -> None:
    """Deletes the files in a job's folder that are not recorded as artifacts.

    Args:
        uid: the job's.
        folder: the job's folder, which may not exist.
        recorded: files that are known to be recorded.
    """
    if left := set(folder.glob("*")) - set(recorded):
        known = {store.artifacts.path(record).resolve() for record in store.artifacts.of(study, uid)}
        for path in left:
            if path.resolve() not in known:
                with suppress(OSError):
                    path.unlink()


def _finishing(jobs: int) -> str:
    """Returns what the running jobs do now, in the right number."""
    if jobs == 1:
        return f"1 running job has {EPOCH_GRACE:g} s to finish its epoch, and leaves a checkpoint"
    return f"{jobs} running jobs have {EPOCH_GRACE:g} s to finish their epochs, and leave checkpoints"
