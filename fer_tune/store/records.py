"""The records of the store: a plain class for each kind of row. Times are in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fer_tune.data.spec import DataRef, DataSpec
from fer_tune.errors import StorageError
from fer_tune.job import Kind, Part, Value
from fer_tune.settings import STUDY_NAME
from fer_tune.store.connection import RESTORE

STUDY_UID = "[0-9a-f]{8}"

UID = "[A-Za-z0-9_-]{1,128}"
"""A valid uid of a job, or id of a tracker's run."""


def named_safely(what: str, name: object, pattern: str) -> None:
    """Refuses a name that is part of a path and that fer-tune did not write.

    A database may come from somebody else. Then such a name could lead out of the storage folder.

    Raises:
        StorageError: the name does not match the pattern.
    """
    if not isinstance(name, str) or not re.fullmatch(pattern, name):
        raise StorageError(f"{what} is {ascii(name)[:80]}, which fer-tune never writes.", RESTORE)


@dataclass(frozen=True)
class SplitRecord:
    """A stored split.

    Attributes:
        hash: of its indices.
        data_signature: of the data set that it divides.
        path: its file; relative to the storage folder if it is below it, else absolute.
        policy: how it was made, as the sweep describes it.
        counts: number of images in `train`, `val` and `test`; empty if unknown.
    """

    hash: str
    data_signature: str
    path: str
    policy: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyRecord:
    """A study, and what it was made from. None of it changes after the study is created.

    Attributes:
        name: unique in the database.
        uid: 8 random hexadecimal digits. They distinguish the study from a study of the same name
            in another database.
        sweep_signature: hash of the parts of the sweep that may not change.
        sweep_text: the sweep file of the first run, with overrides applied.
        sweep_json: the parts of the sweep that `sweep_signature` was computed from.
        data_source: the data set, as the sweep names it.
        data_signature: hash of the images and labels.
        data_cache: folder of the parsed data set; relative to the storage folder if it is below
            it, else absolute.
        data_spec: classes, side and channels of the images.
        versions: of the packages that influence the results, by name.
    """

    name: str
    uid: str
    family: str
    objective: str
    sweep_signature: str
    sweep_text: str
    sweep_json: dict[str, Any]
    data_source: str
    data_signature: str
    data_cache: str
    data_spec: DataSpec
    split: SplitRecord
    versions: dict[str, str]
    created: datetime

    def __post_init__(self) -> None:
        named_safely("The name of a study", self.name, STUDY_NAME)
        named_safely(f"The uid of the study {self.name}", self.uid, STUDY_UID)

    def data_ref(self, root: Path) -> DataRef:
        """Returns where a worker finds the study's images and split.

        Args:
            root: the storage folder.
        """
        return DataRef(
            cache=root / self.data_cache,
            signature=self.data_signature,
            split=root / self.split.path,
            split_hash=self.split.hash,
            spec=self.data_spec,
        )


@dataclass(frozen=True)
class JobRecord:
    """A job. `job.Job` describes the fields that are not explained here.

    Attributes:
        number: Optuna's trial number, for a job of a search; None for others.
        state: see `jobs.states`.
        reason: why the job ended so; empty for a job that trained its whole schedule.
        value: the objective of a job that has ended, or None.
        mirrored: whether trackers may copy the job; False if it ran with `--wandb disabled`.
        origin: for a final fit, the trial, the changes and the request that it comes from; empty
            for a job of a search.
    """

    uid: str
    study: str
    kind: Kind
    number: int | None
    name: str | None
    params: dict[str, Value]
    seed: int
    schedule: int
    until: int | None
    fit: Part
    state: str
    reason: str
    value: float | None
    mirrored: bool
    origin: dict[str, Any]
    created: datetime
    ended: datetime | None

    def __post_init__(self) -> None:
        named_safely("The uid of a job", self.uid, UID)

    @property
    def last_epoch(self) -> int:
        """The last epoch that the job trains."""
        return self.until or self.schedule


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt at a job, in one lane of one worker.

    `status` is None while the attempt runs. Later it is a `job.End`, or `lost` if the orchestrator
    ended before the attempt did.
    """

    job: str
    kind: Kind
    number: int | None
    attempt: int
    worker: int
    lane: int
    device: str
    started: datetime
    ended: datetime | None
    status: str | None
    reason: str
    detail: str
    parameters: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ArtifactRecord:
    """A file that a job left, or a file of the study itself if `job` is None.

    `path` is relative to the storage folder.
    """

    job: str | None
    kind: str
    path: str
    sha256: str
    bytes: int
    created: datetime


@dataclass(frozen=True)
class LedgerRecord:
    """One opening of the test images of a split."""

    id: int
    study: str
    job: str | None
    split_hash: str
    purpose: str
    opened: datetime


@dataclass(frozen=True)
class Cursor:
    """How far a tracker's mirror has copied a job.

    The tracker's run `run` has all rows up to (`attempt`, `epoch`).
    """

    job: str
    tracker: str
    run: str
    attempt: int = 0
    epoch: int = 0
    finished: bool = False

    def __post_init__(self) -> None:
        named_safely("The id of a tracker's run", self.run, UID)
