"""Studies and their splits. None of this changes after a study is created."""

from __future__ import annotations

import difflib

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, select
from sqlalchemy.exc import IntegrityError

from fer_tune.data.spec import DataSpec
from fer_tune.errors import StudyError
from fer_tune.store import tables
from fer_tune.store.database import Database
from fer_tune.store.records import SplitRecord, StudyRecord

LISTED = 8
"""Studies that an error names. Of more, it says how to list them."""


class Studies:
    """The studies of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: dict[str, int] = {}

    def add(self, record: StudyRecord) -> None:
        """Adds a study and its split.

        Raises:
            StudyError: a study of this name exists.
        """

        def work(tx: Connection) -> None:
            known = select(tables.splits.c.hash).where(tables.splits.c.hash == record.split.hash)
            if tx.execute(known).first() is None:
                tx.execute(insert(tables.splits).values(**vars(record.split)))
            values = vars(record) | {"split_hash": record.split.hash, "data_spec": record.data_spec.as_dict()}
            del values["split"]
            tx.execute(insert(tables.studies).values(**values))

        try:
            self._database.write(work)
        except IntegrityError as error:
            raise StudyError(f"A study named {record.name} already exists.", "Choose another name.") from error

    def delete(self, name: str) -> None:
        """Deletes a study with its jobs, attempts, epochs, cursors, and records of artifacts.

        Its openings of test stay in the ledger, because the images were seen.

        Raises:
            StudyError: the study does not exist.
        """
        key, ledger, past = self.key(name), tables.ledger, tables.past_openings
        columns = (tables.studies.c.name, ledger.c.split_hash, ledger.c.purpose, ledger.c.opened)
        openings = select(*columns).join(tables.studies).where(ledger.c.study_id == key).order_by(ledger.c.id)

        def work(tx: Connection) -> None:
            tx.execute(insert(past).from_select(["study", "split_hash", "purpose", "opened"], openings))
            tx.execute(delete(tables.studies).where(tables.studies.c.id == key))

        self._database.write(work)
        self._ids.pop(name, None)

    def get(self, name: str) -> StudyRecord:
        """Returns the study with this name.

        Raises:
            StudyError: the study does not exist. The hint gives the nearest name.
        """
        found = self.find(name)
        if found is None:
            raise self._unknown(name)
        return found

    def find(self, name: str) -> StudyRecord | None:
        """Returns the study with this name, or None."""
        return next(iter(self._select(tables.studies.c.name == _printable(name))), None)

    def all(self) -> list[StudyRecord]:
        """Returns all studies, the oldest first."""
        return self._select()

    def key(self, name: str) -> int:
        """Returns the study's key in the tables. It never changes, so it is read only once.

        Raises:
            StudyError: the study does not exist.
        """
        if name not in self._ids:
            query = select(tables.studies.c.id).where(tables.studies.c.name == _printable(name))
            rows = self._database.rows(query)
            if not rows:
                raise self._unknown(name)
            self._ids[name] = rows[0]["id"]
        return self._ids[name]

    def _select(self, *conditions: ColumnElement[bool]) -> list[StudyRecord]:
        of_split = [column.label(f"split_{column.name}") for column in tables.splits.c if column.name != "hash"]
        query = select(tables.studies).add_columns(*of_split).join(tables.splits)
        query = query.where(*conditions).order_by(tables.studies.c.id)
        return [_record(row) for row in self._database.rows(query)]

    def _unknown(self, name: str) -> StudyError:
        name = _printable(name)
        names = [row["name"] for row in self._database.rows(select(tables.studies.c.name))]
        near = difflib.get_close_matches(name, names, n=1)
        meant = f"Did you mean {near[0]}? " if near else ""
        if not names:
            hint = "It has no study yet. `fer-tune run SWEEP` makes one."
        elif len(names) > LISTED:
            hint = f"{meant}`fer-tune studies` lists all."
        else:
            hint = f"{meant}It has: {', '.join(names)}."
        return StudyError(f"There is no study {name} in {self._database.shown}.", hint)


def _printable(name: str) -> str:
    """Returns a name that every database and terminal accepts. No study has an escaped name."""
    return name if name and name.isprintable() else ascii(name)


def _record(row: RowMapping) -> StudyRecord:
    split = SplitRecord(**{column.name: row[f"split_{column.name}"] for column in tables.splits.c})
    names = [column.name for column in tables.studies.c if column.name not in ("id", "split_hash", "data_spec")]
    spec = DataSpec.from_dict(row["data_spec"])
    return StudyRecord(**{name: row[name] for name in names}, data_spec=spec, split=split)
