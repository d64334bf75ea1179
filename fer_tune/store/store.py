"""The store: one object that reads and writes fer-tune's tables. Each method is one transaction."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, delete, insert, select, update
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import IntegrityError

from fer_tune.errors import StorageError, StudyError
from fer_tune.job import EpochRow, JobEnd
from fer_tune.settings import Settings
from fer_tune.store import bootstrap, tables
from fer_tune.store.artifact_paths import inside, sha256
from fer_tune.store.connection import full, make_engine, parse_url, shown
from fer_tune.store.records import (
    ArtifactRecord,
    AttemptRecord,
    LedgerRecord,
    MirrorCursor,
    SplitRecord,
    StudyRecord,
)
from fer_tune.store.retry import Patience

T = TypeVar("T")

KIND = r"[A-Za-z0-9 ._-]{1,64}"
"""What a kind of artifact may be called."""

MEASURES = (
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_macro_f1",
    "val_balanced_accuracy",
    "lr",
    "seconds",
    "images_per_second",
)
"""The numbers of an `EpochRow`."""


class Store:
    """fer-tune's tables in one database.

    A database that is locked, full or away is tried again as its `patience` says; then, and for any other trouble,
    a method raises StorageError. A method that names a study raises StudyError where there is none of that name.

    Attributes:
        engine: SQLAlchemy's.
        url: of the database, made definite (absolute path, driver).
        shown: the same for people, without password.
        root: the storage folder, which artifact paths are relative to.
        patiently: does work, one transaction in this database, again while a trouble lasts that may pass.
    """

    def __init__(self, url: URL, engine: Engine, root: Path, patience: Patience) -> None:
        self.url = full(url)
        self.shown = shown(url)
        self.engine = engine
        self.root = root
        self.patiently = patience
        patience.engines.append(engine)
        self._ids: dict[str, int] = {}

    @classmethod
    def open(
        cls, url: str, create: bool = True, root: Path = Path("storage"), patience: float | Patience = 30.0
    ) -> Store:
        """Opens the database at `url`; with `create`, makes it, its folder and its tables where they are missing.

        Args:
            patience: seconds, or how a run waits.

        Raises:
            StorageError: it does not exist, cannot be opened, is damaged, is no database of fer-tune, or was made
                by a newer one.
            MissingExtraError: its driver is not installed.
        """
        parsed = parse_url(url)
        bootstrap.prepare_folder(parsed, create)
        patient = patience if isinstance(patience, Patience) else Patience(parsed, patience)
        store = cls(parsed, make_engine(parsed), root.absolute(), patient)
        # A lock on a file passes; a server that is not there at the start is more likely a wrong URL: said at once.
        at_first = patient if parsed.get_backend_name() == "sqlite" else Patience(parsed, 0.0)
        try:
            at_first(lambda: bootstrap.prepare(store.engine, store.shown, create))
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def of(cls, settings: Settings, create: bool = True, patience: float | Patience = 30.0) -> Store:
        """Opens the database that the settings name, with artifacts below their storage folder."""
        return cls.open(settings.url, create, settings.root, patience)

    def close(self) -> None:
        """Closes every connection, Optuna's too; the store can still be used and connects anew."""
        for engine in self.patiently.engines:
            engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # studies ------------------------------------------------------------------------------------------------------

    def register_study(self, record: StudyRecord) -> None:
        """Adds a study and its split in one transaction.

        Raises:
            StudyError: the name is taken.
        """

        def work(tx: Connection) -> None:
            known = select(tables.splits.c.hash).where(tables.splits.c.hash == record.split.hash)
            if tx.execute(known).first() is None:
                tx.execute(insert(tables.splits).values(**vars(record.split)))
            values = vars(record) | {"split_hash": record.split.hash}
            del values["split"]
            tx.execute(insert(tables.studies).values(**values))

        try:
            self._write(work)
        except IntegrityError as error:
            raise StudyError(f"There is a study named {record.name} already.", "Choose another name.") from error

    def study(self, name: str) -> StudyRecord:
        """The study of that name.

        Raises:
            StudyError: there is none; names the nearest.
        """
        found = self._studies(tables.studies.c.name == _asked(name))
        if not found:
            raise self._unknown(name)
        return found[0]

    def find_study(self, name: str) -> StudyRecord | None:
        """The study of that name, or None."""
        return next(iter(self._studies(tables.studies.c.name == _asked(name))), None)

    def studies(self) -> list[StudyRecord]:
        """All studies, the oldest first."""
        return self._studies()

    def _studies(self, *conditions: ColumnElement[bool]) -> list[StudyRecord]:
        of_split = [column.label(f"split_{column.name}") for column in tables.splits.c if column.name != "hash"]
        query = select(tables.studies).add_columns(*of_split).join(tables.splits)
        query = query.where(*conditions).order_by(tables.studies.c.id)
        return [_study_record(row) for row in self._rows(query)]

    # attempts and epochs ------------------------------------------------------------------------------------------

    def start_attempt(  # noqa: PLR0917 - the columns of a row
        self, study: str, number: int, attempt: int, worker: int, device: str, seed: int
    ) -> None:
        """Records that a worker starts on a trial; a second call with the same numbers changes nothing."""
        key = self._key(study, number=number, attempt=attempt)
        values = {"worker": worker, "device": device, "seed": seed, "started": _now()}
        self._write(lambda tx: _add(tx, tables.attempts, key, values))

    def add_epoch(self, study: str, row: EpochRow) -> bool:
        """Records one epoch of a started attempt; False, and nothing changed, if it is there already.

        Raises:
            StorageError: the attempt was never started.
        """
        key = self._key(study, number=row.number, attempt=row.attempt, epoch=row.epoch)
        values: dict[str, Any] = {name: getattr(row, name) for name in MEASURES}
        values["recall"] = [None if isnan(value) else value for value in row.recall]  # JSON has no nan
        values["recorded"] = _now()
        try:
            return self._write(lambda tx: _add(tx, tables.epochs, key, values))
        except IntegrityError as error:
            raise StorageError(f"Attempt {row.attempt} of trial {row.number} of {study} was never started.") from error

    def end_attempt(self, study: str, end: JobEnd) -> bool:
        """Records how a started attempt ended, and the files it left, in one transaction.

        False, and nothing changed, if it has ended already. A file that is gone is noted, since a trial's end must
        not be lost over it.

        Raises:
            StorageError: the attempt was never started, or a file lies outside the storage folder.
        """
        present = {kind: path for kind, path in end.files.items() if path.is_file()}
        gone = [f"{kind} was not found at {end.files[kind]}" for kind in end.files.keys() - present.keys()]
        files = [self._artifact(study, end.number, kind, path) for kind, path in sorted(present.items())]
        values = {name: getattr(end, name) for name in ("status", "reason", "detail", "parameters")}
        values |= {"notes": [*end.notes, *sorted(gone)], "ended": _now()}
        this = _matches(tables.attempts, self._key(study, number=end.number, attempt=end.attempt))

        def work(tx: Connection) -> bool:
            open_ = this & tables.attempts.c.ended.is_(None)
            if tx.execute(update(tables.attempts).where(open_).values(**values)).rowcount == 0:
                if tx.execute(select(tables.attempts.c.number).where(this)).first() is None:
                    raise StorageError(f"Attempt {end.attempt} of trial {end.number} of {study} was never started.")
                return False
            for file in files:
                _put_artifact(tx, file)
            return True

        return self._write(work)

    def abandon_attempts(self, study: str, reason: str, number: int | None = None) -> int:
        """Ends as `lost` the attempts (of one trial, or all) that nobody will hear of again; returns how many."""
        table = tables.attempts
        conditions = [*self._of(table, study, number), table.c.ended.is_(None)]
        values = {"status": "lost", "reason": reason, "ended": _now()}
        return self._write(lambda tx: tx.execute(update(table).where(*conditions).values(**values)).rowcount)

    def attempts(self, study: str, number: int | None = None) -> list[AttemptRecord]:
        """Attempts of a study or of one of its trials, by number and attempt."""
        table = tables.attempts
        query = select(table).where(*self._of(table, study, number)).order_by(table.c.number, table.c.attempt)
        return [
            AttemptRecord(**_without(row, "study_id", "notes"), notes=tuple(row["notes"])) for row in self._rows(query)
        ]

    def epochs(self, study: str, number: int | None = None) -> list[EpochRow]:
        """Epochs of a study or of one of its trials, by number, attempt and epoch."""
        table = tables.epochs
        order = (table.c.number, table.c.attempt, table.c.epoch)
        query = select(table).where(*self._of(table, study, number)).order_by(*order)
        return [_epoch_row(row) for row in self._rows(query)]

    def curves(self, study: str, number: int | None = None) -> dict[int, list[EpochRow]]:
        """By trial, its epochs once each: from its first epoch on, an attempt replaces what earlier ones recorded.

        So one that began anew stands alone, and one that went on from a checkpoint follows what came before.
        """
        found: dict[int, list[EpochRow]] = {}
        for row in self.epochs(study, number):  # by attempt
            curve = found.setdefault(row.number, [])
            while curve and curve[-1].epoch >= row.epoch:
                curve.pop()
            curve.append(row)
        return found

    # artifacts ----------------------------------------------------------------------------------------------------

    def add_artifact(self, study: str, number: int | None, kind: str, path: Path) -> ArtifactRecord:
        """Records a file below the storage folder with its hash; recording the same path again replaces the record.

        Raises:
            StorageError: the file is missing or lies outside the storage folder.
        """
        values = self._artifact(study, number, kind, path)
        self._write(lambda tx: _put_artifact(tx, values))
        return ArtifactRecord(**{name: value for name, value in values.items() if name != "study_id"})

    def artifacts(self, study: str, number: int | None = None) -> list[ArtifactRecord]:
        """Artifacts of a study or of one of its trials, in the order they were recorded."""
        table = tables.artifacts
        query = select(table).where(*self._of(table, study, number)).order_by(table.c.id)
        return [ArtifactRecord(**_without(row, "id", "study_id")) for row in self._rows(query)]

    def artifact_path(self, artifact: ArtifactRecord) -> Path:
        """Where the file lies.

        Raises:
            StorageError: the record points outside the storage folder, so somebody else wrote it.
        """
        return self.root / inside(self.root, self.root / artifact.path)

    def _artifact(self, study: str, number: int | None, kind: str, path: Path) -> dict[str, Any]:
        if not re.fullmatch(KIND, kind):
            raise StorageError(
                f"{kind[:80]!a} is no kind of artifact.", "It is 1 to 64 of A-Z a-z 0-9 . _ - and space."
            )
        relative = inside(self.root, path)
        digest, size = sha256(self.root / relative)
        values = {"number": number, "kind": kind, "path": relative.as_posix(), "sha256": digest, "bytes": size}
        return self._key(study) | values | {"created": _now()}

    # the ledger of test openings ----------------------------------------------------------------------------------

    def open_test(self, study: str, number: int | None, split_hash: str, purpose: str) -> int:
        """Enters in the ledger that the test images are about to be opened; returns the entry's id.

        Called before they are opened, so that no opening goes unrecorded.
        """
        values = self._key(study, number=number) | {"split_hash": split_hash, "purpose": purpose, "opened": _now()}
        entry = self._write(lambda tx: tx.execute(insert(tables.ledger).values(**values)).inserted_primary_key)
        assert entry is not None
        return int(entry[0])

    def ledger(self, study: str) -> list[LedgerRecord]:
        """Every opening of the test images on a study's behalf, the oldest first."""
        table = tables.ledger
        query = select(table).where(*self._of(table, study)).order_by(table.c.id)
        return [LedgerRecord(**_without(row, "study_id")) for row in self._rows(query)]

    # mirror cursors -----------------------------------------------------------------------------------------------

    def mirror_cursor(self, study: str, number: int) -> MirrorCursor | None:
        """How far the mirror has copied a trial, or None if it has not begun."""
        return next((cursor for cursor in self.mirror_cursors(study, number)), None)

    def mirror_cursors(self, study: str, number: int | None = None) -> list[MirrorCursor]:
        """The cursors of all trials that the mirror has begun to copy."""
        table = tables.mirror_cursors
        query = select(table).where(*self._of(table, study, number)).order_by(table.c.number)
        return [MirrorCursor(**_without(row, "study_id")) for row in self._rows(query)]

    def set_mirror_cursor(self, study: str, cursor: MirrorCursor) -> None:
        """Moves the mirror's cursor for one trial."""
        table = tables.mirror_cursors
        key = self._key(study, number=cursor.number)
        values = {name: value for name, value in vars(cursor).items() if name not in key}

        def work(tx: Connection) -> None:
            if not _add(tx, table, key, values):
                tx.execute(update(table).where(_matches(table, key)).values(**values))

        self._write(work)

    # within -------------------------------------------------------------------------------------------------------

    def _write(self, work: Callable[[Connection], T]) -> T:
        """One transaction. An IntegrityError passes through: only the caller knows what it means."""

        def transaction() -> T:
            with self.engine.begin() as tx:
                return work(tx)

        return self.patiently(transaction)

    def _rows(self, query: Any) -> Sequence[RowMapping]:
        def work() -> Sequence[RowMapping]:
            with self.engine.connect() as connection:
                return connection.execute(query).mappings().all()

        return self.patiently(work)

    def _id(self, study: str) -> int:
        """The study's key in the tables; it never changes, so it is asked for once."""
        if study not in self._ids:
            rows = self._rows(select(tables.studies.c.id).where(tables.studies.c.name == _asked(study)))
            if not rows:
                raise self._unknown(study)
            self._ids[study] = rows[0]["id"]
        return self._ids[study]

    def _key(self, study: str, **columns: Any) -> dict[str, Any]:
        return {"study_id": self._id(study), **columns}

    def _of(self, table: Table, study: str, number: int | None = None) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = [table.c.study_id == self._id(study)]
        return conditions if number is None else [*conditions, table.c.number == number]

    def _unknown(self, name: str) -> StudyError:
        name = _asked(name)
        names = [row["name"] for row in self._rows(select(tables.studies.c.name))]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        if near:
            hint = f"The nearest name is {near[0]}; `fer-tune studies` lists all."
        else:
            hint = f"It has: {', '.join(names)}." if names else "It has none yet: `fer-tune run SWEEP` makes one."
        return StudyError(f"There is no study {name} in {self.shown}.", hint)


