"""A pool whose workers run on the nodes of a Ray cluster.

Each worker has an actor, its `ray_host.Host`, which holds the worker's process. The pool keeps one
call of `Host.poll` open for each worker. Its answer is what the worker said. If the actor or its
node dies, Ray ends the call with an error, and the worker is lost like a process of this machine.
An actor that has no place in the cluster yet waits for one, so workers join as the cluster grows.
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fer_tune.errors import PoolError
from fer_tune.files import append_text
from fer_tune.job import Job
from fer_tune.pool.devices import MOST_WORKERS
from fer_tune.pool.member import MemberPool
from fer_tune.pool.messages import StartJob, UseLanes
from fer_tune.pool.port import Event, Lanes, Slot, TrainerFactory, load_trainer
from fer_tune.pool.ray_cluster import Claim, Cluster
from fer_tune.pool.ray_files import pack_family, pack_images
from fer_tune.pool.ray_messages import Marker, Parcel, Reference
from fer_tune.pool.ray_worker import RayWorker

GROW_SECONDS = 5.0
"""Seconds between two looks at how many workers the cluster has room for."""
GATHER = 0.03
"""Seconds that the first answer waits for others, which are then recorded in one transaction."""
PLACE_SECONDS = 1800.0
"""Seconds that the run waits while the cluster has room for no worker at all."""
NOT_SHARED = "FER_TUNE_SHARED"
"""The variable that, set to 0, makes nodes use no shared storage, even if there is one."""


class RayPool(MemberPool[RayWorker]):
    """Workers on a Ray cluster.

    Args:
        workers: how many workers to start.
        claim: what each of them takes of a node.
        logs: folder for the logs, also of workers on nodes that share the storage.
        trainer: makes the trainer, in the worker. It must be a function that can be imported there.
        most: how many workers the pool may grow to, as the cluster grows.

    Raises:
        PoolError: the log cannot be written.
    """

    def __init__(
        self,
        cluster: Cluster,
        workers: int,
        claim: Claim,
        logs: Path,
        trainer: TrainerFactory = load_trainer,
        *,
        most: int = 0,
    ) -> None:
        self._cluster, self._claim, self._trainer = cluster, claim, trainer
        self._most = min(most, MOST_WORKERS)
        self._logs = logs.absolute()
        self._run = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"
        self._marker = self._mark()
        self._use = UseLanes(1, None)
        self._images: dict[tuple[Path, Path], Reference] = {}
        self._families: dict[str, Reference] = {}
        self._workers: list[RayWorker] = []
        self._grown = self._placed = time.monotonic()
        for _ in range(workers):
            self._add()

    def use_lanes(self, lanes: Lanes, remembered: Path | None = None) -> None:
        self._use = UseLanes(lanes, None if remembered is None else remembered.absolute())
        for worker in self._workers:
            worker.use_lanes(self._use)

    def submit(self, slot: Slot, job: Job) -> None:
        assert slot in self.idle(), "the slot is not idle"
        worker = self._workers[slot.worker]
        worker.jobs[slot.lane] = job
        start = StartJob(slot.lane, _with_absolute_paths(job))
        worker.send(start if worker.shared else self._parcel(start))

    def events(self, timeout: float) -> list[Event]:
        self._grow()
        for worker in self._workers:
            if worker.lost:
                worker.replace()
        if any(worker.has_news for worker in self._workers):
            timeout = 0.0
        asked = {worker.asked: worker for worker in self._workers if worker.asked is not None}
        if asked:
            wait, calls = self._cluster.ray.wait, list(asked)
            answered, _ = wait(calls, num_returns=1, timeout=timeout)
            if answered and len(calls) > 1:
                time.sleep(GATHER)
                answered, _ = wait(calls, num_returns=len(calls), timeout=0)
            for call in answered:
                asked[call].hear(call)
        else:
            time.sleep(min(timeout, 0.05))
        events = [event for worker in self._workers for event in worker.news()]
        for worker in self._workers:
            worker.end_if_late()
        self._refuse_full_cluster()
        return events

    def close(self, grace: float = 10) -> None:
        for worker in self._workers:
            worker.begin_end()
        deadline = time.monotonic() + grace
        for worker in self._workers:
            worker.end(max(0.0, deadline - time.monotonic()))
        self._workers = [worker for worker in self._workers if not worker.ended]
        self._cluster.close()

    # within -------------------------------------------------------------------------------------------------------

    def _add(self) -> None:
        index = len(self._workers)
        log = self._logs / f"{self._run}-worker{index}.log"
        worker = RayWorker(self._cluster, index, self._claim, self._trainer, log=log, marker=self._marker)
        worker.use_lanes(self._use)
        self._workers.append(worker)

    def _mark(self) -> Marker | None:
        """Writes the pool's own log, by which a node knows that it shares the storage."""
        log, text = self._logs / f"{self._run}-ray.log", f"fer-tune run {secrets.token_hex(16)}\n"
        if not append_text(log, text):
            raise PoolError("The workers cannot be started.", f"The log {log} cannot be written.")
        return None if os.environ.get(NOT_SHARED) == "0" else Marker(log, text)

    def _grow(self) -> None:
        """Adds workers if the cluster has more room than before."""
        now = time.monotonic()
        if not self._most or now < self._grown + GROW_SECONDS:
            return
        self._grown = now
        with suppress(self._cluster.ray.exceptions.RayError):
            for _ in range(len(self._workers), min(self._most, self._cluster.places(self._claim))):
                self._add()

    def _refuse_full_cluster(self) -> None:
        """Raises an error if no worker has had a place for too long."""
        now = time.monotonic()
        if any(worker.placed for worker in self._workers):
            self._placed = now
        elif now > self._placed + PLACE_SECONDS:
            raise PoolError(
                f"The Ray cluster had no room for a worker for {PLACE_SECONDS / 60:.0f} minutes.",
                f"Each worker needs {self._claim}. `ray status` shows what the cluster has, and who uses it.",
            )

    def _parcel(self, start: StartJob) -> Parcel:
        """Returns a start with references to the files that the job needs."""
        job, put = start.job, self._cluster.ray.put
        for worker in self._workers:
            worker.await_files(job.uid)  # of its last attempt
        key = job.data.cache, job.data.split
        if key not in self._images:
            self._images[key] = put(pack_images(job))
        if job.family not in self._families:
            self._families[job.family] = put(pack_family(job))
        checkpoint: Any = None
        if job.checkpoint is not None:
            with suppress(OSError):
                checkpoint = put(job.checkpoint.read_bytes())
        return Parcel(start, self._images[key], self._families[job.family], checkpoint)


def _with_absolute_paths(job: Job) -> Job:
    """Returns the job as a process with another working folder can read it."""
    return replace(
        job,
        data=replace(job.data, cache=job.data.cache.absolute(), split=job.data.split.absolute()),
        artifacts=None if job.artifacts is None else job.artifacts.absolute(),
        checkpoint=None if job.checkpoint is None else job.checkpoint.absolute(),
    )
