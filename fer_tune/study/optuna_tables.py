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

from sqlalchemy import (
    Connection,
    DateTime,
    Float,
    Integer,
    Select,
    String,
    TableClause,
    case,
    cast,
    column,
    inspect,
    or_,
    select,
    table,
)

from fer_tune.errors import StorageError, StudyError
from fer_tune.job import Value
from fer_tune.store import Store
from fer_tune.study.trial_states import MARKS

T = TypeVar("T")

REVISION = "v3.2.0.a"
"""The revision of Optuna's tables that this module reads. A test compares it with Optuna's."""

ALEMBIC = table("alembic_version", column("version_num", String))
STUDIES = table("studies", column("study_id", Integer), column("study_name", String))
STUDY_ATTRIBUTES = table(
    "study_user_attributes", column("study_id", Integer), column("key", String), column("value_json", String)
)
TRIALS = table(
    "trials",
    column("trial_id", Integer),
    column("study_id", Integer),
    column("number", Integer),
    column("state", String),
    column("datetime_start", DateTime),
    column("datetime_complete", DateTime),
)
VALUES = table(
    "trial_values",
    column("trial_id", Integer),
    column("objective", Integer),
    column("value", Float),
    column("value_type", String),
)
REPORTED = table(
    "trial_intermediate_values",
    column("trial_id", Integer),
    column("step", Integer),
    column("intermediate_value", Float),
    column("intermediate_value_type", String),
)
PARAMS = table(
    "trial_params",
    column("param_id", Integer),
    column("trial_id", Integer),
    column("param_name", String),
    column("param_value", Float),
    column("distribution_json", String),
)


def _attributes(kind: str) -> TableClause:
    columns = (column("trial_id", Integer), column("key", String), column("value_json", String))
    return table(f"trial_{kind}_attributes", column(f"trial_{kind}_attribute_id", Integer), *columns)


USER_ATTRIBUTES = _attributes("user")
SYSTEM_ATTRIBUTES = _attributes("system")

NAMED = 500
"""Queries name so many trials at most. Databases limit how many values a query may have."""

SPECIAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
"""Numbers that Optuna stores as a type without a value."""

