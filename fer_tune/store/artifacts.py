"""Artifacts: files below the storage folder that a job or a study left, each with its hash."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from fer_tune.errors import StorageError
from fer_tune.store import tables
from fer_tune.store.artifact_paths import described, file_below
from fer_tune.store.database import Database, matches, without
from fer_tune.store.records import ArtifactRecord
from fer_tune.store.studies import Studies

if TYPE_CHECKING:
    from fer_tune.store.jobs import Jobs


class Artifacts:
    """The artifacts of a database."""

    def __init__(self, database: Database, studies: Studies, jobs: Jobs) -> None:
        self._database, self._studies, self._jobs = database, studies, jobs

    def add(self, study: str, uid: str | None, kind: str, path: Path) -> None:
        """Records a file with its hash. An earlier record of the same path is replaced.

        Args:
            uid: of the job that left the file, or None for a file of the study itself.

        Raises:
            StorageError: the file is missing or outside the storage folder.
        """
        owner = {"study_id": self._studies.key(study), "job_id": None if uid is None else self._jobs.key(uid)}
        values = described(self._database.root, kind, path) | owner
        self._database.write(lambda tx: put(tx, values))

    def of(self, study: str, uid: str | None = None) -> list[ArtifactRecord]:
        """Returns the artifacts of a study, or of one of its jobs, in the order of their
        recording."""
        of_study = {"study": self._studies.key(study)}
        if uid is None:
            rows = self._database.rows(_OF_STUDY, of_study)
        else:
            rows = self._database.rows(_OF_JOB, of_study | {"of_uid": uid})
        return [ArtifactRecord(**without(row, "id", "study_id", "job_id")) for row in rows]

    def path(self, artifact: ArtifactRecord) -> Path:
        """Returns the path of the artifact's file.

        Raises:
            StorageError: the path is outside the storage folder, or is not a regular file, such as
                a pipe that a reader would wait for. fer-tune never records such a path.
        """
        path = file_below(self._database.root, artifact.path)
        if path.exists() and not path.is_file():
            raise StorageError(f"The artifact {path} is not a regular file.", "Restore it from a backup.")
        return path

    def discard_unrecorded(self, study: str, uid: str, folder: Path, recorded: Iterable[Path] = ()) -> None:
        """Deletes the files in a job's folder that are not recorded.

        Args:
            uid: the job's.
            folder: the job's folder, which may not exist.
            recorded: files that are known to be recorded.
        """
        try:
            left = set(folder.iterdir()) - set(recorded)
        except OSError:  # it was never made
            return
        if left:
            known = {self.path(record).resolve() for record in self.of(study, uid)}
            for path in left:
                if path.resolve() not in known:
                    with suppress(OSError):
                        path.unlink()


# They are made once, because SQLAlchemy takes longer to make a query than SQLite to answer it.
_OF_STUDY = (
    select(tables.artifacts, tables.jobs.c.uid.label("job"))
    .outerjoin(tables.jobs, tables.jobs.c.id == tables.artifacts.c.job_id)
    .where(tables.artifacts.c.study_id == bindparam("study"))
    .order_by(tables.artifacts.c.id)
)
_OF_JOB = _OF_STUDY.where(tables.jobs.c.uid == bindparam("of_uid"))


def put(tx: Connection, values: dict[str, Any]) -> None:
    """Writes an artifact's row, and replaces an earlier one of the same file.

    Args:
        values: all columns but `id`.
    """
    same_file = matches(tables.artifacts, {name: values[name] for name in ("study_id", "path")})
    tx.execute(delete(tables.artifacts).where(same_file))
    tx.execute(insert(tables.artifacts).values(**values))
