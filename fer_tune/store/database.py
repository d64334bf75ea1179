"""The connection that the store's aggregates share: transactions, queries, and patience with a busy
database."""

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
    """One database of fer-tune, opened.

    A database that is locked, full or away is tried again as its `patience` says. After that, and
    for any other trouble, each method raises StorageError.

    Attributes:
        engine: SQLAlchemy's.
        url: of the database, made definite (absolute path, driver).
        shown: the same for people, without password.
        root: the storage folder, which the paths of artifacts are relative to.
        patiently: does work, one transaction in this database, again while a trouble lasts that may
            pass.
    """

    def __init__(self, url: URL, engine: Engine, root: Path, patience: Patience) -> None:
        self.url = full(url)
        self.shown = shown(url)
        self.engine = engine
        self.root = root
        self.patiently = patience
        patience.engines.append(engine)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Does `work` in one transaction.

        Raises:
            IntegrityError: passed through, since only the caller knows what it means.
        """

        def transaction() -> T:
            with self.engine.begin() as tx:
                return work(tx)

        return self.patiently(transaction)

    def rows(self, query: Any) -> Sequence[RowMapping]:
        """Returns the rows of a query."""

        def work() -> Sequence[RowMapping]:
            with self.engine.connect() as connection:
                return connection.execute(query).mappings().all()

        return self.patiently(work)


def matches(table: Table, key: dict[str, Any]) -> ColumnElement[bool]:
    """Returns the condition that a row has these values."""
    return and_(*(table.c[name] == value for name, value in key.items()))


def without(row: RowMapping, *names: str) -> dict[str, Any]:
    """Returns a row's values but those of these columns."""
    return {name: value for name, value in row.items() if name not in names}


def now() -> datetime:
    """Returns this moment, UTC."""
    return datetime.now(UTC)
