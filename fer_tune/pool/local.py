"""A pool whose workers are processes of this machine."""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import wait
from pathlib import Path

from fer_tune.job import Job
from fer_tune.pool.devices import threads_each
from fer_tune.pool.member import MemberPool, PoolMember
from fer_tune.pool.messages import StartJob, UseLanes
from fer_tune.pool.port import (
    Event,
    Lanes,
    LostEvent,
    Slot,
    TrainerFactory,
    WorkerInfo,
    load_trainer,
)
from fer_tune.pool.process import cannot_start, how_it_ended, start_process, tail

START_SECONDS = 300.0
"""Seconds that a worker has to become ready. It imports torch, perhaps from a slow disk, and starts
its device."""
KILL_SECONDS = 10.0
"""Seconds that a process has to end after SIGKILL. Then the pool gives it up: a driver can hold a
process for ever."""


class LocalPool(MemberPool["_Process"]):
    """Worker processes on this machine, one for each entry of `devices`.

    Args:
        devices: `cpu` or `cuda:N` for each worker; see `choose_devices`.
        logs: folder for the workers' logs.
        trainer: makes the trainer, in the worker. It must be a function that can be imported there.

    Raises:
        PoolError: a process cannot be started, or its log cannot be written.
    """

    def __init__(self, devices: Sequence[str], logs: Path, trainer: TrainerFactory = load_trainer) -> None:
        threads = threads_each(devices)
        run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
        self._workers: list[_Process] = []
        self._made = [folder for folder in (logs, logs.parent) if not folder.exists()]
        try:
            logs.mkdir(parents=True, exist_ok=True)
            for index, device in enumerate(devices):
                log = logs / f"{run}-worker{index}.log"
                log.touch()
                self._workers.append(_Process(index, device, threads, log, trainer))
        except OSError as error:
            self.close(0)
            raise cannot_start(error, logs) from error

    def use_lanes(self, lanes: Lanes, remembered: Path | None = None) -> None:
        for worker in self._workers:
            worker.use_lanes(UseLanes(lanes, remembered))

    def submit(self, slot: Slot, job: Job) -> None:
        assert slot in self.idle(), "the slot is not idle"
        worker = self._workers[slot.worker]
        worker.jobs[slot.lane] = job
        worker.send(StartJob(slot.lane, job))

    def events(self, timeout: float) -> list[Event]:
        for worker in self._workers:
            if worker.lost:
                worker.replace()
        readable = wait([worker.connection for worker in self._workers], timeout)
        events = [
            event for worker in self._workers if worker.connection in readable or worker.gone for event in worker.read()
        ]
        for worker in self._workers:
            worker.end_if_late()
        return events

    def close(self, grace: float = 10) -> None:
        for worker in self._workers:
            worker.connection.close()  # a worker ends when its pipe does
        deadline = time.monotonic() + grace
        for worker in self._workers:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            worker.end()

    def undo(self) -> None:
        """Ends the workers and removes their logs, as if the pool had never been opened."""
        self.close(0)
        for worker in self._workers:
            worker.log.unlink(missing_ok=True)
        with suppress(OSError):  # something else was put there meanwhile
            for folder in self._made:
                folder.rmdir()


class _Process(PoolMember):
    """One worker's process, and our end of its pipe."""

    def __init__(self, index: int, device: str, threads: int, log: Path, trainer: TrainerFactory) -> None:
        super().__init__(index)
        self.device, self.log = device, log
        self._threads, self._trainer = threads, trainer
        self.start()

    def start(self) -> None:
        """Starts a process and returns at once. The process then imports torch."""
        self.reset()
        self._began, self._killed = time.monotonic(), math.inf
        self.process, self.connection = start_process(self.device, self._threads, self.log, self._trainer)
        self.send(self.use)

    @property
    def info(self) -> WorkerInfo:
        """The worker as the runner sees it."""
        return WorkerInfo(self.index, self.device, self.process.pid, lanes=self.lanes)

    def replace(self) -> None:
        """Starts a new process for one that was lost.

        Raises:
            PoolError: the worker died too often, or no process can be started.
        """
        said = f"The last lines of its log:\n{tail(self.log)}"
        self.refuse_hopeless(self.device, said, f"The whole log is {self.log}.")
        try:
            self.start()
        except OSError as error:
            raise cannot_start(error, self.log.parent) from error

    def send(self, message: object) -> None:
        with suppress(OSError):  # it has just died, which the next read notices
            self.connection.send(message)

    def read(self) -> Iterator[Event]:
        """Yields all messages that are in the pipe, and then the loss of the process if it died."""
        gone = self.gone  # read first: what the process wrote before its end is then in the pipe
        try:
            while self.connection.poll():
                yield self.event(self.connection.recv())
        except (EOFError, OSError):
            gone = True
        if gone:
            yield self._loss()

    def _loss(self) -> LostEvent:
        self.connection.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)  # the pipe closes a moment before the exit status is known
        self.end(1.0)
        return self.loss(f"worker {self.index} {how_it_ended(self.process.returncode)}", tail(self.log))

    @property
    def gone(self) -> bool:
        """Whether the process has ended, or was given up because even SIGKILL did not end it."""
        return self.process.poll() is not None or time.monotonic() > self._killed + KILL_SECONDS

    def kill(self, why: str) -> None:
        """Kills the process. A later `read` yields its loss, with `why` as the reason."""
        self.why, self._killed = why, time.monotonic()
        self.process.kill()

    def end_if_late(self) -> None:
        """Kills a process that hangs before it is ready.

        The runner cannot notice this, because it supervises only workers that have a job.
        """
        if (
            not (self.ready or self.lost)
            and self._killed == math.inf
            and time.monotonic() > self._began + START_SECONDS
        ):
            self.kill(f"worker {self.index} was not ready after {START_SECONDS:g} s and was killed")

    def end(self, patience: float = KILL_SECONDS) -> None:
        """Kills the process, and waits up to `patience` seconds for its end."""
        if self.process.poll() is None:
            self.process.kill()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
