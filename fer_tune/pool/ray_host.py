"""The part of a Ray pool that runs on the nodes: an actor that holds one worker's process.

The worker is the same process as on one machine. The host passes messages between its pipe and the
orchestrator. Where the node does not share the orchestrator's storage, the host also writes the
files that a job needs, and sends those that the job leaves. If the host is killed, the pipe closes
and the worker ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

import fer_tune
from fer_tune.job import EpochRow, JobEnd, StepProgress
from fer_tune.pool.devices import cores
from fer_tune.pool.messages import Said, StartJob, UseLanes
from fer_tune.pool.port import TrainerFactory
from fer_tune.pool.process import how_it_ended, start_process, tail
from fer_tune.pool.ray_cluster import Claim
from fer_tune.pool.ray_files import NodeFiles
from fer_tune.pool.ray_messages import Arrived, Died, Left, Marker, Parcel, Saved

GATHER = 0.1
"""Seconds in which rows are gathered into one answer. Each answer costs the orchestrator half a
millisecond."""


class Host:
    """One worker on a node. Ray calls its methods, each kind in a thread of its own.

    Args:
        trainer: makes the trainer, in the worker's process.
        claim: what the worker takes of the node.
        log: the worker's log in the orchestrator's storage.
        marker: tells whether the node shares that storage; None means that it is not used.
    """

    def __init__(self, trainer: TrainerFactory, claim: Claim, log: Path, marker: Marker | None) -> None:
        self._files = None if marker is not None and _reads(marker) else NodeFiles()
        self._log = log if self._files is None else self._files.log
        self._outbox: SimpleQueue[object] = SimpleQueue()
        self._died = False
        device, number = _device(claim)
        storage = self._files.root if self._files is not None else _storage(marker)
        self._process, self._connection = start_process(device, _threads(claim), self._log, trainer, storage)
        node, shared = socket.gethostname(), self._files is None
        self._outbox.put(Arrived(node, machine(), number, self._process.pid, shared, fer_tune.__version__))
        threading.Thread(target=self._read, name="outbox", daemon=True).start()

    def send(self, message: object) -> None:
        """Passes a message on to the worker."""
        try:
            if isinstance(message, Parcel):
                message = self._unpack(message)
            if isinstance(message, UseLanes) and self._files is not None:
                message = replace(message, remembered=self._files.lanes)
        except Exception as error:  # no space, or an object is lost: another worker may have more luck
            self._bury(f"its node could not prepare a job: {type(error).__name__}: {error}")
            return
        with suppress(OSError):  # it has just died, and `_read` notices
            self._connection.send(message)

    def poll(self, seconds: float) -> list[object]:
        """Returns what the worker said since the last call. It waits until there is something.

        Rows wait a moment for others; everything else is returned at once.
        """
        found: list[object] = []
        until = time.monotonic() + seconds
        with suppress(Empty):
            while True:
                found.append(self._outbox.get(timeout=max(0.0, until - time.monotonic())))
                if not _may_wait(found[-1]):
                    until = 0.0
                elif len(found) == 1:
                    until = time.monotonic() + GATHER
        return found

    def end(self) -> None:
        """Kills the worker, and removes what it has on this node."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        if self._files is not None:
            self._files.close()

    def _unpack(self, parcel: Parcel) -> StartJob:
        import ray

        assert self._files is not None
        images, family = ray.get(parcel.images), ray.get(parcel.family)
        checkpoint = None if parcel.checkpoint is None else ray.get(parcel.checkpoint)
        return replace(parcel.start, job=self._files.place(parcel.start.job, images, checkpoint, family))

    def _read(self) -> None:
        """Puts the worker's messages into the outbox until its pipe closes."""
        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, Said) and self._files is not None:
                    self._collect(message, self._files)
                self._outbox.put(message)
                del message
        except (EOFError, OSError):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)  # the pipe closes a moment before the exit status is known
            self._bury(how_it_ended(self._process.poll()))
        except Exception as error:  # a bug, or a full object store
            self._bury(f"its host failed: {type(error).__name__}: {error}")

    def _bury(self, reason: str) -> None:
        """Says that the worker is dead, once, and makes sure of it."""
        if not self._died:
            self._died = True
            self._process.kill()
            self._outbox.put(Died(reason, tail(self._log)))

    def _collect(self, said: Said, files: NodeFiles) -> None:
        """Sends the files that a job has written."""
        import ray

        message = said.message
        assert isinstance(message, EpochRow | JobEnd | StepProgress)
        ended = message.status if isinstance(message, JobEnd) else None
        if ended in (None, "paused", "stopped") and (content := files.new_checkpoint(message.job)) is not None:
            self._outbox.put(Saved(message.job, ray.put(content)))
        if isinstance(message, JobEnd):
            left = {kind: (path.name, ray.put(np.fromfile(path, np.uint8))) for kind, path in message.files.items()}
            if left:
                self._outbox.put(Left(said.lane, left))
            files.forget(message.job)


def machine() -> str:
    """Returns what identifies this machine: its boot, and its namespace of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _may_wait(message: object) -> bool:
    """Whether a message can wait for others: an epoch, or progress within one."""
    return isinstance(message, Saved) or (isinstance(message, Said) and not isinstance(message.message, JobEnd))


def _reads(marker: Marker) -> bool:
    try:
        return marker.path.read_text(encoding="utf-8") == marker.text
    except (OSError, ValueError):
        return False


def _storage(marker: Marker | None) -> Path | None:
    """Returns the orchestrator's storage folder, which the node shares. It holds the marker."""
    return None if marker is None else marker.path.parent.parent


def _device(claim: Claim) -> tuple[str, str]:
    """Returns the worker's device as it finds it, and as the machine numbers it."""
    if claim.device == "cpu":
        return "cpu", "cpu"
    import ray

    ids: list[Any] = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    return "cuda:0", f"cuda:{ids[0]}" if ids else "cuda:0"


def _threads(claim: Claim) -> int:
    """Returns how many threads the worker may use: the node's cores, shared by its places."""
    if claim.device == "cpu":
        return claim.cpus
    import ray

    own = ray.get_runtime_context().get_node_id()
    here: dict[str, float] = next((node["Resources"] for node in ray.nodes() if node["NodeID"] == own), {})
    return max(1, cores() // max(1, claim.places(here)))
