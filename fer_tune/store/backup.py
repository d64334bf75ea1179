"""Backups: one verified file with the database, the ledger and, on request, all artifacts.

The ledger of test openings is a table of the copy, so that a backup is one file in either form.
`restore` puts its lines into the ledger of the storage folder, and drops the table.
"""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import IO

from fer_tune.errors import StorageError
from fer_tune.files import draft_folder, remove_drafts, writing
from fer_tune.store.artifact_paths import sha256
from fer_tune.store.openings import Openings
from fer_tune.store.store import Store

DATABASE, FILES = "fer_tune.db", ("artifacts", "weights")
"""Names in a backup with artifacts, which is a tar archive: the database, and folders of the
storage folder. `weights` has those that networks start from."""

LEDGER = "fer_test_ledger"
"""Table of a backup with the lines of the ledger of test openings."""

FOLDER = "backups"
"""Folder in the storage folder for backups that the user gives no other place."""


@dataclass(frozen=True)
class Backup:
    """A backup that was read back after it was written.

    Attributes:
        path: its file.
        bytes: size of the file.
        studies, jobs: how many are in its database.
        files: how many artifacts are in it.
        missing: paths of recorded artifacts that the storage folder lacks or that have changed.
        Empty for a backup without artifacts.
        openings: how many openings of test images its ledger has.
    """

    path: Path
    bytes: int
    studies: int
    jobs: int
    files: int
    missing: tuple[str, ...]
    openings: int = 0


def back_up(store: Store, to: Path | None = None, artifacts: bool = False) -> Backup:
    """Writes a backup and reads it back. A run of the database may continue meanwhile.

    Args:
        to: the file, which must not exist yet, or a folder for it. None is the folder `backups`.
        artifacts: whether the backup has the files of the folders in `FILES` too.

    Raises:
        StorageError: the backup cannot be written, or differs from what was written.
    """
    if store.engine.dialect.name != "sqlite":
        hint = "Use pg_dump for the database, and copy artifacts/ and test-ledger.jsonl."
        raise StorageError(f"{store.shown} is on a server, which `fer-tune backup` does not copy.", hint)
    path = _place(store.root, to, "tar" if artifacts else "db")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(path) as folder:
            whole = database = folder / DATABASE
            copy_database(store, database)
            ledger = Openings(store.root)
            _put_ledger(database, ledger.lines())
            written: dict[str, str] = {}
            if artifacts:
                whole = folder / path.name
                written = _pack(whole, database, store.root)
                _verify(whole, written)
            counts, recorded = _contents(database)
            size = whole.stat().st_size
            whole.rename(path)
    missing = [name for name, digest in recorded.items() if artifacts and written.get(name) != digest]
    files = max(0, len(written) - 1)
    return Backup(path, size, counts["fer_studies"], counts["fer_jobs"], files, tuple(missing), len(ledger.all()))


def copy_database(store: Store, to: Path) -> None:
    """Copies an SQLite database with its write-ahead log into one file that needs no other.

    Raises:
        StorageError: the copy is damaged.
        OSError: the copy cannot be written.
    """
    source = store.engine.raw_connection()
    try:
        with closing(sqlite3.connect(to)) as target:
            source.driver_connection.backup(target)  # type: ignore[union-attr]
            target.execute("PRAGMA journal_mode=DELETE")
            answers = [row[0] for row in target.execute("PRAGMA integrity_check(1)")]
    except sqlite3.Error as error:
        raise StorageError(f"The database {store.shown} cannot be copied to {to}: {error}.") from error
    finally:
        source.close()
    if answers != ["ok"]:
        hint = "See `fer-tune doctor`. No backup was written."
        raise StorageError(f"The copy of the database {store.shown} is damaged: {answers[0]}.", hint)


def ledger_lines(database: Path) -> list[str]:
    """Returns the lines of the ledger in a backup's database. An older backup has none."""
    with closing(sqlite3.connect(database)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (LEDGER,)).fetchone():
            return []
        return [str(row[0]) for row in connection.execute(f"SELECT line FROM {LEDGER} ORDER BY rowid")]


def _put_ledger(database: Path, lines: list[str]) -> None:
    """Writes the lines of the ledger into the copy of the database, and reads them back.

    Raises:
        StorageError: what is read differs.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"CREATE TABLE {LEDGER} (line TEXT NOT NULL)")
        connection.executemany(f"INSERT INTO {LEDGER} VALUES (?)", [(line,) for line in lines])
    if ledger_lines(database) != lines:
        raise StorageError("The copy of the ledger of test openings is damaged.", "Run the same command again.")


def _place(root: Path, to: Path | None, suffix: str) -> Path:
    name = f"fer_tune-{datetime.now(UTC):%Y%m%d-%H%M%S}.{suffix}"
    path = root / FOLDER / name if to is None else to / name if to.is_dir() else to
    remove_drafts(path.parent, below=False)
    if path.exists() or path.is_symlink():
        raise StorageError(f"{path} exists already.", "Name another file. A backup replaces none.")
    return path


def _pack(tar: Path, database: Path, root: Path) -> dict[str, str]:
    """Writes the archive. Returns the hash of each member by its name.

    Only regular files are packed. A hidden file is a draft that a run is writing.
    """
    sources = {DATABASE: database}
    for file in sorted(file for folder in FILES for file in (root / folder).rglob("*")):
        if file.is_file() and not file.is_symlink() and not file.name.startswith("."):
            sources[file.relative_to(root).as_posix()] = file
    written = {}
    with tarfile.open(tar, "w") as archive:
        for name, file in sources.items():
            written[name] = sha256(file)[0]
            archive.add(file, name, recursive=False)
    return written


def _verify(tar: Path, written: Mapping[str, str]) -> None:
    """Reads an archive back.

    Raises:
        StorageError: a member differs from the file that was packed.
    """
    with tarfile.open(tar) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is None or _hash(stream) != written[member.name]:
                raise StorageError(f"{member.name} changed while it was copied.", "Run the same command again.")


def _hash(stream: IO[bytes]) -> str:
    return file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]  # it has readinto


def _contents(database: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Returns the number of rows by table, and the hash of each recorded artifact by its path."""
    with closing(sqlite3.connect(database)) as connection:
        counts = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("fer_studies", "fer_jobs")
        }
        return counts, dict(connection.execute("SELECT path, sha256 FROM fer_artifacts").fetchall())
