"""The runner: gives jobs to workers and supervises them until their source has no more.

It knows nothing of Optuna, the terminal or GPUs. It knows which job is on which worker. What the
workers sent is in the database before the runner decides anything by it: it records what arrived
together in one transaction, then decides, gives free workers their next job, and tells observers.

    started_jobs  the jobs of this run, and what can be done with one of them
    job_messages  what the messages of workers mean for these jobs
    supervisor    jobs that take too long, and silent workers
    time_left     the hours of the run, and the GPU-hours of the study
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from fer_tune.errors import FerTuneError, TakenOverError
from fer_tune.jobs.job_messages import JobMessages
from fer_tune.jobs.limits import EPOCH_GRACE, Limits, Pace
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Reason, StudyOutcome
from fer_tune.jobs.signals import Signals
from fer_tune.jobs.source import Source
from fer_tune.jobs.started_jobs import StartedJobs
from fer_tune.jobs.states import Event
from fer_tune.jobs.supervisor import Supervisor
from fer_tune.jobs.time_left import TimeLeft
from fer_tune.pool import Lanes, Pool
from fer_tune.store import Store

TICK = 0.2
"""Seconds that the runner waits for workers, at most, before it checks clock and signals."""

AT_ONCE = 8
"""Jobs that are started, at most, before the runner looks for messages again.

