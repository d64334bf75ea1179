"""A job that this run has started, and what the runner remembers of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from fer_tune.job import EpochRow, Job, JobEnd, merged
from fer_tune.jobs.outcome import Ended, EndState
from fer_tune.jobs.states import State
from fer_tune.pool import Slot, WorkerInfo
from fer_tune.selection.objective import objective_of


@dataclass
class Running:
    """A job of this run that has not ended. Times are in seconds, by the runner's clock.

    Attributes:
        state: see `states`.
        worker: the worker that trains the job, or None while it waits for one, or is interrupted.
        slot: the worker and the lane that train the job, or that trained it last.
        verdict: why its source stopped it, or empty. The runner then ignores further epochs.
        overdue: the reason to record if its time limit is over, else empty.
        out_of_time: whether it was asked to stop because the hours of the run are over.
        at_once: whether it was then asked to stop without finishing its epoch.
        stopping: whether it was asked to stop, for any reason.
        spent: how long earlier attempts took: before it paused, or in earlier runs.
        began: when its first attempt since then began.
        heard: when its worker last sent a message.
        stopped: when it was asked to stop because its time was over.
        hung: how often its worker was ended for silence.
        suspect: whether it may have killed a worker that trained other jobs too. No other job
            starts on its worker until it is `proven`.
        ended_worker: whether its worker was ended because of it, in this attempt.
        losses: how often its worker was lost in this run, and it was the reason as far as is known.
        furthest: the last epoch that an earlier attempt of this run reached.
        earlier: epochs that were recorded before this attempt, by epoch.
        rows: epochs that count; see `job.merged`.
        last: the last finite objective.
    """

    job: Job
    state: State = "queued"
    worker: WorkerInfo | None = None
    slot: Slot | None = None
    verdict: str = ""
    overdue: str = ""
    out_of_time: bool = False
    at_once: bool = False
    stopping: bool = False
    spent: float = 0.0
    began: float | None = None
    heard: float = 0.0
    stopped: float | None = None
    hung: int = 0
    ended_worker: bool = False
    suspect: bool = False
    losses: int = 0
    furthest: int = 0
    earlier: dict[int, EpochRow] = field(default_factory=dict)
    rows: list[EpochRow] = field(default_factory=list)
    last: float | None = None

    def value(self, row: EpochRow) -> float:
        """Returns the objective of an epoch."""
        return float(getattr(row, self.job.objective))

    def add(self, row: EpochRow) -> bool:
        """Adds an epoch. Returns whether an earlier attempt trained it and sent the same row."""
        merged(self.rows, row)
        if math.isfinite(value := self.value(row)):
            self.last = value
        before = self.earlier.get(row.epoch)
        return before is not None and (before.seconds, before.train_loss) == (row.seconds, row.train_loss)

    def recall_value(self) -> None:
        """Takes the objective from earlier attempts, if this one has sent no epoch yet."""
        if self.last is None:
            values = [value for row in self.earlier.values() if math.isfinite(value := self.value(row))]
            self.last = values[-1] if values else None

    @property
    def where(self) -> Slot:
        """The slot of a job that is in training."""
        assert self.slot is not None, "the job was never given to a worker"
        return self.slot

    @property
    def waits(self) -> bool:
        """Whether the job waits for a worker."""
        return self.state == "queued"

    @property
    def interrupted(self) -> bool:
        """Whether an interruption has stopped the job, which a later run continues."""
        return self.worker is None and not self.waits

    @property
    def decided(self) -> bool:
        """Whether the job ends for a reason of its own, whatever its worker says."""
        return bool(self.verdict or self.overdue or self.out_of_time)

    @property
    def reached(self) -> int:
        """The last epoch of this attempt."""
        return self.rows[-1].epoch if self.rows else 0

    @property
    def proven(self) -> bool:
        """Whether this attempt got further than the earlier ones, and so did not kill its worker
        where they were."""
        return self.reached > self.furthest

    def try_again(self) -> None:
        """Makes the job ready for another attempt."""
        self.ended_worker, self.furthest = False, max(self.furthest, self.reached)
        if self.rows:  # an attempt without an epoch leaves the earlier ones as they are
            self.earlier = {row.epoch: row for row in self.rows}
        self.job = replace(self.job, attempt=self.job.attempt + 1)
        self.worker, self.rows = None, []

    @property
    def best(self) -> EpochRow | None:
        """The first epoch of this attempt with the highest finite objective, or None."""
        return self._best_of(self.rows)

    def _best_of(self, rows: list[EpochRow]) -> EpochRow | None:
        return max((row for row in rows if math.isfinite(self.value(row))), key=self.value, default=None)

    @property
    def _counting(self) -> list[EpochRow]:
        """The epochs of this attempt, or those of earlier ones if it has none yet."""
        return self.rows or [row for _, row in sorted(self.earlier.items())]

    def _objective(self) -> float | None:
        return objective_of([self.value(row) for row in self.rows], self.job.objective_of)

    def ended(self, state: EndState, reason: str, end: JobEnd | None) -> Ended:
        """Returns how this run leaves the job.

        Args:
            end: the last message of its worker, or None if it waits for a worker.
        """
        complete, rows = state == "complete" and self.best is not None, self._counting
        return Ended(
            job=self.job.uid,
            number=self.job.number,
            state=state,
            value=self._objective() if complete else self.last,
            reason=reason,
            epochs=len(rows),
            seconds=sum(row.seconds for row in rows),
            infeasible=end.infeasible if end else 0.0,
            facts=self._facts(end),
        )

    def _facts(self, end: JobEnd | None) -> dict[str, Any]:
        """Returns what a study records beside the value and optuna-dashboard shows.

        `job.EpochRow` has the units.
        """
        rows = self._counting
        best, seconds = self._best_of(rows), sum(row.seconds for row in rows)
        images = sum(row.images_per_second * row.seconds for row in rows)
        return {
            "device": self.worker.device if self.worker else None,
            "lane": self.slot.lane if self.slot else None,
            "parameters": end.parameters if end else None,
            "epochs": len(rows),
            "best_epoch": best.epoch if best else None,
            "macro_f1": round(best.val_macro_f1, 4) if best else None,
            "attempt": self.job.attempt,
            "seconds": round(seconds, 3),
            "device_seconds": round(sum(row.device_seconds for row in rows), 3),
            "images_per_second": round(images / seconds, 1) if seconds else None,
        }


def blame(lost: list[Running]) -> None:
    """Counts a lost worker against the job that was the reason.

    A worker that was ended for silence was lost because of the silent job. Otherwise the reason may
    be any job that got no further than before. If there are several, they become suspects, and each
    is tried again beside proven jobs only. So a job that kills its worker again and again is found,
    and its neighbours lose nothing but time.

    Args:
        lost: the jobs that the worker trained.
    """
    hung = [entry for entry in lost if entry.ended_worker]
    doubtful = hung or (lost if len(lost) == 1 else [entry for entry in lost if not entry.proven])
    for entry in doubtful:
        if hung or len(doubtful) == 1:
            entry.losses += 1
        else:
            entry.suspect = True
