"""Messages between a Ray pool and its hosts, besides those in `fer_tune.pool.messages`.

Files travel as references into Ray's object store. A node gets each object once, however many of
its workers need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_tune.pool.messages import StartJob

Reference = Any
"""An `ObjectRef` of Ray."""


@dataclass(frozen=True)
class Marker:
    """A file of the orchestrator. A node that reads the same text there shares its storage."""

    path: Path
    text: str


@dataclass(frozen=True)
class Parcel:
    """Gives a lane a job, with the files that it needs.

    Attributes:
        images: the files of the data set's cache and the split, by name.
        family: the files that the job's family needs, by their path in the storage folder.
        checkpoint: the file from which the job continues, or None.
    """

    start: StartJob
    images: Reference
    family: Reference
    checkpoint: Reference | None


@dataclass(frozen=True)
class Arrived:
    """The first message of a host: it has a place in the cluster, and its worker starts.

    Attributes:
        node: the name of its machine.
        machine: identifies the machine, so that the orchestrator knows whether it is its own.
        device: `cpu` or `cuda:N`, as the machine numbers its GPUs.
        pid: of the worker's process, on its machine.
        shared: whether the node reads and writes the orchestrator's storage.
        version: of fer-tune on the node.
    """

    node: str
    machine: str
    device: str
    pid: int
    shared: bool
    version: str


@dataclass(frozen=True)
class Saved:
    """A job has written its checkpoint.

    Attributes:
        job: the uid of the job.
    """

    job: str
    file: Reference


@dataclass(frozen=True)
class Left:
    """The files of a job that is about to end, by kind: the name, and the content."""

    lane: int
    files: Mapping[str, tuple[str, Reference]] = field(default_factory=dict)


@dataclass(frozen=True)
class Died:
    """The last message of a host: its worker's process has ended."""

    reason: str
    log_tail: str
