"""The orchestrator's side of one worker on a Ray cluster: its actor, and the files it sends."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fer_tune
from fer_tune.errors import FerTuneError, PoolError
from fer_tune.files import replace_file
from fer_tune.job import Job, JobEnd
from fer_tune.pool.member import PoolMember
from fer_tune.pool.messages import Said
from fer_tune.pool.port import Event, TrainerFactory, WorkerInfo
from fer_tune.pool.process import tail
from fer_tune.pool.ray_cluster import Claim, Cluster
from fer_tune.pool.ray_host import Host, machine
from fer_tune.pool.ray_messages import Arrived, Died, Left, Marker, Reference, Saved

POLL_SECONDS = 10.0
"""Seconds after which a host that has nothing to say answers all the same."""
START_SECONDS = 300.0
"""Seconds that a worker has to become ready, from when it has a place in the cluster."""
END_SECONDS = 15.0
"""Seconds that a host has to end its worker. Then its actor is killed, and the worker given up."""
FETCH_SECONDS = 120.0
"""Seconds that a file may take from a node to the orchestrator."""

UNREACHABLE = "cannot be reached: its node or the connection is lost"
"""Why a worker was lost that Ray calls unavailable. What it said meanwhile may be lost too."""

THREADS = ("send", "poll", "end")
"""Methods of `Host` that run at the same time."""


class LostFileError(Exception):
    """A file of a job did not arrive, as when its node was lost."""


@dataclass
class _News:
    """An event that waits until the files that belong to it are here."""

    event: Callable[[], Event]
    files: list[Future[None]]

    @property
    def due(self) -> bool:
        return all(file.done() for file in self.files)


class RayWorker(PoolMember):
    """One worker: its actor, and the call that is open.

    Attributes:
        asked: the open call of `Host.poll`, or None if the worker is dead.
        placed: whether the actor has a place in the cluster.
        shared: whether the worker's node reads and writes the orchestrator's storage.
        ended: whether the worker was ended for good.
    """

    def __init__(
        self,
        cluster: Cluster,
        index: int,
        claim: Claim,
        trainer: TrainerFactory,
        *,
        log: Path,
        marker: Marker | None,
    ) -> None:
        super().__init__(index)
        self._cluster, self._ray, self._claim = cluster, cluster.ray, claim
        self._arguments = trainer, claim, log, marker
        self._log = log
        self._thread = ThreadPoolExecutor(1, f"files-{index}")
        self._saving: dict[str, list[Future[None]]] = {}
        self._left: dict[int, dict[str, tuple[Path, Future[None]]]] = {}
        self._news: deque[_News] = deque()
        self.ended = False
        self.start()

    def start(self) -> None:
        """Creates the actor, and returns at once. Ray gives it a place when there is one."""
        self.reset()
        self._where: Arrived | None = None
        self._arrived = self._killed = math.inf
        needs = {"num_cpus": self._claim.cpus, "num_gpus": self._claim.gpus, "max_restarts": 0, "max_task_retries": 0}
        self._actor = _remote_host(self._ray).options(**needs).remote(*self._arguments)
        self._ending: Reference | None = None
        self.asked: Reference | None = self._actor.poll.remote(POLL_SECONDS)
        self.send(self.use)

    @property
    def placed(self) -> bool:
        """Whether the actor has a place in the cluster."""
        return self._where is not None

    @property
    def shared(self) -> bool:
        """Whether the worker's node reads and writes the orchestrator's storage."""
        return self._where is not None and self._where.shared

    @property
    def info(self) -> WorkerInfo:
        """The worker as the runner sees it."""
        where = self._where
        if where is None:
            return WorkerInfo(self.index, self._claim.device, None, lanes=self.lanes, here=False)
        if where.machine == machine():
            return WorkerInfo(self.index, where.device, where.pid, lanes=self.lanes)
        return WorkerInfo(self.index, f"{where.device} of {where.node}", None, lanes=self.lanes, here=False)

    def send(self, message: object) -> None:
        """Sends a message to the worker. Its errors come from `poll`."""
        if self.asked is not None:
            self._actor.send.remote(message)

    def replace(self) -> None:
        """Creates a new actor for a worker that was lost.

        Raises:
            PoolError: the worker died too often.
        """
        place = f"{self._claim.device} of {self._where.node}" if self._where else "the Ray cluster"
        said = f"The last death: {self._last}"
        self.refuse_hopeless(place, said, "Every node needs fer-tune and all that it trains with.")
        self.start()

    # what the worker says -----------------------------------------------------------------------------------------

    def hear(self, call: Reference) -> None:
        """Takes the answer of `poll`, and asks again."""
        try:
            messages = self._ray.get(call)
        except Exception as error:  # Ray's own, or one of the host's constructor
            unreachable = isinstance(error, self._ray.exceptions.ActorUnavailableError)
            reason = UNREACHABLE if unreachable else _why(error)
            self._die(reason, "", own=not unreachable and "node" not in reason)
            return
        self.asked = self._actor.poll.remote(POLL_SECONDS)
        for message in messages:
            self._take(message)

    def _take(self, message: object) -> None:
        match message:
            case Arrived():
                self._arrive(message)
            case Died(reason, log_tail):
                self._die(reason, log_tail)
            case Saved(uid, file):
                self._save_checkpoint(uid, file)
            case Left(lane, left):
                self._save_files(lane, left)
            case Said(lane, JobEnd() as end):
                uid, found = end.job, self._left.pop(lane, {})
                files = [*(future for _, future in found.values()), *self._saving.get(uid, [])]
                self._news.append(_News(lambda: self.event(Said(lane, self._with_files(lane, end, found))), files))
            case _:
                self._news.append(_News(lambda: self.event(message), []))

    def _arrive(self, message: Arrived) -> None:
        if message.version != fer_tune.__version__:
            raise PoolError(
                f"Node {message.node} has fer-tune {message.version}, and this machine {fer_tune.__version__}.",
                "Install the same version on all nodes.",
            )
        self._where, self._arrived = message, time.monotonic()

    @property
    def has_news(self) -> bool:
        """Whether an event need not wait any longer."""
        return bool(self._news) and self._news[0].due

    def news(self) -> list[Event]:
        """Returns the events that wait for no file, in their order."""
        events = []
        while self.has_news:
            try:
                events.append(self._news.popleft().event())
            except LostFileError as lost:  # its job is still ours, and is lost with the worker
                if self.asked is not None:
                    self.kill(f"worker {self.index} was ended: {lost}")
        return events

    # files --------------------------------------------------------------------------------------------------------

    def await_files(self, uid: str) -> None:
        """Waits until no file of a job is on its way."""
        wait_for(self._saving.pop(uid, []))

    def _save_checkpoint(self, uid: str, file: Reference) -> None:
        job = next((job for job in self.jobs.values() if job.uid == uid), None)
        if job is not None and job.checkpoint is not None:
            left = [future for future in self._saving.get(uid, []) if not future.done()]
            self._saving[uid] = [*left, self._thread.submit(self._fetch, file, job.checkpoint)]

    def _save_files(self, lane: int, files: Mapping[str, tuple[str, Reference]]) -> None:
        folder = self.jobs[lane].artifacts
        assert folder is not None, "a job without a folder leaves no files"
        self._left[lane] = {
            kind: (folder / name, self._thread.submit(self._fetch, file, folder / name))
            for kind, (name, file) in files.items()
        }

    def _fetch(self, file: Reference, path: Path) -> None:
        content = self._ray.get(file, timeout=FETCH_SECONDS)
        replace_file(path, lambda stream: stream.write(content))

    def _with_files(self, lane: int, end: JobEnd, found: Mapping[str, tuple[Path, Future[None]]]) -> JobEnd:
        """Returns the end of a job with the paths that its files have here.

        Raises:
            LostFileError: a file was lost with its node.
        """
        self._saving.pop(end.job, None)
        job = self.jobs[lane]
        for path, future in found.values():
            error = future.exception()
            if isinstance(error, FerTuneError):
                return replace(end, status="failed", reason=f"{path.name} did not arrive: {error.message}", files={})
            if error is not None:
                raise LostFileError(f"{path.name} did not arrive: {_first_line(error)}") from error
        files = {kind: path for kind, (path, _) in found.items()}
        return replace(end, files=files or _paths_here(job, end))

    # its end ------------------------------------------------------------------------------------------------------

    def kill(self, why: str) -> None:
        """Ends the worker. Its loss is an event later, with `why` as the reason."""
        self.why, self._killed = why, time.monotonic()
        self.begin_end()

    def end_if_late(self) -> None:
        """Ends a worker that hangs before it is ready, and gives up one that does not end."""
        now = time.monotonic()
        if self.asked is None:
            return
        if now > self._killed + END_SECONDS:
            self._die("did not end when it was asked to", "")
        elif not self.ready and self._killed == math.inf and now > self._arrived + START_SECONDS:
            self.kill(f"worker {self.index} was not ready after {START_SECONDS:g} s and was killed")

    def begin_end(self) -> None:
        """Asks the host to kill the worker's process."""
        if self.asked is not None:
            self._ending = self._actor.end.remote()

    def end(self, patience: float) -> None:
        """Ends the worker for good.

        Args:
            patience: seconds that its host has to kill the worker's process, after `begin_end`.
        """
        if self.asked is not None and self.placed and self._ending is not None:
            self._ray.wait([self._ending], timeout=patience)
        self._bury()
        self.ended = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _die(self, reason: str, log_tail: str, own: bool = True) -> None:
        """Notes a death. It becomes an event when the files that were sent before are here.

        Args:
            own: see `Member.loss`.
        """
        self._bury()
        self._last = log_tail or reason
        files = [future for futures in self._saving.values() for future in futures]
        where = f" on {self._where.node}" if self._where else ""
        said, log_tail = f"worker {self.index}{where} {reason}", log_tail or tail(self._log)
        self._news.append(_News(lambda: self.loss(said, log_tail, own), files))
        self._left.clear()

    def _bury(self) -> None:
        """Frees the actor's place. Ray does nothing if it is dead already."""
        self.asked = None
        with suppress(Exception):  # the connection to the cluster may be gone too
            self._ray.kill(self._actor)


def _remote_host(ray: Any) -> Any:
    """Returns the class of actors. Each of its methods has a thread of its own, so that none waits
    for another, and calls of one method keep their order."""
    for method in THREADS:
        ray.method(concurrency_group=method)(getattr(Host, method))
    return ray.remote(concurrency_groups=dict.fromkeys(THREADS, 1))(Host)


def _paths_here(job: Job, end: JobEnd) -> dict[str, Path]:
    """Returns the files of a job on a shared storage, with the paths that the job was given."""
    if job.artifacts is None:
        return {}
    return {kind: job.artifacts / path.name for kind, path in end.files.items()}


def _first_line(error: BaseException) -> str:
    """Returns the kind of an error, and the first line of what it says."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def _why(error: Exception) -> str:
    """Returns in one line how an actor died. Ray says it in many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in lines:
        if line.startswith("The actor ") and "because" in line and "creation task" not in line:
            return f"died: {line}"
    return f"died: {lines[-1] if lines else type(error).__name__}"