STATE, VALUE_TYPE = cast(TRIALS.c.state, String), cast(VALUES.c.value_type, String)
"""On PostgreSQL they are enumerations, which are compared with texts only as texts."""

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
            query = select(STUDIES.c.study_id).where(STUDIES.c.study_name == study)
            found = connection.execute(query).scalar() if _exist(connection, store) else None
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
    if not inspect(connection).has_table(ALEMBIC.name):
        return False
    revision = connection.execute(select(ALEMBIC.c.version_num)).scalar()
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

    `ids` are the keys of the trials that are meant; None means all. With more than `NAMED` keys,
    the answer has all trials.

    Attributes:
        study: the study's name.
        connection: for rows of other tables at the same moment.
    """

    def __init__(self, connection: Connection, study_id: int, study: str) -> None:
        self.connection, self.study = connection, study
        self._study_id = study_id

    def attribute(self, key: str) -> Any:
        """Returns a user attribute of the study, or None."""
        query = select(STUDY_ATTRIBUTES.c.value_json).where(
            STUDY_ATTRIBUTES.c.study_id == self._study_id, STUDY_ATTRIBUTES.c.key == key
        )
        found = self.connection.execute(query).scalar()
        return None if found is None else json.loads(found)

    def heads(self, number: int | None = None) -> list[TrialHead]:
        """Returns the trials by number, or the one with this number.

        Optuna's tables have no index of numbers. So one trial is looked for from the newest one
        back: what is asked for is mostly new.
        """
        query = (
            select(*(TRIALS.c[name] for name in ("trial_id", "number")), STATE)
            .add_columns(VALUES.c.value, VALUE_TYPE)
            .select_from(TRIALS.outerjoin(VALUES, (VALUES.c.trial_id == TRIALS.c.trial_id) & (VALUES.c.objective == 0)))
            .where(TRIALS.c.study_id == self._study_id)
        )
        if number is None:
            query = query.order_by(TRIALS.c.number)
        else:
            query = query.where(TRIALS.c.number == number).order_by(TRIALS.c.trial_id.desc()).limit(1)
        return [
            TrialHead(trial, place, state, None if kind is None else _number(value, kind))
            for trial, place, state, value, kind in self.connection.execute(query)
        ]

    def times(self, ids: Collection[int] | None = None) -> dict[int, tuple[datetime | None, datetime | None]]:
        """Returns when trials started and ended, in local time, by trial."""
        query = select(TRIALS.c.trial_id, TRIALS.c.datetime_start, TRIALS.c.datetime_complete)
        query = query.where(TRIALS.c.study_id == self._study_id)
        if ids is not None and len(ids) <= NAMED:
            query = query.where(TRIALS.c.trial_id.in_(ids))
        return {trial: (started, ended) for trial, started, ended in self.connection.execute(query)}

    def marks(self, ids: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
        """Returns the user attributes that `trial_states.state_named` reads, by trial."""
        key, text = USER_ATTRIBUTES.c.key, USER_ATTRIBUTES.c.value_json
        found: dict[int, dict[str, Any]] = {}
        for trial, name, value in self.connection.execute(
            self._of(USER_ATTRIBUTES, ids, key, text).where(key.in_(MARKS))
        ):
            found.setdefault(trial, {})[name] = json.loads(value)
        return found

    def having(self, key: str) -> set[int]:
        """Returns the keys of the trials that have a user attribute."""
        query = self._of(USER_ATTRIBUTES, None).where(USER_ATTRIBUTES.c.key == key)
        return set(self.connection.execute(query).scalars())

    def infeasible(self) -> set[int]:
        """Returns the keys of the trials with a constraint above 0."""
        key = SYSTEM_ATTRIBUTES.c.key
        query = (
            select(TRIALS.c.trial_id, SYSTEM_ATTRIBUTES.c.value_json)
            .join(SYSTEM_ATTRIBUTES, SYSTEM_ATTRIBUTES.c.trial_id == TRIALS.c.trial_id)
            .where(TRIALS.c.study_id == self._study_id, or_(key == "constraints", key.startswith("constraints:")))
        )
        found = set()
        for trial, text in self.connection.execute(query):
            constraint = json.loads(text)
            values = constraint if isinstance(constraint, list) else [constraint]  # older versions kept a list
            if any(value > 0 for value in values):
                found.add(trial)
        return found

    def best(self) -> int | None:
        """Returns the key of the trial that Optuna calls best, if it is feasible, or None.

        Optuna documents no order of equal values. So this is Optuna's own query.
        """
        rank = case((VALUE_TYPE == "INF_NEG", -1), (VALUE_TYPE == "FINITE", 0), (VALUE_TYPE == "INF_POS", 1))
        query = (
            select(TRIALS.c.trial_id)
            .where(TRIALS.c.study_id == self._study_id, STATE == "COMPLETE")
            .join(VALUES, VALUES.c.trial_id == TRIALS.c.trial_id)
            .where(VALUES.c.objective == 0)
            .order_by(rank.desc(), VALUES.c.value.desc())
            .limit(1)
        )
        return self.connection.execute(query).scalar()

    def reported(self, ids: Collection[int] | None = None) -> dict[int, dict[int, float]]:
        """Returns the values that trials reported, by trial and step."""
        values = REPORTED.c.intermediate_value, cast(REPORTED.c.intermediate_value_type, String)
        query = self._of(REPORTED, ids, REPORTED.c.step, *values).order_by(REPORTED.c.step)
        found: dict[int, dict[int, float]] = {}
        for trial, step, value, kind in self.connection.execute(query):
            found.setdefault(trial, {})[step] = _number(value, kind)
        return found

    def user_attrs(self, ids: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
        """Returns the user attributes of trials."""
        return self._attributes("user", USER_ATTRIBUTES, ids)

    def system_attrs(self, ids: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
        """Returns the attributes of trials that Optuna keeps for itself."""
        return self._attributes("system", SYSTEM_ATTRIBUTES, ids)

    def _attributes(self, kind: str, rows: TableClause, ids: Collection[int] | None) -> dict[int, dict[str, Any]]:
        query = self._of(rows, ids, rows.c.key, rows.c.value_json).order_by(rows.c[f"trial_{kind}_attribute_id"])
        found: dict[int, dict[str, Any]] = {}
        for trial, key, text in self.connection.execute(query):
            found.setdefault(trial, {})[key] = json.loads(text)
        return found

    def params(self, ids: Collection[int] | None = None) -> Iterator[tuple[int, str, float, str]]:
        """Yields each parameter: trial, name, Optuna's number for the value, distribution."""
        columns = PARAMS.c.param_name, PARAMS.c.param_value, PARAMS.c.distribution_json
        yield from self.connection.execute(self._of(PARAMS, ids, *columns).order_by(PARAMS.c.param_id))

    def searched(self, ids: Collection[int]) -> dict[int, dict[str, Value]]:
        """Returns the values of the parameters that trials drew, by trial."""
        found: dict[int, dict[str, Value]] = {}
        for trial, name, number, distribution in self.params(ids) if ids else ():
            found.setdefault(trial, {})[name] = external(number, distribution)
        return found

    def _of(self, rows: TableClause, ids: Collection[int] | None, *columns: Any) -> Select[Any]:
        """Returns a query of the rows of some trials. Many trials are not named one by one."""
        query = select(rows.c.trial_id, *columns)
        if ids is not None and len(ids) <= NAMED:
            return query.where(rows.c.trial_id.in_(ids))
        return query.join(TRIALS, TRIALS.c.trial_id == rows.c.trial_id).where(TRIALS.c.study_id == self._study_id)


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