def _asked(name: str) -> str:
    """A name to look for that any database and terminal can take; one that is escaped is no study's."""
    return name if name and name.isprintable() else ascii(name)


def _add(tx: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> bool:
    """Inserts a row unless its key is there; whether it did. Works on any dialect, since one process writes."""
    if tx.execute(select(table.c.study_id).where(_matches(table, key))).first() is not None:
        return False
    tx.execute(insert(table).values(**key, **values))
    return True


def _put_artifact(tx: Connection, values: dict[str, Any]) -> None:
    same_file = _matches(tables.artifacts, {name: values[name] for name in ("study_id", "path")})
    tx.execute(delete(tables.artifacts).where(same_file))
    tx.execute(insert(tables.artifacts).values(**values))


def _matches(table: Table, key: dict[str, Any]) -> ColumnElement[bool]:
    return and_(*(table.c[name] == value for name, value in key.items()))


def _without(row: RowMapping, *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _study_record(row: RowMapping) -> StudyRecord:
    split = SplitRecord(**{column.name: row[f"split_{column.name}"] for column in tables.splits.c})
    names = [column.name for column in tables.studies.c if column.name not in ("id", "split_hash")]
    return StudyRecord(**{name: row[name] for name in names}, split=split)


def _epoch_row(row: RowMapping) -> EpochRow:
    recall = tuple(float("nan") if value is None else float(value) for value in row["recall"])
    return EpochRow(**_without(row, "study_id", "recorded", "recall"), recall=recall)


def _now() -> datetime:
    return datetime.now(UTC)
