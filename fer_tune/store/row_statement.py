"""Statements that write rows many times a second, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Convert = Callable[[Any], Any]


class RowStatement:
    """A statement that writes rows, each with the same columns.

    SQLAlchemy would look up the compiled statement and its conversions again for each transaction.
    That takes longer than SQLite needs to write a row.
    """

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._text = ""
        self._conversions: dict[str, Convert | None] = {}
        self._constants: dict[str, Any] = {}
        self._places: Sequence[str] | None = None

    def __call__(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Writes the rows, and returns how many the database did not leave out."""
        if not self._text:
            self._compile(tx.dialect, rows[0])
        return tx.exec_driver_sql(self._text, [self._given(row) for row in rows]).rowcount

    def _given(self, row: Mapping[str, Any]) -> Any:
        """Returns the values of a row as the driver wants them: by place, or by name."""
        values = self._constants.copy()
        for name, convert in self._conversions.items():
            values[name] = row[name] if convert is None else convert(row[name])
        return values if self._places is None else tuple([values[name] for name in self._places])

    def _compile(self, dialect: Dialect, row: Mapping[str, Any]) -> None:
        compiled = self._statement.compile(dialect=dialect, column_keys=list(row))  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)
        for name, parameter in compiled.binds.items():
            convert = _conversion(parameter.type, dialect)
            if name in row:
                self._conversions[name] = convert
            else:
                self._constants[name] = parameter.value if convert is None else convert(parameter.value)
        self._places = compiled.positiontup if compiled.positional else None
        self._text = str(compiled)


def _conversion(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """Returns what makes a value of this type one that the driver takes; None if nothing must."""
    return kind.dialect_impl(dialect).bind_processor(dialect)
