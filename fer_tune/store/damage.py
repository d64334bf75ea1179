"""Finds values in a database that no run of fer-tune writes.

SQLite takes any value in any column, and other programs may write what they like. So an error while
a database is read may be the database's. `blame` looks, and says which column it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import JSON, Connection, Float, Integer, Table, column, inspect, select, table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import Boolean, DateTime, NullType

from fer_tune.errors import FerTuneError, StorageError
from fer_tune.job import Kind
from fer_tune.settings import STUDY_NAME
from fer_tune.store import tables
from fer_tune.store.connection import RESTORE
from fer_tune.store.database import Database
from fer_tune.store.records import STUDY_UID, UID

Check = Callable[[Any], bool]

LONGEST = 1 << 24
"""Characters of a text. No run writes as many."""

KINDS = get_args(Kind)
OBJECTIVES = ("val_accuracy", "val_macro_f1", "val_balanced_accuracy")
STATES = ("queued", "running", "paused", "complete", "pruned", "failed")


def blame(database: Database, error: Exception) -> StorageError | None:
    """Returns the error for the user if the database has values that explain `error`, else None.

    Without such a value the error is a bug of fer-tune.
    """
    if isinstance(error, FerTuneError):
        return None
    try:
        with database.engine.connect() as connection:
            found = next(damage(connection), None)
    except (SQLAlchemyError, FerTuneError):
        return None
    return None if found is None else StorageError(f"In {database.shown}, {found}.", RESTORE)


def damage(connection: Connection) -> Iterator[str]:
    """Yields what is wrong with the values, such as `fer_jobs.params is not valid in 2 rows`."""
    names = set(inspect(connection).get_table_names())
    for ours in tables.metadata.sorted_tables:
        if ours.name in names:
            yield from _of_table(connection, ours)
    for (name, key), check in OPTUNAS.items():
        if name in names:
            yield from _count(connection, name, key, check)
    if names >= {tables.studies.name, *ATTRIBUTES}:
        yield from _attributes(connection)
        yield from _curves(connection)


def _of_table(connection: Connection, ours: Table) -> Iterator[str]:
    present = {one["name"] for one in inspect(connection).get_columns(ours.name)}
    for one in ours.columns:
        if one.name in present:
            check = OURS.get(f"{ours.name}.{one.name}") or _by_type(one.type)
            yield from _count(connection, ours.name, one.name, lambda value, one=one, check=check: (  # type: ignore[misc]
                one.nullable if value is None else check(value)
            ))  # fmt: skip


def _count(connection: Connection, name: str, key: str, check: Check) -> Iterator[str]:
    query = select(column(key, NullType())).select_from(table(name))
    wrong = sum(not _holds(check, value) for value in connection.execute(query).scalars())
    if wrong:
        yield f"{name}.{key} is not valid in {wrong} {'row' if wrong == 1 else 'rows'}"


def _holds(check: Check, value: Any) -> bool:
    try:
        return check(value)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return False


def _by_type(kind: Any) -> Check:
    impl = getattr(kind, "impl", kind)
    if isinstance(impl, JSON):
        return lambda value: _json(value) is not None
    if isinstance(impl, Boolean):
        return lambda value: value in (0, 1)
    if isinstance(impl, Float):
        return _number
    if isinstance(impl, Integer):
        return _whole
    return _moment if isinstance(impl, DateTime) else _text


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < LONGEST


def _whole(value: Any) -> bool:
    return isinstance(value, int)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _moment(value: Any) -> bool:
    return isinstance(value, datetime) or datetime.fromisoformat(value) is not None


def _json(value: Any) -> Any:
    """Returns the content of a JSON column. SQLite returns it as text, PostgreSQL as an object."""
    return json.loads(value) if isinstance(value, str | bytes) else value


def _object(value: Any) -> Mapping[str, Any]:
    found = _json(value)
    if not isinstance(found, dict):
        raise TypeError
    return found


def _params(value: Any) -> bool:
    return all(isinstance(one, str) or _number(one) for one in _object(value).values())


def _sweep(value: Any) -> bool:
    sweep = _object(value)
    whole = all(isinstance(sweep[name], int) and 0 <= sweep[name] < 2**63 for name in ("seed", "epochs"))
    return whole and sweep["epochs"] > 0 and isinstance(sweep["space"], dict)


def _spec(value: Any) -> bool:
    spec = _object(value)
    names = isinstance(spec["classes"], list) and all(isinstance(name, str) for name in spec["classes"])
    return names and len(spec["classes"]) > 1 and 0 < spec["side"] <= 8192 and spec["channels"] in (1, 3)


def _texts(value: Any) -> bool:
    return all(isinstance(one, str) for one in _object(value).values())


def _matches(pattern: str) -> Check:
    return lambda value: re.fullmatch(pattern, value) is not None


OURS: dict[str, Check] = {
    "fer_studies.name": _matches(STUDY_NAME),
    "fer_studies.uid": _matches(STUDY_UID),
    "fer_studies.objective": lambda value: value in OBJECTIVES,
    "fer_studies.sweep_json": _sweep,
    "fer_studies.data_spec": _spec,
    "fer_studies.versions": _texts,
    "fer_splits.policy": lambda value: _object(value) is not None,
    "fer_splits.counts": lambda value: all(isinstance(one, int) for one in _object(value).values()),
    "fer_jobs.uid": _matches(UID),
    "fer_jobs.kind": lambda value: value in KINDS,
    "fer_jobs.state": lambda value: value in STATES,
    "fer_jobs.params": _params,
    "fer_jobs.origin": lambda value: _object(value) is not None,
    "fer_attempts.notes": lambda value: all(isinstance(one, str) for one in _list(value)),
    "fer_epochs.recall": lambda value: all(one is None or _number(one) for one in _list(value)),
    "fer_cursors.run": _matches(UID),
}
"""Checks of columns that need more than their type."""


def _list(value: Any) -> list[Any]:
    found = _json(value)
    if not isinstance(found, list):
        raise TypeError
    return found


def _any_json(value: Any) -> bool:
    _json(value)
    return _text(value)


def _optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


OPTUNAS: dict[tuple[str, str], Check] = {
    ("studies", "study_name"): _text,
    ("study_user_attributes", "value_json"): _any_json,
    ("study_system_attributes", "value_json"): _any_json,
    ("trials", "number"): _whole,
    ("trials", "state"): lambda value: value in ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING"),
    ("trials", "datetime_start"): _optional(_moment),
    ("trials", "datetime_complete"): _optional(_moment),
    ("trial_values", "value"): _optional(_number),
    ("trial_values", "value_type"): lambda value: value in ("FINITE", "INF_POS", "INF_NEG"),
    ("trial_intermediate_values", "step"): _whole,
    ("trial_intermediate_values", "intermediate_value"): _optional(_number),
    ("trial_intermediate_values", "intermediate_value_type"): lambda value: (
        value in ("FINITE", "INF_POS", "INF_NEG", "NAN")
    ),
    ("trial_params", "param_name"): _text,
    ("trial_params", "param_value"): _number,
    ("trial_params", "distribution_json"): lambda value: bool({"name", "type"} & _object(value).keys()),
    ("trial_user_attributes", "key"): _text,
    ("trial_user_attributes", "value_json"): _any_json,
    ("trial_system_attributes", "key"): _text,
    ("trial_system_attributes", "value_json"): _any_json,
}
"""Checks of Optuna's columns that fer-tune reads."""


