"""The open database that all objects of a store share: transactions and queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_
from sqlalchemy.engine import URL, Engine

from fer_tune.store.connection import full, shown
from fer_tune.store.retry import Patience

T = TypeVar("T")


class Database:
    """One open database of fer-tune.

    A method tries again, as the database's `Patience` says, while the database is locked, full or
    cannot be reached. After that, and for any other error, it raises StorageError.

    Attributes:
        engine: SQLAlchemy's.
        url: of the database in full, with absolute path, driver and password.
        shown: the URL for messages, without password.
        root: the storage folder. Paths of artifacts are relative to it.
        patiently: the `Patience`. Call it with a function that does one transaction.
    """

    def __init__(self, url: URL, engine: Engine, root: Path, patience: Patience) -> None:
        self.url = full(url)
        self.shown = shown(url)
        self.engine = engine
        self.root = root
        self.patiently = patience
        patience.engines.append(engine)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Calls `work` in one transaction, and returns its result.

        Raises:
            StorageError: the database does not work.
            IntegrityError: as SQLAlchemy raises it, because only the caller knows what it means.
        """

        def transaction() -> T:
            with self.engine.begin() as tx:
                return work(tx)

        return self.patiently(transaction)

    def rows(self, query: Any) -> Sequence[RowMapping]:
        """Returns the rows of a query.

        Raises:
            StorageError: the database does not work.
        """

        def work() -> Sequence[RowMapping]:
            with self.engine.connect() as connection:
                return connection.execute(query).mappings().all()

        return self.patiently(work)


def matches(table: Table, key: dict[str, Any]) -> ColumnElement[bool]:
    """Returns the condition that a row has these values."""
    return and_(*(table.c[name] == value for name, value in key.items()))


def without(row: RowMapping, *names: str) -> dict[str, Any]:
    """Returns a row's values by column, except those of the named columns."""
    return {name: value for name, value in row.items() if name not in names}


def now() -> datetime:
    """Returns the present time in UTC."""
    return datetime.now(UTC)
