"""Whether the database is whole: its pages, its versions, its keys, and rows without what they belong to.

It is opened for reading only, and Optuna's tables are read by SQL: Optuna's own storage would make what is missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, Table, and_, column, func, inspect, select
from sqlalchemy import table as named
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from fer_tune.doctor.findings import Finding, many, note, ok, problem, refused, some
from fer_tune.errors import FerTuneError
from fer_tune.settings import Settings
from fer_tune.store import tables
from fer_tune.store.connection import engine_options, explain, parse_url, shown

Key = tuple[str, ...]

RESTORE = "Restore a backup, or keep what can be read: sqlite3 FILE .recover | sqlite3 NEW."
STRANGE = "No run of fer-tune leaves this: restore a backup, or delete these rows by hand after a copy of the database."

KEYS: dict[str, tuple[Key, ...]] = {
    "studies": (("study_name",),),
    "trials": (("study_id", "number"),),
    "trial_intermediate_values": (("trial_id", "step"),),
    "trial_params": (("trial_id", "param_name"),),
}
"""What must be unique in Optuna's tables."""


@dataclass
class Known:
    """What the database says of the studies, for those that compare it with files.

    Attributes:
        studies: rows of fer_studies, split included, by name.
        trials: by study, Optuna's trials as (number, state, user attributes); a study may be absent.
        artifacts: rows of fer_artifacts with the study's name as `study`.
        attempts: by study, rows of fer_attempts.
        whole: whether all of it could be read; files are compared with nothing less.
    """

    studies: dict[str, dict[str, Any]] = field(default_factory=dict)
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    attempts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True)
class Trial:
    """A row of Optuna's trials, named as Optuna names it: `state` is such as RUNNING."""

    number: int
    state: str
    user_attrs: dict[str, Any]


