"""Writes that are collected, and then made in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, OperationalError

from fer_tune.errors import FerTuneError
from fer_tune.store.row_statement import RowStatement

COUNTING = {"preserve_rowcount": True}
"""Option of SQLAlchemy, with which `rowcount` is also right for an insertion."""

Work = Callable[[Connection], object]
"""One or several statements. It may be called again after a failed try, which changed nothing."""

LeftOut = Callable[[Connection, list[dict[str, Any]]], object]


@dataclass
class Rows:
    """Rows for one statement, which the database gets in one call.

    Attributes:
        table: that the statement writes to.
        refusal: returns the error to raise if the database refuses a row.
        left_out: is called in the transaction, with all rows, if the statement left some out.
    """

    statement: RowStatement
    table: Table
    refusal: Callable[[], FerTuneError]
    rows: list[dict[str, Any]]
    left_out: LeftOut | None = None

    def __call__(self, tx: Connection) -> None:
        """Writes the rows.

        Raises:
            FerTuneError: the database refused a row.
        """
        try:
            written = self.statement(tx, self.rows)
        except IntegrityError as error:
            raise self.refusal() from error
        if written != len(self.rows) and self.left_out is not None:
            self.left_out(tx, self.rows)


@dataclass
class Pending:
    """What waits for the next transaction, in order.

    Attributes:
        discards: how often writes were given up. What a caller keeps in memory beside the database
            is out of date after that.
    """

    steps: list[Work] = field(default_factory=list)
    done: list[Callable[[], object]] = field(default_factory=list)
    discards: int = 0

    def add(self, work: Work, done: Callable[[], object] | None = None) -> None:
        """Adds a step.

        Args:
            done: is called after the transaction.
        """
        self.steps.append(work)
        if done is not None:
            self.done.append(done)

    def add_row(
        self,
        statement: RowStatement,
        table: Table,
        row: dict[str, Any],
        refusal: Callable[[], FerTuneError],
        *,
        left_out: LeftOut | None = None,
    ) -> None:
        """Adds a row, to earlier rows of the same statement if the order does not matter.

        It matters if a later step writes to the same table, or to one that its rows refer to. See
        `Rows` for the arguments.
        """
        parents = {table.name, *(key.column.table.name for key in table.foreign_keys)}
        for step in reversed(self.steps):
            if not isinstance(step, Rows):
                break
            if step.statement is statement:
                step.rows.append(row)
                return
            if step.table.name in parents:
                break
        self.steps.append(Rows(statement, table, refusal, [row], left_out))

    def discard(self) -> None:
        """Gives up what waits."""
        if self.steps:
            self.discards += 1
        self.steps, self.done = [], []

    def __bool__(self) -> bool:
        return bool(self.steps)


class Transaction:
    """Makes all steps in one transaction. Call it again after an error; it commits only once.

    A server may commit and lose the connection before it says so. The next call then asks the
    server what became of the transaction. SQLite always says so.
    """

    def __init__(self, engine: Engine, steps: list[Work]) -> None:
        self._engine, self._steps = engine, steps
        self._number: int | None = None
        """PostgreSQL's number of a transaction whose commit was not confirmed."""

    def __call__(self) -> None:
        """Commits the steps.

        Raises:
            SQLAlchemyError: the database does not work. Nothing is changed, or the next call
                finds out.
        """
        with self._engine.connect() as connection:
            if self._number is not None and _is_committed(connection, self._number):
                return
            connection.rollback()
            with connection.begin():
                for step in self._steps:
                    step(connection)
                self._number = _number(connection)


def _number(connection: Connection) -> int | None:
    if connection.dialect.name != "postgresql":
        return None
    return int(connection.scalar(text("SELECT txid_current()")) or 0)


def _is_committed(connection: Connection, number: int) -> bool:
    """Returns whether PostgreSQL committed a transaction.

    Raises:
        OperationalError: it is not yet known.
    """
    status = connection.scalar(text("SELECT txid_status(:number)"), {"number": number})
    if status == "in progress":
        raise OperationalError("COMMIT", None, Exception("the transaction is still open"))
    return bool(status == "committed")