def _attributes(connection: Connection) -> Iterator[str]:
    """Yields Optuna's attributes that fer-tune reads by key and that are not valid."""
    for name, checks in ATTRIBUTES.items():
        rows = table(name, column("key", NullType()), column("value_json", NullType()))
        for key, text in connection.execute(select(rows)):
            if key in checks and not _holds(checks[key], text):
                yield f"{name}.value_json of {key} is not valid"
                return


def _budget(value: Any) -> bool:
    budget = _object(value)
    hours = budget["hours"] is None or _number(budget["hours"])
    return hours and isinstance(budget["trials"], int) and isinstance(budget["epochs"], int)


def _json_text(value: Any) -> bool:
    return isinstance(_json(value), str)


def _json_whole(value: Any) -> bool:
    return isinstance(_json(value), int)


ATTRIBUTES: dict[str, dict[str, Check]] = {
    "study_user_attributes": {"budget": _budget},
    "trial_user_attributes": {
        "reason": _json_text,
        "start": _json_text,
        "params": _params,
        "place": _json_whole,
        "attempt": _json_whole,
        "retry_of": _json_whole,
        "requeued_as": _json_whole,
    },
    "trial_system_attributes": {"fixed_params": lambda value: _object(value) is not None},
}
"""Checks of the attributes that fer-tune reads."""


def _curves(connection: Connection) -> Iterator[str]:
    """Yields studies whose epochs have another number of recalls than classes."""
    studies, jobs, epochs = tables.studies, tables.jobs, tables.epochs
    query = (
        select(studies.c.name, column("data_spec", NullType()), column("recall", NullType()))
        .select_from(epochs.join(jobs, jobs.c.id == epochs.c.job_id).join(studies, studies.c.id == jobs.c.study_id))
        .distinct()
    )
    for name, spec, recall in connection.execute(query):
        if len(_list(recall)) != len(_object(spec)["classes"]):
            yield f"an epoch of {name} has {len(_list(recall))} recalls, and its images have another number of classes"
            return
