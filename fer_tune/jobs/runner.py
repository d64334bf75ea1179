"""One study's turn on the workers: trials out, news in, until the budget is met."""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from fer_tune.errors import FerTuneError, TakenOverError
from fer_tune.job import EpochRow, JobEnd
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Reason, StudyOutcome
from fer_tune.jobs.signals import Signals
from fer_tune.jobs.supervision import STOP_GRACE, Pace
from fer_tune.mirror.supervisor import MirrorSupervisor
from fer_tune.pool import EndEvent, Event, LostEvent, Pool, ReadyEvent, RowEvent
from fer_tune.sources.search import Live, Trials

TICK = 0.2
"""Seconds that the orchestrator waits for workers at most before it looks at the clock and at signals."""


@dataclass
class Turn:
    """Moves trials between the study and the workers."""

    trials: Trials
    pool: Pool
    mirror: MirrorSupervisor
    watch: Observer
    interrupt: Signals
    again: deque[Live] = field(default_factory=deque)
    """Those among the live trials that lost their worker and wait for another."""
    deadline: float = math.inf
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self.pace = Pace(self.trials.sweep.limits.hang_timeout)

    def run(self) -> StudyOutcome:
        """Trains until the budget is met, the hours are over, or an interruption."""
        sweep = self.trials.sweep
        counts = self.trials.begin()
        if sweep.budget.hours is not None:
            self.deadline = time.monotonic() + 3600 * sweep.budget.hours
        self.watch.study_opened(sweep, counts, self.pool.workers)
        try:
            reason = self._loop()
        except TakenOverError:
            raise  # what is not told is the other run's by now
        except FerTuneError:
            self.trials.store.patiently.hurry()  # what cannot be told now, the next run finds
            with suppress(FerTuneError):
                self.trials.requeue_all("the run ended with an error")
            raise
        outcome = self.trials.outcome(reason)
        self.watch.study_closed(outcome)
        return outcome

    def _loop(self) -> Reason:
        while not self.interrupt.requested:
            self.trials.hold()
            if time.monotonic() >= self.deadline:
                self._stop_all()
            self._fill()
            if not self.trials.live and not self._may_start():
                return "hours" if self.trials.wanted else "budget"
            for event in self.pool.events(TICK):
                self._handle(event)
            self._watch_over()
            self.mirror.tick()
            self.trials.refuse_hopeless()
        self._leave_checkpoints()
        self.trials.requeue_all("interrupted")
        return "interrupted"

    def _now(self) -> float:
        """The turn's clock, in seconds. It stands still while the storage is waited for, when nobody is listened to."""
        return time.monotonic() - self.trials.store.patiently.waited

    def _may_start(self) -> bool:
        return self.trials.wanted and time.monotonic() < self.deadline

    # -- trials out ---------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Gives each idle worker a trial: one that lost its worker, else a new one."""
        for index in self.pool.idle():
            if self.again:
                live = self.again.popleft()
            elif self._may_start() and not self.interrupt.requested:
                live = self.trials.ask()
            else:
                return
            self.trials.started(live, self.pool.workers[index])
            live.heard = self._now()
            live.began = live.heard if live.began is None else live.began
            self.pool.submit(index, live.spec)

    # -- news in ------------------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        match event:
            case ReadyEvent(worker):
                self.watch.worker_ready(self.pool.workers[worker])
            case RowEvent(_, row):
                self._row(row)
            case EndEvent(_, end):
                self.trials.end(self.trials.live[end.number], end)
                self._fill()  # before other workers' news: this one waits
            case LostEvent():
                self._lost(event)

    def _row(self, row: EpochRow) -> None:
        live = self.trials.live[row.number]
        live.heard = self._now()
        self.pace.took(row.seconds)
        before = live.pruned
        self.trials.row(live, row)
        if live.pruned and not before:
            self._stop(live)

    def _lost(self, event: LostEvent) -> None:
        self.watch.worker_lost(self.pool.workers[event.worker], event.reason, event.log_tail)
        if event.spec is None:
            return
        live, spec = self.trials.live[event.spec.number], event.spec
        end = JobEnd(spec.number, spec.attempt, "failed", event.reason, event.log_tail)
        if live.pruned or live.overdue or live.hung > 1 or spec.attempt >= self.trials.sweep.retries:
            self.trials.end(live, end)
        else:
            self.trials.try_again(live, end)
            self.again.append(live)

    # -- deadlines ----------------------------------------------------------------------------------------

    def _watch_over(self) -> None:
        """Ends what is silent for too long, or takes too long."""
        now = self._now()
        for live in list(self.trials.live.values()):
            self._end_overdue(live, now)
            silence = now - live.heard
            if silence > self.pace.patience:
                self._end_worker(live, f"nothing was heard for {silence:.0f} s, so it was ended")

    def _end_overdue(self, live: Live, now: float) -> None:
        """Stops a trial whose `trial_timeout` is over; a worker that does not hear of it is ended."""
        limit = self.trials.sweep.limits.trial_timeout
        if limit is None or live.began is None or now - live.began <= limit or live.pruned:
            return
        if not live.overdue:
            live.overdue = f"it took longer than its trial_timeout of {limit:g} s"
            if live.worker is None:
                self.again.remove(live)
                self.trials.overdue(live)
            else:
                self._stop(live)
        elif now - live.began > limit + STOP_GRACE:
            self._end_worker(live, f"it did not stop when its trial_timeout of {limit:g} s was over, so it was ended")

    def _end_worker(self, live: Live, why: str) -> None:
        """Ends a trial's worker, once; that it is lost is told as an event."""
        # A worker without a process trains in this one: it cannot be silent while we look.
        if live.worker is not None and live.worker.pid is not None and live.heard < math.inf:
            live.hung, live.heard = live.hung + 1, math.inf
            self.pool.end_worker(live.worker.index, why)

    # -- ends ---------------------------------------------------------------------------------------------

    def _leave_checkpoints(self) -> None:
        """Lets running trials finish their epoch and keep what they have trained, and hears them out."""
        for live in self.trials.live.values():
            if live.worker is not None and not live.pruned:
                live.stopping = True
                self.pool.stop_trial(live.worker.index, keep=True)
        if running := sum(live.worker is not None for live in self.trials.live.values()):
            self.watch.note(
                f"Interrupted: {running} running trials finish their epoch and leave checkpoints, and the same command "
                "goes on from there. A second Ctrl-C ends the run at once."
            )
        while any(live.worker is not None for live in self.trials.live.values()):
            self.trials.hold()
            for event in self.pool.events(TICK):
                self._hear_out(event)
            self._watch_over()

    def _hear_out(self, event: Event) -> None:
        live = self.trials.live
        match event:
            case RowEvent(_, row):
                self._row(row)
            case EndEvent(_, end) if end.status == "stopped" and not live[end.number].pruned:
                self.trials.attempt_ended(end)
                live[end.number].worker = None
            case EndEvent(_, end):
                self.trials.end(live[end.number], end)
            case LostEvent(_, spec) if spec is not None:
                end = JobEnd(spec.number, spec.attempt, "failed", event.reason, event.log_tail)
                self.trials.attempt_ended(end)
                live[spec.number].worker = None

    def _stop_all(self) -> None:
        """The hours are over: stops what runs, and ends what waits for a worker."""
        while self.again:
            self.trials.out_of_time(self.again.popleft())
        for live in self.trials.live.values():
            if not live.stopping:
                self._stop(live)

    def _stop(self, live: Live) -> None:
        assert live.worker is not None
        live.stopping = True
        self.pool.stop_trial(live.worker.index)
