"""Reads one study from Optuna's tables by plain SQL.

Optuna's own loading makes several objects of each row, and takes a millisecond a trial. Here a
query returns rows for many trials at once, and each distinct distribution is parsed once. What is
returned is what Optuna would return. This module does not import Optuna.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, inspect, select

from fer_tune.errors import StorageError, StudyError
from fer_tune.job import Value
from fer_tune.store import Store
from fer_tune.study import optuna_queries as queries

T = TypeVar("T")

REVISION = "v3.2.0.a"
"""The revision of Optuna's tables that this module reads. A test compares it with Optuna's."""

SPECIAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
"""Numbers that Optuna stores as a type without a value."""

_known: WeakSet[Store] = WeakSet()
"""Stores whose tables have the revision that this module reads."""


@dataclass(frozen=True, slots=True)
class TrialHead:
    """What a list of trials needs. `state` is Optuna's name of the trial's state."""

    id: int
    number: int
    state: str
    value: float | None


def read(store: Store, study: str, work: Callable[[StudyTables], T]) -> T:
    """Calls `work` with a study's tables, which do not change meanwhile, and returns its result.

    Raises:
        StudyError: Optuna's tables have no such study.
        StorageError: another version of Optuna made them, or the database does not work.
    """

    def transaction() -> T:
        with store.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # Python's driver begins none before a SELECT
            else:
                connection.execution_options(isolation_level="REPEATABLE READ")
            found = connection.scalar(queries.STUDY, {"name": study}) if _exist(connection, store) else None
            if found is None:
                raise StudyError(
                    f"The trials of the study {study} are not in {store.shown}.",
                    "Somebody deleted them, or the study's first run ended before its first trial. "
                    "Another study name makes a new study: --set study=NAME.",
                )
            return work(StudyTables(connection, found, study))

    return store.patiently(transaction)


def _exist(connection: Connection, store: Store) -> bool:
    """Returns whether the database has Optuna's tables."""
    if store in _known:
        return True
    if not inspect(connection).has_table(queries.ALEMBIC.name):
        return False
    revision = connection.scalar(select(queries.ALEMBIC.c.version_num))
    if revision is None:
        return False
    if revision != REVISION:
        raise made_by_another_version(store.shown)
    _known.add(store)
    return True


def made_by_another_version(where: str) -> StorageError:
    """Returns the error for tables that this version of Optuna cannot read."""
    return StorageError(
        f"Another version of Optuna made its tables in {where}.",
        "If they are older: `optuna storage upgrade --storage URL`. If newer: `pip install --upgrade optuna`.",
    )


class StudyTables:
    """The rows of one study, at one moment.

    `ids` are the keys of the trials that are meant; None means all. With more than
    `optuna_queries.NAMED` keys, the answer has all trials.

    Attributes:
        study: the study's name.
        connection: for rows of other tables at the same moment.
    """

    def __init__(self, connection: Connection, study_id: int, study: str) -> None:
        self.connection, self.study = connection, study
        self._study_id = study_id

    def attribute(self, key: str) -> Any:
        """Returns a user attribute of the study, or None."""
        found = self.connection.scalar(queries.STUDY_ATTRIBUTE, {"study": self._study_id, "of_key": key})
        return None if found is None else json.loads(found)

    def heads(self, number: int | None = None) -> list[TrialHead]:
        """Returns the trials by number, or the one with this number."""
        query = queries.HEADS if number is None else queries.HEAD
        named = {} if number is None else {"of_number": number}
        return [
            TrialHead(trial, place, state, None if kind is None else _number(value, kind))
            for trial, place, state, value, kind in self.connection.execute(query, {"study": self._study_id} | named)
        ]

    def times(self, ids: Collection[int] | None = None) -> dict[int, tuple[datetime | None, datetime | None]]:
        """Returns when trials started and ended, in local time, by trial."""
        return {trial: (started, ended) for trial, started, ended in self._of(queries.TIMES, ids)}

    def marks(self, ids: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
        """Returns the user attributes that `trial_states.state_named` reads, by trial."""
        return self._attributes(queries.MARKED, ids)

    def having(self, key: str) -> set[int]:
        """Returns the keys of the trials that have a user attribute."""
        return set(self.connection.scalars(queries.HAVING, {"study": self._study_id, "of_key": key}))

    def infeasible(self) -> set[int]:
        """Returns the keys of the trials with a constraint above 0."""
        found = set()
        for trial, text in self._of(queries.CONSTRAINTS):
            constraint = json.loads(text)
            values = constraint if isinstance(constraint, list) else [constraint]  # older versions kept a list
            if any(value > 0 for value in values):
                found.add(trial)
        return found

    def best(self) -> int | None:
        """Returns the key of the trial that Optuna calls best, if it is feasible, or None."""
        found: int | None = self.connection.scalar(queries.BEST, {"study": self._study_id})
        return found

    def reported(self, ids: Collection[int] | None = None) -> dict[int, dict[int, float]]:
        """Returns the values that trials reported, by trial and step."""
        found: dict[int, dict[int, float]] = {}
        for trial, step, value, kind in self._of(queries.INTERMEDIATE, ids):
            found.setdefault(trial, {})[step] = _number(value, kind)
        return found

    def user_attrs(self, ids: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
        """Returns the user attributes of trials."""
        return self._attributes(queries.USER, ids)

    def system_attrs(self, ids: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
        """Returns the attributes of trials that Optuna keeps for itself."""
        return self._attributes(queries.SYSTEM, ids)

    def _attributes(self, query: queries.OfTrials, ids: Collection[int] | None) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        for trial, key, text in self._of(query, ids):
            found.setdefault(trial, {})[key] = json.loads(text)
        return found

    def params(self, ids: Collection[int] | None = None) -> Iterator[tuple[int, str, float, str]]:
        """Yields each parameter: trial, name, Optuna's number for the value, distribution."""
        yield from self._of(queries.DRAWN, ids)

    def searched(self, ids: Collection[int]) -> dict[int, dict[str, Value]]:
        """Returns the values of the parameters that trials drew, by trial."""
        found: dict[int, dict[str, Value]] = {}
        for trial, name, number, distribution in self.params(ids) if ids else ():
            found.setdefault(trial, {})[name] = external(number, distribution)
        return found

    def _of(self, query: queries.OfTrials, ids: Collection[int] | None = None) -> Any:
        return query(self.connection, self._study_id, ids)


def external(number: float, distribution: str) -> Value:
    """Returns the value of a parameter, given Optuna's number for it and its distribution."""
    of_number = _conversion(distribution)
    value: Value = of_number[int(number)] if isinstance(of_number, list) else of_number(number)
    return value


@lru_cache(maxsize=4096)
def _conversion(distribution: str) -> Any:
    """Returns the choices of a distribution, or the type of its numbers."""
    described: Mapping[str, Any] = json.loads(distribution)
    if "name" not in described:  # an abbreviated form, which users may write
        kind = described["type"]
        return list(described["choices"]) if kind == "categorical" else int if kind == "int" else float
    if described["name"] == "CategoricalDistribution":
        return list(described["attributes"]["choices"])
    return int if described["name"].startswith("Int") else float


def _number(value: float | None, kind: str) -> float:
    return SPECIAL[kind] if value is None else value
