"""The open database that all objects of a store share: transactions, batches and queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, insert
from sqlalchemy.engine import URL, Engine

from fer_tune.store.connection import full, shown
from fer_tune.store.pending import Pending, Transaction, Work
from fer_tune.store.retry import Patience

T = TypeVar("T")


class Database:
    """One open database of fer-tune.

    A method tries again, as the database's `Patience` says, while the database is locked, full or
    cannot be reached. After that, and for any other error, it raises StorageError.

    Each write is a transaction of its own, except in a `batch`. There, writes wait for the next
    `commit`, and are made together. One thread uses a database.

    Attributes:
        engine: SQLAlchemy's.
        pending: the writes that wait.
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
        self.pending = Pending()
        self._batches = 0
        patience.engines.append(engine)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Lets writes wait until `commit`, a query, or the end of the context.

        If the context is left by an exception, writes that still wait are given up. A batch within
        a batch has no effect of its own.
        """
        self._batches += 1
        try:
            yield
            if self._batches == 1:
                self.commit()
        finally:
            self._batches -= 1
            if self._batches == 0:
                self.pending.discard()

    def later(self, work: Work, done: Callable[[], object] | None = None) -> None:
        """Calls `work` in the next transaction: at once, or at the next `commit` of a batch.

        Args:
            done: is called after the transaction.
        """
        self.pending.add(work, done)
        self.written()

    def written(self) -> None:
        """Commits what was added to `pending`, unless a batch is open."""
        if self._batches == 0:
            try:
                self.commit()
            finally:
                self.pending.discard()

    def commit(self) -> None:
        """Makes all writes that wait, in one transaction.

        Raises:
            StorageError: the database does not work. The writes still wait.
            FerTuneError: the database refuses a write. None of them is made.
        """
        if self.pending:
            steps, done = self.pending.steps, self.pending.done
            self.patiently(Transaction(self.engine, steps))
            self.pending.steps, self.pending.done = [], []
            for call in done:
                call()

    def write(self, work: Callable[[Connection], T]) -> T:
        """Calls `work` in a transaction, after the writes that wait, and returns its result.

        Raises:
            StorageError: the database does not work.
            IntegrityError: as SQLAlchemy raises it, because only the caller knows what it means.
        """
        results: list[T] = []
        self.pending.add(lambda tx: results.append(work(tx)))
        try:
            self.commit()
        except BaseException:
            self.pending.steps.pop()
            raise
        return results[-1]

    def rows(self, query: Any, values: Mapping[str, Any] | None = None) -> Sequence[RowMapping]:
        """Returns the rows of a query. It first commits the writes that wait.

        Args:
            values: of the query's parameters, by name.

        Raises:
            StorageError: the database does not work.
        """
        self.commit()

        def work() -> Sequence[RowMapping]:
            with self.engine.connect() as connection:
                return connection.execute(query, values).mappings().all()

        return self.patiently(work)


def insert_new(engine: Engine, table: Table, replace: Sequence[str] = (), key: Sequence[str] = ()) -> Any:
    """Returns a statement that inserts rows. It leaves out rows whose key is in the table.

    Args:
        replace: columns to change in the rows that are in the table, instead of leaving them out.
        key: columns of the key; by default those of the primary key.
    """
    name = engine.dialect.name
    if name not in ("sqlite", "postgresql"):  # then it is an error if the key is in the table
        return insert(table)
    # Both would be imported at the top, and PostgreSQL's takes a tenth of a second.
    statement = import_module(f"sqlalchemy.dialects.{name}").insert(table)
    columns = list(key or table.primary_key.columns.keys())
    if replace:
        return statement.on_conflict_do_update(
            index_elements=columns, set_={name: statement.excluded[name] for name in replace}
        )
    return statement.on_conflict_do_nothing(index_elements=columns)


def matches(table: Table, key: dict[str, Any]) -> ColumnElement[bool]:
    """Returns the condition that a row has these values."""
    return and_(*(table.c[name] == value for name, value in key.items()))


def without(row: RowMapping, *names: str) -> dict[str, Any]:
    """Returns a row's values by column, except those of the named columns."""
    return {name: value for name, value in row.items() if name not in names}


def now() -> datetime:
    """Returns the present time in UTC."""
    return datetime.now(UTC)
