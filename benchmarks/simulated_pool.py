"""A pool whose workers train nothing: they send sampled learning curves, as fast as a real worker.

The clock is simulated. It is the processor time of the orchestrator, plus the time in which the
orchestrator only waits. So figures are those of an orchestrator with a core of its own, however
busy the machine is. The processor time of the pool itself is left out.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from fer_tune.data.access import open_search
from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.pool import EndEvent, ReadyEvent, RowEvent, WorkerInfo
from fer_tune.pool.port import Event, Slot


class Enough(BaseException):
    """The measurement has seen as much as it may."""


def curve(seed: int, number: int, epochs: int) -> list[float]:
    """Returns a sampled learning curve: it rises to a value between 0.3 and 0.7, with noise."""
    draws = random.Random(seed * 1_000_003 + number)
    top, pace = draws.uniform(0.3, 0.7), draws.uniform(2.0, 8.0)
    return [top * (1 - math.exp(-epoch / pace)) + draws.gauss(0, 0.004) for epoch in range(1, epochs + 1)]


@dataclass
class Measured:
    """What the pool saw. Times are of the simulated clock, in seconds.

    Attributes:
        opening: processor seconds of the process until the orchestrator first looked for a slot.
        processor: processor seconds of the orchestrator since then.
        elapsed: of the simulated clock since then.
        gaps: how long a slot had no job, for each job but the first of a slot.
        lags: how late the orchestrator read each row.
        ends: jobs that ended.
        marks: the jobs that had ended and the processor seconds, at each end of a job.
    """

    opening: float = 0.0
    processor: float = 0.0
    elapsed: float = 0.0
    gaps: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    ends: int = 0
    completed: int = 0
    marks: list[tuple[int, float]] = field(default_factory=list)


class SimulatedPool:
    """Implements `pool.Pool`. Each slot is a worker with one lane.

    Args:
        slots: how many jobs run at the same time.
        epoch_seconds: how long an epoch takes, on average.
        limit: processor seconds of the orchestrator after which the pool raises `Enough`.
    """

    def __init__(self, slots: int, epoch_seconds: float, limit: float = math.inf, seed: int = 0) -> None:
        self._workers = [WorkerInfo(index, "cpu", None, can_hang=False) for index in range(slots)]
        self._epoch_seconds, self._limit, self._seed = epoch_seconds, limit, seed
        self._jobs: dict[int, tuple[int, Job, list[float]]] = {}
        self._free_since: dict[int, float] = {}
        self._due: list[tuple[float, int, int, int, int]] = []  # time, order, worker, token of the job, epoch
        self._tokens, self._order = count(), count()
        self._stopped: set[int] = set()
        self._began: float | None = None
        self._own = self._waited = 0.0
        self._ready = False
        self._logits: bytes | None = None
        self.measured = Measured()

    @property
    def workers(self) -> list[WorkerInfo]:
        """As the port says."""
        return self._workers

    def use_lanes(self, lanes: Any, remembered: Path | None = None) -> None:
        """Does nothing: the benchmark says how many slots there are."""

    def idle(self) -> list[Slot]:
        """As the port says."""
        self._begin()
        with self._simulating():
            free = range(len(self._workers)) if self._ready else ()
            return [Slot(index, 0) for index in free if index not in self._jobs]

    def submit(self, slot: Slot, job: Job) -> None:
        """As the port says."""
        worker = slot.worker
        with self._simulating() as now:
            if worker in self._free_since:
                self.measured.gaps.append(now - self._free_since.pop(worker))
            values = curve(self._seed, job.seed, job.last_epoch)
            token = next(self._tokens)
            self._jobs[worker] = token, job, values
            draws = random.Random(token)
            due = now
            for epoch in range(1, len(values) + 1):
                due += self._epoch_seconds * draws.uniform(0.9, 1.1)
                self._push(due, worker, token, epoch)
            self._push(due, worker, token, 0)

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        """As the port says."""
        worker = slot.worker
        with self._simulating() as now:
            if worker in self._jobs:
                token = self._jobs[worker][0]
                if token not in self._stopped:
                    self._stopped.add(token)
                    self._push(now, worker, token, 0)

    def end_worker(self, worker: int, why: str) -> None:
        """Never happens: these workers cannot hang."""
        raise AssertionError(why)

    def events(self, timeout: float) -> list[Event]:
        """As the port says, but it does not wait. The clock advances instead."""
        self._begin()
        with self._simulating() as now:
            if not self._ready:
                self._ready = True
                return [ReadyEvent(worker.index) for worker in self._workers]
            self._check(now)
            found = list(self._until(now))
            if not found:
                then = min(now + timeout, self._due[0][0]) if self._due else now + timeout
                self._waited += max(0.0, then - now)
                found = list(self._until(max(now, then)))
            return found

    def close(self, grace: float = 10) -> None:
        """As the port says."""
        if self._began is not None:
            self._note(self._now())

    # the clock ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._began is None:
            self._began = time.process_time()
            self.measured.opening = self._began

    def _processor(self) -> float:
        return time.process_time() - (self._began or 0.0) - self._own

    def _now(self) -> float:
        return self._processor() + self._waited

    @contextmanager
    def _simulating(self) -> Iterator[float]:
        """Yields the time, and leaves out what the pool's own work takes."""
        now, before = self._now(), time.thread_time()
        try:
            yield now
        finally:
            self._own += time.thread_time() - before

    def _note(self, now: float) -> None:
        self.measured.processor, self.measured.elapsed = self._processor(), now

    def _check(self, now: float) -> None:
        if self._processor() > self._limit:
            self._note(now)
            raise Enough

    # the jobs -----------------------------------------------------------------------------------------------------

    def _push(self, due: float, worker: int, token: int, epoch: int) -> None:
        heappush(self._due, (due, next(self._order), worker, token, epoch))

    def _until(self, now: float) -> Iterator[Event]:
        """Yields what has happened until now. Epoch 0 stands for the end of a job."""
        while self._due and self._due[0][0] <= now:
            due, _, worker, token, epoch = heappop(self._due)
            if worker not in self._jobs or self._jobs[worker][0] != token:
                continue
            _, job, values = self._jobs[worker]
            if epoch:
                if token not in self._stopped:
                    self.measured.lags.append(now - due)
                    yield RowEvent(Slot(worker, 0), self._row(job, epoch, values[epoch - 1]))
                continue
            del self._jobs[worker]
            self._free_since[worker] = due
            self.measured.ends += 1
            self.measured.marks.append((self.measured.ends, self._processor()))
            yield EndEvent(Slot(worker, 0), self._end(job, stopped=token in self._stopped))

    def _row(self, job: Job, epoch: int, value: float) -> EpochRow:
        recall = tuple(value for _ in job.data.spec.classes)
        seconds = self._epoch_seconds
        return EpochRow(
            job.uid, job.attempt, epoch, 1.5, value, 1.6, value, value, value, recall, 1e-3, seconds, 20_000 / seconds
        )

    def _end(self, job: Job, stopped: bool) -> JobEnd:
        files: dict[str, Path] = {}
        if not stopped and job.artifacts is not None:
            self.measured.completed += 1
            files["val_logits"] = job.artifacts / "val_logits.npy"
            job.artifacts.mkdir(parents=True, exist_ok=True)
            self._write(files["val_logits"], job)
        status: Any = "stopped" if stopped else "completed"
        return JobEnd(job.uid, job.attempt, status, parameters=1_000_000, files=files)

    def _write(self, path: Path, job: Job) -> None:
        """Writes predictions as a real job does. The dashboard's picture is drawn from them."""
        if self._logits is None:
            shape = (len(open_search(job.data).val), len(job.data.spec.classes))
            np.save(path, np.random.default_rng(0).normal(size=shape).astype(np.float16))
            self._logits = path.read_bytes()
        path.write_bytes(self._logits)
