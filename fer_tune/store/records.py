"""What the store hands out and takes: one plain record for each kind of row. Times are UTC."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from fer_tune.data.spec import DataRef


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
        uid: 8 hexadecimal digits drawn at its creation, which tell it from another study of the same name elsewhere.
        sweep_signature: of what may not change; `sweep_json` is what it was computed from.
        sweep_text: the sweep file as it was run first, overrides applied.
        data_source: as the sweep names it.
        data_cache: folder of the parsed data set, relative to the storage folder where it lies below it.
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
        )


@dataclass(frozen=True)
class AttemptRecord:
    """One try of a trial on one worker.

    `status` is None while it runs, else one of `trial.End`, or `lost` where the orchestrator ended without
    hearing of its end.
    """

    number: int
    attempt: int
    worker: int
    device: str
    seed: int
    started: datetime
    ended: datetime | None
    status: str | None
    reason: str
    detail: str
    parameters: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ArtifactRecord:
    """A file that a trial (or, with number None, a study) left; `path` is relative to the storage folder."""

    number: int | None
    kind: str
    path: str
    sha256: str
    bytes: int
    created: datetime


@dataclass(frozen=True)
class LedgerRecord:
    """One opening of the test images."""

    id: int
    number: int | None
    split_hash: str
    purpose: str
    opened: datetime


@dataclass(frozen=True)
class MirrorCursor:
    """How far the mirror has copied a trial: all rows up to (`attempt`, `epoch`) lie in the run `run`."""

    number: int
    run: str
    attempt: int = 0
    epoch: int = 0
    finished: bool = False
