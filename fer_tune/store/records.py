"""The records that the store returns and takes: a plain class for each kind of row. Times are
UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fer_tune.data.spec import DataRef, DataSpec
from fer_tune.job import Kind, Part, Value


@dataclass(frozen=True)
class SplitRecord:
    """A stored split.

    Attributes:
        hash: of its indices.
        data_signature: of the data set it divides.
        path: its file, relative to the storage folder where it lies below it.
        policy: how it was made, as the sweep says it.
        counts: images in `train`, `val` and `test`; empty where unknown.
    """

    hash: str
    data_signature: str
    path: str
    policy: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyRecord:
    """A study and what it was made from; none of it changes after the study is created.

    Attributes:
        name: unique in the database.
        uid: 8 hexadecimal digits drawn at its creation, which tell it from another study of the
            same name elsewhere.
        sweep_signature: of what may not change; `sweep_json` is what it was computed from.
        sweep_text: the sweep file as it was run first, overrides applied.
        data_source: as the sweep names it.
        data_cache: folder of the parsed data set, relative to the storage folder where it is below
            it.
        data_spec: classes, side and channels of the images.
        versions: of the packages that matter for the numbers, by name.
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

    def data_ref(self, root: Path) -> DataRef:
        """Where a worker finds the study's faces, given the storage folder."""
        return DataRef(
            cache=root / self.data_cache,
            signature=self.data_signature,
            split=root / self.split.path,
            split_hash=self.split.hash,
            spec=self.data_spec,
        )


@dataclass(frozen=True)
class JobRecord:
    """A job: anything that trains; see `job.Job` for what its fields mean.

    Attributes:
        number: Optuna's number of the trial, for a job of a search.
        state: see `jobs.states`.
        reason: why it ended so; empty for a job that ran its whole schedule.
        value: the objective of a job that is over and has one.
        mirrored: whether trackers may have it: false where it ran with `--wandb disabled`.
        origin: where a job comes from that is not a search's: the trial, what was changed, the
            request.
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

    @property
    def last_epoch(self) -> int:
        """The epoch after which nothing is left to train."""
        return self.until or self.schedule


@dataclass(frozen=True)
class AttemptRecord:
    """One try at a job on one worker.

    `status` is None while it runs, else one of `job.End`, or `lost` where the orchestrator ended
    without hearing of its end.
    """

    job: str
    kind: Kind
    number: int | None
    attempt: int
    worker: int
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
    """A file that a job (or, with job None, a study) left; `path` is relative to the storage
    folder."""

    job: str | None
    kind: str
    path: str
    sha256: str
    bytes: int
    created: datetime


@dataclass(frozen=True)
class LedgerRecord:
    """One opening of the test images."""

    id: int
    study: str
    job: str | None
    split_hash: str
    purpose: str
    opened: datetime


@dataclass(frozen=True)
class Cursor:
    """How far a tracker's mirror has copied a job: all rows up to (`attempt`, `epoch`) are in the
    run `run`."""

    job: str
    tracker: str
    run: str
    attempt: int = 0
    epoch: int = 0
    finished: bool = False
