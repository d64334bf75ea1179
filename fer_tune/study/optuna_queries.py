"""Optuna's tables, and the queries of them that `optuna_tables` makes.

Each query is made once, because SQLAlchemy takes longer to make a query than SQLite to answer it.
This module does not import Optuna.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    DateTime,
    Float,
    Integer,
    Select,
    String,
    TableClause,
    bindparam,
    case,
    cast,
    column,
    or_,
    select,
    table,
)
from sqlalchemy.engine import Connection

from fer_tune.study.trial_states import MARKS

NAMED = 500
"""Queries name so many trials at most. Databases limit how many values a query may have."""

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

STATE, VALUE_TYPE = cast(TRIALS.c.state, String).label("state"), cast(VALUES.c.value_type, String)
"""On PostgreSQL they are enumerations, which are compared with texts only as texts."""

_OF_STUDY = TRIALS.c.study_id == bindparam("study")


class OfTrials:
    """A query of rows that belong to trials. Its first column is the key of the trial.

    Args:
        rows: the table. Each row names its trial.
        columns: that follow.
        where: which rows, if not all.
    """

    def __init__(self, rows: TableClause, *columns: ColumnElement[Any], where: ColumnElement[bool] | None = None):
        query = select(rows.c.trial_id, *columns)
        if where is not None:
            query = query.where(where)
        of_all = query if rows is TRIALS else query.join(TRIALS, TRIALS.c.trial_id == rows.c.trial_id)
        self._all = of_all.where(_OF_STUDY)
        self._some = query.where(rows.c.trial_id.in_(bindparam("trials", expanding=True)))

    def order_by(self, *columns: ColumnElement[Any]) -> OfTrials:
        """Sorts the rows, and returns this query."""
        self._all, self._some = self._all.order_by(*columns), self._some.order_by(*columns)
        return self

    def __call__(self, connection: Connection, study: int, trials: Collection[int] | None) -> CursorResult[Any]:
        """Returns the rows of a study's trials.

        Args:
            trials: keys of the trials that are meant; None means all. With more than `NAMED` keys,
                the answer has all trials.
        """
        if trials is not None and len(trials) <= NAMED:
            return connection.execute(self._some, {"trials": list(trials)})
        return connection.execute(self._all, {"study": study})


STUDY = select(STUDIES.c.study_id).where(STUDIES.c.study_name == bindparam("name"))
STUDY_ATTRIBUTE = select(STUDY_ATTRIBUTES.c.value_json).where(
    STUDY_ATTRIBUTES.c.study_id == bindparam("study"), STUDY_ATTRIBUTES.c.key == bindparam("of_key")
)

_HEADS: Select[Any] = (
    select(TRIALS.c.trial_id, TRIALS.c.number, STATE, VALUES.c.value, VALUE_TYPE)
    .select_from(TRIALS.outerjoin(VALUES, (VALUES.c.trial_id == TRIALS.c.trial_id) & (VALUES.c.objective == 0)))
    .where(_OF_STUDY)
)
HEADS = _HEADS.order_by(TRIALS.c.number)
# Optuna's tables have no index of numbers. So one trial is looked for from the newest one back:
# what is asked for is mostly new.
HEAD = _HEADS.where(TRIALS.c.number == bindparam("of_number")).order_by(TRIALS.c.trial_id.desc()).limit(1)

_RANK = case((VALUE_TYPE == "INF_NEG", -1), (VALUE_TYPE == "FINITE", 0), (VALUE_TYPE == "INF_POS", 1))
BEST = (
    select(TRIALS.c.trial_id)
    .where(_OF_STUDY, STATE == "COMPLETE")
    .join(VALUES, VALUES.c.trial_id == TRIALS.c.trial_id)
    .where(VALUES.c.objective == 0)
    .order_by(_RANK.desc(), VALUES.c.value.desc())
    .limit(1)
)
"""Optuna documents no order of equal values. So this is Optuna's own query."""

TIMES = OfTrials(TRIALS, TRIALS.c.datetime_start, TRIALS.c.datetime_complete)
MARKED = OfTrials(
    USER_ATTRIBUTES, USER_ATTRIBUTES.c.key, USER_ATTRIBUTES.c.value_json, where=USER_ATTRIBUTES.c.key.in_(MARKS)
)
HAVING = (
    select(USER_ATTRIBUTES.c.trial_id)
    .join(TRIALS, TRIALS.c.trial_id == USER_ATTRIBUTES.c.trial_id)
    .where(_OF_STUDY, USER_ATTRIBUTES.c.key == bindparam("of_key"))
)
CONSTRAINTS = OfTrials(
    SYSTEM_ATTRIBUTES,
    SYSTEM_ATTRIBUTES.c.value_json,
    where=or_(SYSTEM_ATTRIBUTES.c.key == "constraints", SYSTEM_ATTRIBUTES.c.key.startswith("constraints:")),
)
INTERMEDIATE = OfTrials(
    REPORTED, REPORTED.c.step, REPORTED.c.intermediate_value, cast(REPORTED.c.intermediate_value_type, String)
).order_by(REPORTED.c.step)
USER, SYSTEM = (
    OfTrials(rows, rows.c.key, rows.c.value_json).order_by(rows.c[f"trial_{kind}_attribute_id"])
    for kind, rows in (("user", USER_ATTRIBUTES), ("system", SYSTEM_ATTRIBUTES))
)
DRAWN = OfTrials(PARAMS, PARAMS.c.param_name, PARAMS.c.param_value, PARAMS.c.distribution_json).order_by(
    PARAMS.c.param_id
)
