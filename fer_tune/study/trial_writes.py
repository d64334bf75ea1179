"""Writes trials to Optuna's tables by plain SQL, as Optuna itself would write them.

Optuna makes a transaction for each value. Here the rows of many trials share one, with rows of our
own tables; see `store.Database.batch`. The tables are private to Optuna, whose versions are bounded
in pyproject.toml.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Table, bindparam, delete, exists, func, insert, select, update

from fer_tune.errors import StudyError, TakenOverError
from fer_tune.store import Store
from fer_tune.store.database import insert_new
from fer_tune.store.row_statement import RowStatement

STUDIES: Table = models.StudyModel.__table__
TRIALS: Table = models.TrialModel.__table__
PARAMS: Table = models.TrialParamModel.__table__
VALUES: Table = models.TrialValueModel.__table__
REPORTED: Table = models.TrialIntermediateValueModel.__table__
USER: Table = models.TrialUserAttributeModel.__table__
SYSTEM: Table = models.TrialSystemAttributeModel.__table__


def trials_deleted(study: str, when: str = "") -> StudyError:
    """Returns the error for a study whose trials another program deleted."""
    return StudyError(
        f"Another program deleted the study {study}{when}. Its epochs and artifacts are still there.",
        f"Remove them with `fer-tune studies delete {study}`, restore a backup, or give this run another study "
        "name: --set study=NAME.",
    )


class StaleError(Exception):
    """Another process added a trial, or took one from the queue, so a new trial has another number.

    Nothing was written.
    """


class TrialWrites:
    """Adds writes of trials to the next transaction of a store.

    A write of a trial that runs is left out if another program has ended or deleted the trial. The
    rest of the transaction is written.

    Args:
        study: name of the study, for the error.

    Attributes:
        lost: keys of trials whose writes were left out.
    """

    def __init__(self, store: Store, study: str, study_id: int) -> None:
        self._store, self._study, self._study_id = store, study, study_id
        self._described: dict[tuple[str, BaseDistribution], str] = {}
        self.lost: set[int] = set()
        attributes = {
            table.name: insert_new(store.engine, table, replace=["value_json"], key=["trial_id", "key"])
            for table in (USER, SYSTEM)
        }
        self._attributes = {name: RowStatement(statement) for name, statement in attributes.items()}
        self._running_attributes = {
            name: RowStatement(_if_running(statement)) for name, statement in attributes.items()
        }
        self._param_of_new = RowStatement(insert(PARAMS))
        self._reported, self._param_of_running, self._value = (
            RowStatement(_if_running(insert(table))) for table in (REPORTED, PARAMS, VALUES)
        )
        self._end = RowStatement(_END)

    # a trial that runs --------------------------------------------------------------------------------------------

    def report(self, trial_id: int, step: int, value: float) -> None:
        """Writes the value of an epoch."""
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        row = {"trial_id": trial_id, "step": step, "intermediate_value": stored, "intermediate_value_type": kind}
        self._row(self._reported, REPORTED, row)

    def set_param(self, trial_id: int, name: str, number: float, distribution: BaseDistribution) -> None:
        """Writes a parameter, as Optuna's number for it."""
        self._row(self._param_of_running, PARAMS, self._param(trial_id, name, number, distribution))

    def set_attribute(self, table: Table, trial_id: int, key: str, value: Any) -> None:
        """Writes an attribute to `USER` or `SYSTEM`."""
        row = {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        self._row(self._running_attributes[table.name], table, row)

    def end(self, trial: FrozenTrial, values: Sequence[float] | None) -> None:
        """Writes how a running trial ended."""
        assert trial.datetime_complete is not None
        for objective, value in enumerate(values or ()):
            stored, kind = models.TrialValueModel.value_to_stored_repr(value)
            row = {"trial_id": trial._trial_id, "objective": objective, "value": stored, "value_type": kind}
            self._row(self._value, VALUES, row)
        end = {"of_trial_id": trial._trial_id, "to": trial.state, "at": _utc(trial.datetime_complete)}
        self._row(self._end, TRIALS, end)

    def forget(self, trial_id: int, keys: Sequence[str]) -> None:
        """Deletes system attributes of a trial."""
        if keys:
            these = (SYSTEM.c.trial_id == trial_id) & SYSTEM.c.key.in_(keys)
            self._store.later(lambda tx: tx.execute(delete(SYSTEM).where(these)))

    def _row(self, statement: RowStatement, table: Table, row: dict[str, Any]) -> None:
        # Rows get names of their own, because a statement has columns of the same names.
        given = {name if name in ("of_trial_id", "to", "at") else f"of_{name}": value for name, value in row.items()}
        self._store.pending.add_row(
            statement, table, given, lambda: TakenOverError(self._study), left_out=self._note_lost
        )
        self._store.written()

    def _note_lost(self, tx: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        ids = {row["of_trial_id"] for row in rows}
        self.lost |= ids - set(tx.execute(_running(ids)).scalars())

    # a new trial --------------------------------------------------------------------------------------------------

    def add(self, trial: FrozenTrial, newest: int, learn: Callable[[int], object]) -> None:
        """Writes a new trial with all that it has.

        Raises in the transaction:
            StaleError: the trial would get another number.

        Args:
            newest: the key of the newest trial that the caller knows. If it is the newest one in
                the table too, the number is right. Else the table is searched for the last number.
            learn: is called after the transaction, with the trial's key in the table.
        """
        made: list[int] = []
        row: dict[str, Any] = {"study_id": self._study_id, "number": trial.number, "state": trial.state}
        row["datetime_start"] = None if trial.datetime_start is None else _utc(trial.datetime_start)

        def work(tx: Connection) -> None:
            if tx.scalar(_EXISTS, {"study": self._study_id}) is None:
                raise self.deleted()
            key = (tx.execute(_ADD, row).inserted_primary_key or (0,))[0]
            given = {"study": self._study_id, "new": key}
            if tx.scalar(_BEFORE, given) != newest and tx.scalar(_LAST, given) != trial.number - 1:
                raise StaleError
            self._contents(tx, key, trial, trial.user_attrs, trial.system_attrs)
            made[:] = [key]

        self._store.later(work, lambda: learn(made[0]))

    def start(self, before: FrozenTrial, trial: FrozenTrial) -> None:
        """Writes that a trial of the queue runs, with what it has now beside what it had before.

        Raises in the transaction:
            StaleError: the trial is not in the queue any more.
        """
        assert trial.datetime_start is not None
        values = {"state": TrialState.RUNNING, "datetime_start": _utc(trial.datetime_start)}
        queued = (TRIALS.c.trial_id == trial._trial_id) & (TRIALS.c.state == TrialState.WAITING)
        user = {key: value for key, value in trial.user_attrs.items() if key not in before.user_attrs}
        system = {key: value for key, value in trial.system_attrs.items() if key not in before.system_attrs}

        def work(tx: Connection) -> None:
            if tx.execute(update(TRIALS).where(queued).values(values)).rowcount == 0:
                raise StaleError
            self._contents(tx, trial._trial_id, trial, user, system)

        self._store.later(work)

    def _contents(
        self, tx: Connection, key: int, trial: FrozenTrial, user: Mapping[str, Any], system: Mapping[str, Any]
    ) -> None:
        params = [
            self._param(key, name, trial.distributions[name].to_internal_repr(value), trial.distributions[name])
            for name, value in trial.params.items()
        ]
        if params:
            self._param_of_new(tx, params)
        for table, attributes in ((USER, user), (SYSTEM, system)):
            if attributes:
                values = [(name, json.dumps(value)) for name, value in attributes.items()]
                rows = [{"trial_id": key, "key": name, "value_json": value} for name, value in values]
                self._attributes[table.name](tx, rows)

    def _param(self, key: int, name: str, number: float, distribution: BaseDistribution) -> dict[str, Any]:
        described = self._described.get((name, distribution))
        if described is None:
            described = self._described[name, distribution] = distribution_to_json(distribution)
        return {"trial_id": key, "param_name": name, "param_value": number, "distribution_json": described}

    # reading ------------------------------------------------------------------------------------------------------

    def deleted(self) -> StudyError:
        """Returns the error for a study that another program deleted."""
        return trials_deleted(self._study, " while it ran")

    def exists(self) -> bool:
        """Returns whether the database has the study."""
        return bool(self._read(_EXISTS))

    def running(self, ids: Collection[int]) -> set[int]:
        """Returns which of these trials run, by their keys."""
        return {row[0] for row in self._read(_running(ids))} if ids else set()

    def newest(self) -> int:
        """Returns the key of the newest trial in the database, or 0."""
        return self._read(_NEWEST)[0][0] or 0

    def by_state(self) -> dict[TrialState, tuple[int, int]]:
        """Returns the number of trials in each state, and the sum of their keys."""
        return {state: (count, int(keys)) for state, count, keys in self._read(_BY_STATE)}

    def _read(self, query: Any) -> Any:
        def work() -> Any:
            with self._store.engine.connect() as connection:
                return connection.execute(query, {"study": self._study_id}).all()

        return self._store.patiently(work)


def _utc(moment: datetime) -> datetime:
    """Returns a local time without zone as Optuna's tables have it."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _running(ids: Collection[int]) -> Any:
    """Returns a query of those of these trials that run."""
    return select(TRIALS.c.trial_id).where(TRIALS.c.trial_id.in_(ids), TRIALS.c.state == TrialState.RUNNING)


def _if_running(statement: Any) -> Any:
    """Returns a statement that inserts a row only if its trial runs."""
    table = statement.table
    columns = [column for column in table.columns if not column.primary_key]
    row = [bindparam(f"of_{column.name}", type_=column.type) for column in columns]
    of_trial = next(value for column, value in zip(columns, row, strict=True) if column.name == "trial_id")
    runs = exists().where(TRIALS.c.trial_id == of_trial, TRIALS.c.state == TrialState.RUNNING)
    return statement.from_select([column.name for column in columns], select(*row).where(runs))


# They are made once, because SQLAlchemy takes longer to make a statement than SQLite to execute it.
_OF_STUDY = TRIALS.c.study_id == bindparam("study")
_ADD = insert(TRIALS)
_EXISTS = select(STUDIES.c.study_id).where(STUDIES.c.study_id == bindparam("study"))
# The highest number and not the count of trials, because another program may have deleted one.
_LAST = select(func.coalesce(func.max(TRIALS.c.number), -1)).where(_OF_STUDY, TRIALS.c.trial_id < bindparam("new"))
_NEWEST = select(func.max(TRIALS.c.trial_id)).where(_OF_STUDY)
_BEFORE = select(func.coalesce(func.max(TRIALS.c.trial_id), 0)).where(_OF_STUDY, TRIALS.c.trial_id < bindparam("new"))
_BY_STATE = select(TRIALS.c.state, func.count(), func.sum(TRIALS.c.trial_id)).where(_OF_STUDY).group_by(TRIALS.c.state)
_END = (
    update(TRIALS)
    .where(TRIALS.c.trial_id == bindparam("of_trial_id"), TRIALS.c.state == TrialState.RUNNING)
    .values(state=bindparam("to"), datetime_complete=bindparam("at"))
)