Asking for hundreds of jobs takes seconds, in which no job would be judged.
"""

LANES_FILE = "lanes.json"
"""File in the storage folder in which workers keep how many lanes are worth it."""


@dataclass
class Runner:
    """Moves jobs between a source and the workers of a pool.

    Attributes:
        lanes: how many jobs a worker trains at the same time; see `Pool.use_lanes`.
        clock: returns the time in seconds. A simulation has a clock of its own.
    """

    source: Source
    pool: Pool
    store: Store
    observers: Observer
    signals: Signals
    limits: Limits = field(default_factory=Limits)
    lanes: Lanes = "auto"
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        pace = Pace(self.limits.hang_timeout)
        self.jobs = StartedJobs(self.source, self.pool, self.store, self.observers, self._now)
        self.messages = JobMessages(self.jobs, pace, self.limits.retries)
        self.supervisor = Supervisor(self.jobs, pace, self.limits.job_timeout)
        self.time_left = TimeLeft(self.limits, self.jobs, self.pool, self.clock)

    def run(self) -> StudyOutcome:
        """Trains until the source has no more jobs, the hours are over, or a signal interrupts it.

        Raises:
            TakenOverError: another process trains these jobs now.
            FerTuneError: the storage could not be reached for too long, workers keep dying, or
                every job fails. The running jobs are queued again.
        """
        counts = self.source.begin(self.time_left.seconds)
        self.pool.use_lanes(self.lanes, self.store.root / LANES_FILE)
        self.time_left.begin()
        self.observers.study_opened(self.source.plan, counts, self.pool.workers)
        with self.store.batch(), _spared_collections():
            try:
                reason = self._loop()
                self.jobs.commit()
            except TakenOverError:
                raise  # the jobs belong to the other run now, so this one must not queue them again
            except FerTuneError:
                self.store.patiently.hurry()  # the next run requeues what cannot be recorded now
                with suppress(FerTuneError):
                    self.jobs.queue_all("the run ended with an error")
                raise
        return self.source.outcome(reason)

    def _loop(self) -> Reason:
        hungry = self._fill()
        self.jobs.commit()
        while not self.signals.requested:
            self._hold()
            if self.time_left.seconds() <= 0:
                self.jobs.stop_all(goes_on=self.time_left.device_seconds() > 0)
            if not self.jobs.running and not self._may_start():
                return self._why_none_starts()
            more = self._may_start() and self.source.prepare(sum(worker.lanes for worker in self.pool.workers))
            self.messages.handle(self.pool.events(0 if more or hungry else TICK))
            self.supervisor.look()
            hungry = self._fill()  # before observers, so that no worker waits for them
            self.jobs.commit()
            self.observers.tick()
            self.jobs.failures.refuse_hopeless(self.source.plan.study, self.source.completed)
        self._leave_checkpoints()
        self.jobs.queue_all("interrupted")
        return "interrupted"

    def _why_none_starts(self) -> Reason:
        if not self.source.wanted():
            return "budget"
        return "hours" if self.time_left.device_seconds() > 0 else "gpu_hours"

    def _hold(self) -> None:
        """Checks that the jobs are still ours, and stops those that another program ended."""
        self.source.hold()
        for uid, reason in self.source.taken().items():
            entry = self.jobs.running.get(uid)
            if entry is None or entry.verdict:
                continue
            if entry.waits:
                self.jobs.waiting.remove(entry)
                self.jobs.leave(entry, Event.OVERDUE, reason, None)
            else:
                entry.verdict = reason
                self.jobs.stop(entry)

    def _now(self) -> float:
        """Returns the runner's clock, in seconds.

        It leaves out the time spent waiting for the storage: no message is read then, so a silent
        worker may be healthy.
        """
        return self.clock() - self.store.patiently.waited

    def _may_start(self) -> bool:
        return self.time_left.seconds() > 0 and self.source.wanted()

    # jobs for idle slots ------------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Gives idle slots a job: first those that lost their worker, then new ones.

        Returns whether slots are left for which it should be called again soon.
        """
        started, most = 0, self.source.most_at_once(len(self.pool.workers))
        for slot in self.pool.idle():
            if started == AT_ONCE:
                return True
            beside = self.jobs.on(slot.worker)
            doubtful = [entry for entry in beside if not entry.proven]
            if any(entry.suspect for entry in doubtful):
                continue
            if self.jobs.waiting:
                if self.jobs.waiting[0].suspect and doubtful:
                    continue
                entry = self.jobs.waiting.popleft()
            elif beside and len(self.jobs.running) >= most:
                continue  # a worker without a job may have one, because it shares its device with none
            elif self._may_start() and not self.signals.requested:
                entry = self.jobs.begin(self.source.next())
            else:
                return False
            self.jobs.submit(entry, slot)
            started += 1
        return False

    # an interruption ----------------------------------------------------------------------------------------------

    def _leave_checkpoints(self) -> None:
        """Asks running jobs to finish their epoch and write a checkpoint, and waits for them."""
        self.messages.interrupted = True
        training = [entry for entry in self.jobs.in_training() if not entry.out_of_time]
        for entry in training:
            self.jobs.stop(entry, keep=True)
        if training:
            self.observers.note(
                f"Interrupted: {_finishing(len(training))}. The same command continues from there. A second "
                "Ctrl-C ends the run at once and loses the unfinished epochs."
            )
        patience = self._now() + EPOCH_GRACE
        while self.jobs.in_training():
            self._hold()
            self.messages.handle(self.pool.events(TICK))
            if self._now() > patience:
                self._stop_slow_epochs()
            self.supervisor.look()
            self.jobs.commit()
            self.observers.tick()

    def _stop_slow_epochs(self) -> None:
        """Stops the jobs whose epoch takes too long after an interruption. They wrote their
        checkpoints when they were asked to finish."""
        for entry in self.jobs.in_training():
            if entry.stopped is None:
                entry.stopped = self._now()
                self.pool.stop_job(entry.where)


@contextmanager
def _spared_collections() -> Iterator[None]:
    """Lets the garbage collector look only at what is made from now on.

    A full collection also looks at all modules and at all trials of a long study. That takes a
    tenth of a second, in which no slot gets a job.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _finishing(jobs: int) -> str:
    """Returns what the running jobs do now, in the right number."""
    if jobs == 1:
        return f"1 running job has {EPOCH_GRACE:g} s to finish its epoch, and leaves a checkpoint"
    return f"{jobs} running jobs have {EPOCH_GRACE:g} s to finish their epochs, and leave checkpoints"