def database(settings: Settings, known: Known) -> Iterator[Finding]:
    """Checks the database, and fills `known` as far as it can be read."""
    try:
        url = parse_url(settings.url)
    except FerTuneError as error:
        yield refused("database", error)
        return
    where = shown(url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        yield note("database", f"there is none at {where}", "`fer-tune run SWEEP` makes one; --storage names another.")
        return
    try:
        engine = _reading(url)
        with engine.connect() as connection:
            yield ok("database", where)
            yield from _whole(connection)
            yield from _versions(connection, where)
            yield from _keys(connection)
            yield from _owners(connection)
            _read(connection, known)
    except SQLAlchemyError as error:
        yield refused("database", explain(error, url))


def _reading(url: URL) -> Engine:
    """An engine that cannot write. SQLite may make its two empty companions of the file, as any reader does."""
    options = engine_options(url) | {"poolclass": sqlalchemy.NullPool}
    if url.get_backend_name() != "sqlite":
        return sqlalchemy.create_engine(url, execution_options={"postgresql_readonly": True}, **options)
    place = Path(str(url.database)).as_uri()
    engine = sqlalchemy.create_engine(f"sqlite:///{place}?mode=ro&uri=true", **options)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except OperationalError:  # in a folder that may not be written, the companions cannot be made, and nobody writes
        if not Path(f"{url.database}-wal").exists():
            return sqlalchemy.create_engine(f"sqlite:///{place}?mode=ro&immutable=1&uri=true", **options)
    return engine


def _whole(connection: Connection) -> Iterator[Finding]:
    if connection.dialect.name != "sqlite":
        return
    said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
    if said != ["ok"]:
        yield problem("integrity", f"SQLite finds {many(len(said), 'fault', 'faults')}: {some(said)}", RESTORE)
    else:
        yield ok("integrity", "SQLite finds no fault in its pages and indices")


def _versions(connection: Connection, where: str) -> Iterator[Finding]:
    names = set(inspect(connection).get_table_names())
    version = connection.execute(select(tables.schema.c.version)).scalar() if tables.schema.name in names else None
    if version is None:
        advice = "`fer-tune run SWEEP` makes its tables; --storage names another."
        yield problem("schema", f"{where} holds no studies of fer-tune", advice)
    elif version > tables.FORMAT:
        told = f"a newer fer-tune made it: version {version}, known here {tables.FORMAT}"
        yield problem("schema", told, "pip install --upgrade fer-tune")
    else:
        absent = sorted(place.name for place in tables.metadata.sorted_tables if place.name not in names)
        if absent:
            yield problem("schema", f"version {version}, but tables are missing: {some(absent)}", RESTORE)
        else:
            yield ok("schema", f"version {version} of fer-tune's tables")
    yield _optuna_version(connection, names)


def _optuna_version(connection: Connection, names: set[str]) -> Finding:
    import optuna
    from alembic.script import ScriptDirectory

    if "alembic_version" not in names:
        return note("Optuna's tables", "there are none yet", "The first `fer-tune run` makes them.")
    found = connection.execute(select(column("version_num")).select_from(named("alembic_version"))).scalar()
    scripts = ScriptDirectory(str(Path(optuna.storages.__file__).parent / "_rdb" / "alembic"))
    head = scripts.get_current_head()
    if found == head:
        return ok("Optuna's tables", f"version {found}, that of Optuna {optuna.__version__}")
    older = found in {script.revision for script in scripts.walk_revisions()}
    advice = "After a copy: optuna storage upgrade --storage URL" if older else "pip install --upgrade optuna"
    return problem("Optuna's tables", f"version {found}; Optuna {optuna.__version__} reads {head}", advice)


def _keys(connection: Connection) -> Iterator[Finding]:
    """Rows that share what must be unique, counted, since a table that other hands made may lack the constraint."""
    names = set(inspect(connection).get_table_names())
    keys = [(place.name, key) for place in tables.metadata.sorted_tables for key in _unique(place)]
    keys += [(name, key) for name, several in KEYS.items() for key in several]
    looked = [(name, key) for name, key in keys if name in names]
    counted = [(name, key, _twice(connection, name, key)) for name, key in looked]
    for name, key, count in counted:
        if count:
            told = f"{name}: {many(count, 'value of', 'values of')} {', '.join(key)} there more than once"
            yield problem("unique keys", told, STRANGE)
    if not any(count for *_, count in counted):
        yield ok("unique keys", f"{len(looked)} kinds of key, none of them twice")


def _unique(place: Table) -> Iterator[Key]:
    yield tuple(place.primary_key.columns.keys())
    for constraint in place.constraints:
        if isinstance(constraint, sqlalchemy.UniqueConstraint):
            yield tuple(constraint.columns.keys())


def _twice(connection: Connection, name: str, key: Key) -> int:
    columns: list[ColumnElement[Any]] = [column(part) for part in key]
    groups = select(*columns).select_from(named(name)).group_by(*columns).having(func.count() > 1)
    return int(connection.execute(select(func.count()).select_from(groups.subquery())).scalar() or 0)


def _owners(connection: Connection) -> Iterator[Finding]:
    """Rows whose owner is gone: epochs without attempts, attempts without studies, and Optuna's own."""
    names = set(inspect(connection).get_table_names())
    lost = Counter[tuple[str, str]]()
    for place in tables.metadata.sorted_tables:
        for constraint in place.foreign_key_constraints:
            owner = constraint.referred_table
            if {place.name, owner.name} <= names:
                pairs = [(element.parent, element.column) for element in constraint.elements]
                lost[place.name, owner.name] += _without_owner(connection, place, owner, pairs)
    if connection.dialect.name == "sqlite":
        for child, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            lost[child, parent] += not str(child).startswith("fer_")  # ours are counted
    found = [(child, parent, count) for (child, parent), count in lost.items() if count]
    for child, parent, count in found:
        told = f"{many(count, 'row', 'rows')} of {child} without the row of {parent} it belongs to"
        yield problem("foreign keys", told, STRANGE)
    if not found:
        yield ok("foreign keys", "every row has what it belongs to")


def _without_owner(connection: Connection, place: Table, owner: Table, pairs: list[tuple[Any, Any]]) -> int:
    joined = place.outerjoin(owner, and_(*(child == parent for child, parent in pairs)))
    absent: list[ColumnElement[bool]] = [pairs[0][1].is_(None), *(child.is_not(None) for child, _ in pairs)]
    return int(connection.execute(select(func.count()).select_from(joined).where(*absent)).scalar() or 0)


def _read(connection: Connection, known: Known) -> None:
    """What the database says of the studies."""
    names = set(inspect(connection).get_table_names())
    if not {place.name for place in tables.metadata.sorted_tables} <= names:
        return
    query = select(tables.studies).add_columns(tables.splits.c.path.label("split_path"))
    query = query.select_from(tables.studies.outerjoin(tables.splits))
    for row in connection.execute(query).mappings():
        known.studies[row["name"]] = dict(row)
    ids = {row["id"]: name for name, row in known.studies.items()}
    known.attempts = {name: [] for name in known.studies}
    for row in connection.execute(select(tables.attempts)).mappings():
        if row["study_id"] in ids:
            known.attempts[ids[row["study_id"]]].append(dict(row))
    for row in connection.execute(select(tables.artifacts).order_by(tables.artifacts.c.id)).mappings():
        known.artifacts.append(dict(row) | {"study": ids.get(row["study_id"], "")})
    if {"studies", "trials", "trial_user_attributes"} <= names:
        _read_trials(connection, known)
    known.whole = True


def _read_trials(connection: Connection, known: Known) -> None:
    studies = named("studies", column("study_id"), column("study_name"))
    rows = named("trials", column("trial_id"), column("study_id"), column("number"), column("state"))
    attributes = named("trial_user_attributes", column("trial_id"), column("key"), column("value_json"))
    names = {row.study_id: row.study_name for row in connection.execute(select(studies))}
    known.trials = {name: [] for name in names.values() if name in known.studies}
    attrs: dict[int, dict[str, Any]] = {}
    for attribute in connection.execute(select(attributes)):
        attrs.setdefault(attribute.trial_id, {})[attribute.key] = json.loads(attribute.value_json)
    for row in connection.execute(select(rows).order_by(rows.c.number)):
        name = names.get(row.study_id)
        if name in known.trials:
            known.trials[name].append(Trial(row.number, row.state, attrs.get(row.trial_id, {})))
