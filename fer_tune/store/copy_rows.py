"""Copies the rows of some studies from one database to another, and compares the two.

Keys that a database gives, such as `fer_jobs.id`, are other ones in the copy. All else is equal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Integer, Table, insert, select

from fer_tune.errors import StorageError

AT_ONCE = 1000
"""Rows that are read and written together."""

Row = dict[str, Any]


@dataclass
class TableFamily:
    """Tables whose rows belong to a study, directly or by another row.

    Attributes:
        tables: each after those that it refers to. The first one has a row for each study.
        name: the column with the study's name in the first table.
        parents: the tables that others refer to, by the name of the column that refers to them.
        keys: the key in the copy of each row of the parents, by its key in the source.
    """

    tables: Sequence[Table]
    name: str
    parents: Mapping[str, Table]
    keys: dict[str, dict[int, int]] = field(default_factory=dict)

    def copy(self, source: Connection, target: Connection, names: Sequence[str]) -> int:
        """Copies all rows of these studies. Returns how many."""
        self.keys = {table.name: {} for table in self.parents.values()}
        return sum(self._copy(table, source, target, names) for table in self.tables)

    def _copy(self, table: Table, source: Connection, target: Connection, names: Sequence[str]) -> int:
        own, count = own_key(table), 0
        rows = self._rows(source, table, names)
        while batch := list(islice(rows, AT_ONCE)):
            given = [self._translated(row, own) for row in batch]
            if own is not None and table.name in self.keys:
                statement = insert(table).returning(own, sort_by_parameter_order=True)
                made = target.execute(statement, given).scalars()
                self.keys[table.name] |= zip((row[own.name] for row in batch), made, strict=True)
            else:
                target.execute(insert(table), given)
            count += len(batch)
        return count

    def match(self, source: Connection, target: Connection, names: Sequence[str]) -> None:
        """Finds the copies of the parents' rows: the rows that are at the same place.

        `compare` then says whether they are equal.
        """
        self.keys = {}
        for table in self.parents.values():
            own = own_key(table)
            assert own is not None
            pairs = zip(self._rows(source, table, names), self._rows(target, table, names), strict=False)
            self.keys[table.name] = {theirs[own.name]: ours[own.name] for theirs, ours in pairs}

    def compare(self, source: Connection, target: Connection, names: Sequence[str]) -> int:
        """Compares all rows of these studies. Returns how many there are.

        Raises:
            StorageError: a row differs, is missing, or is there once too often.
        """
        return sum(self._compare(table, source, target, names) for table in self.tables)

    def _compare(self, table: Table, source: Connection, target: Connection, names: Sequence[str]) -> int:
        own, count = own_key(table), 0
        expected = (self._translated(row, own) for row in self._rows(source, table, names))
        found = (without_key(row, own) for row in self._rows(target, table, names))
        for theirs, ours in zip_longest(expected, found):
            count += 1
            if theirs is None or ours is None:
                raise StorageError(f"Row {count} of {table.name} is in only one of the two databases.")
            different = [key for key, value in theirs.items() if not same(value, ours[key])]
            if different:
                raise StorageError(f"Row {count} of {table.name} differs in {', '.join(different)}.")
        return count

    def _rows(self, connection: Connection, table: Table, names: Sequence[str]) -> Iterator[Row]:
        """Yields a table's rows of these studies. The order is the same in both databases."""
        order = list(table.primary_key.columns)
        query = select(table).where(self._of(table, names)).order_by(*order)
        found = connection.execute(query.execution_options(yield_per=AT_ONCE))
        rows = (dict(row) for row in found.mappings())
        if all(isinstance(column.type, Integer) for column in order):
            return rows
        return iter(
            sorted(rows, key=lambda row: [row[column.name] for column in order])
        )  # servers sort texts their way

    def _of(self, table: Table, names: Sequence[str]) -> ColumnElement[bool]:
        """Returns the condition that a row belongs to one of the studies."""
        root = self.tables[0]
        if table is root:
            return root.c[self.name].in_(names)
        for key, parent in self.parents.items():
            if key in table.c:
                own = own_key(parent)
                assert own is not None
                return table.c[key].in_(select(own).where(self._of(parent, names)))
        raise AssertionError(table.name)

    def _translated(self, row: Row, own: Column[Any] | None) -> Row:
        """Returns a row as the copy has it, without the key that the database gives."""
        changed = without_key(row, own)
        for key, parent in self.parents.items():
            if changed.get(key) is not None and (own is None or key != own.name):
                changed[key] = self.keys[parent.name].get(changed[key])
        return changed


def own_key(table: Table) -> Column[Any] | None:
    """Returns the column of the key that the database gives each row, or None."""
    columns = list(table.primary_key.columns)
    own = columns[0]
    return own if len(columns) == 1 and isinstance(own.type, Integer) and not own.foreign_keys else None


def without_key(row: Row, own: Column[Any] | None) -> Row:
    """Returns a row without the key that the database gives."""
    return {key: value for key, value in row.items() if own is None or key != own.name}


def same(one: Any, other: Any) -> bool:
    """Returns whether two values are equal. A number that is not a number equals itself."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
