"""Reads studies: ranking, trials and summaries. It needs neither the sweep file nor Optuna."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select

from fer_tune.errors import StudyError
from fer_tune.job import Value
from fer_tune.store import Store, StudyRecord, is_run, tables
from fer_tune.study import optuna_queries
from fer_tune.study.optuna_tables import StudyTables, TrialHead, read
from fer_tune.study.trial_states import (
    BUDGET,
    COMPLETE,
    PARAMS,
    START,
    STATES,
    Counts,
    State,
    counted,
    state_named,
)


@dataclass(frozen=True)
class TrialSummary:
    """A trial, as readers see it.

    Attributes:
        number: Optuna's trial number.
        job: uid of the trial's job. None if no worker has started the trial, or if another trial
            continued it.
        value: the objective of the best epoch if the trial is complete, or of the last epoch if it
            is pruned or paused; None if there is none.
        params: hyperparameters by name. They include the fixed ones if a worker has started the
            trial.
        epochs: number of reported epochs.
        best_epoch: the first epoch with the highest objective, or None.
        name: label of the `start:` configuration that the trial came from, or None.
        started, ended: in UTC, or None.
        attrs: Optuna's user attributes.
    """

    number: int
    job: str | None
    state: State
    value: float | None
    params: dict[str, Value]
    epochs: int
    best_epoch: int | None
    name: str | None
    started: datetime | None
    ended: datetime | None
    attrs: dict[str, Any]

    @property
    def seconds(self) -> float | None:
        """The time from start to end, or None while the trial has not ended."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None

    @property
    def trained(self) -> float | None:
        """The time that it trained, without its pauses. None while it has not ended.

        None also if it was queued again: it ended when the next run began. The trial that continues
        it has its time.
        """
        known = self.attrs.get("seconds")
        if isinstance(known, int | float):
            return float(known)
        return None if self.state == "requeued" else self.seconds

    def as_dict(self) -> dict[str, Any]:
        """Returns all fields by name, and `seconds`."""
        return asdict(self) | {"seconds": self.seconds}


@dataclass(frozen=True)
class StudySummary:
    """A study, as readers see it. `best` is the best complete trial, or None."""

    record: StudyRecord
    counts: Counts
    best: TrialSummary | None

    @property
    def name(self) -> str:
        """The study's name."""
        return self.record.name


def ranking(store: Store, study: str, top: int | None = 1, states: Collection[State] = COMPLETE) -> list[TrialSummary]:
    """Returns the best trials, the best one first.

    Trials of equal value are in the order of their numbers. But the first trial is always the one
    that Optuna calls best, because Optuna does not document how it orders equal values.

    Args:
        top: how many trials, or None for all.
        states: which trials to rank. By default only complete ones, because others were not trained
            to their end.

    Raises:
        StudyError: the study does not exist.
    """
    store.studies.get(study)  # its error names the nearest study
    return read(store, study, lambda rows: _summaries(rows, _ranked(rows, _states(rows), states)[:top]))


def best_start(store: Store, study: str, states: Collection[State] = COMPLETE) -> TrialSummary | None:
    """Returns the best trial in one of `states` that came from `start:`, or None.

    Raises:
        StudyError: the study does not exist.
    """
    store.studies.get(study)

    def work(rows: StudyTables) -> list[TrialSummary]:
        started = rows.having(START)
        ranked = _ranked(rows, _states(rows), states)
        return _summaries(rows, [one for one in ranked if one.head.id in started][:1])

    return next(iter(read(store, study, work)), None)


def has_start(store: Store, study: str) -> bool:
    """Returns whether a trial of the study came from `start:`, complete or not."""
    return read(store, study, lambda rows: bool(rows.having(START)))


def trials(store: Store, study: str, states: Collection[State] = STATES) -> list[TrialSummary]:
    """Returns the trials of a study that are in one of `states`, by number.

    Raises:
        StudyError: the study does not exist.
    """
    store.studies.get(study)
    alive = is_run(store, study)  # first the lock: trials end before their run
    return read(
        store, study, lambda rows: _summaries(rows, [one for one in _states(rows, alive) if one.state in states])
    )


def trial(store: Store, study: str, number: int, alive: bool | None = None) -> TrialSummary:
    """Returns one trial, without reading others.

    Args:
        alive: whether a process runs the study now, if the caller knows it.

    Raises:
        StudyError: the study or the trial does not exist.
    """
    store.studies.key(study)
    alive = is_run(store, study) if alive is None else alive
    found = read(store, study, lambda rows: _summaries(rows, _states(rows, alive, number)))
    if not found:
        hint = f"`fer-tune trials --study {study}` lists the trials."
        raise StudyError(f"The study {study} has no trial {number}.", hint)
    return found[0]


def summaries(store: Store) -> list[StudySummary]:
    """Returns all studies, the oldest first. It includes studies whose trials were deleted."""
    return [_study_summary(store, record) for record in store.studies.all()]


def counts(store: Store, study: str) -> Counts:
    """Returns how many trials of a study are in which state.

    Raises:
        StudyError: the study does not exist.
    """
    store.studies.get(study)
    alive = is_run(store, study)
    return read(store, study, lambda rows: counted(one.state for one in _states(rows, alive)))


def last_budget(store: Store, study: str) -> dict[str, Any]:
    """Returns the budget of the study's last run: `trials`, `epochs`, `hours`.

    Raises:
        StudyError: the study does not exist.
    """
    record = store.studies.get(study)
    kept: dict[str, Any] | None = read(store, study, lambda rows: rows.attribute(BUDGET))
    if kept is None:  # an older version ran it last: use the budget of the first run
        import yaml

        from fer_tune.sweep.schema import Budget

        first = yaml.safe_load(record.sweep_text) or {}
        kept = Budget.model_validate(first.get("budget") or {}).model_dump(mode="json")
    return kept


def _study_summary(store: Store, record: StudyRecord) -> StudySummary:
    alive = is_run(store, record.name)

    def work(rows: StudyTables) -> StudySummary:
        there = _states(rows, alive)
        best = next(iter(_summaries(rows, _ranked(rows, there)[:1])), None)
        return StudySummary(record, counted(one.state for one in there), best)

    try:
        return read(store, record.name, work)
    except StudyError:
        return StudySummary(record, Counts(), None)


class _Trial(NamedTuple):
    head: TrialHead
    state: State


def _states(rows: StudyTables, alive: bool = True, number: int | None = None) -> list[_Trial]:
    """Returns the trials by number with their states, or the one with this number.

    Args:
        alive: whether a process runs the study now.
    """
    heads = rows.heads(number)
    marks = rows.marks(None if number is None else [head.id for head in heads])
    return [_Trial(head, state_named(head.state, marks.get(head.id, {}), alive)) for head in heads]


def _ranked(rows: StudyTables, trials: Sequence[_Trial], states: Collection[State] = COMPLETE) -> list[_Trial]:
    infeasible = rows.infeasible()  # such a trial needs too much memory, and cannot be chosen
    found = [
        one for one in trials if one.head.value is not None and one.state in states and one.head.id not in infeasible
    ]
    found.sort(key=lambda one: (-_value(one), one.head.number))
    ties = [one for one in found if _value(one) == _value(found[0]) and one.state == "complete"]
    if len(ties) > 1:
        best = rows.best()
        found.sort(key=lambda one: (-_value(one), one.head.id != best, one.head.number))
    return found


def _value(one: _Trial) -> float:
    assert one.head.value is not None
    return one.head.value


def _summaries(rows: StudyTables, trials: Sequence[_Trial]) -> list[TrialSummary]:
    """Returns the summaries of trials, in their order."""
    if not trials:
        return []
    ids = {one.head.id for one in trials}
    jobs = _jobs(rows, {one.head.number for one in trials})
    times, reported, attrs = rows.times(ids), rows.reported(ids), rows.user_attrs(ids)
    without = {one.head.id for one in trials if one.head.number not in jobs}
    drawn, queued = rows.searched(without), rows.system_attrs(without) if without else {}

    def searched(head: TrialHead) -> dict[str, Value]:
        """Returns the hyperparameters that Optuna knows: drawn ones, or queued ones."""
        from fer_tune.sweep.space import named

        of_queue: dict[str, Value] = queued.get(head.id, {}).get("fixed_params", {})
        return named(of_queue if head.state == "WAITING" else drawn.get(head.id, {}))

    def summary(head: TrialHead, state: State) -> TrialSummary:
        uid, params = jobs.get(head.number, (None, None))
        curve, of_trial = reported.get(head.id, {}), attrs.get(head.id, {})
        recorded = of_trial.pop(PARAMS, None)
        return TrialSummary(
            number=head.number,
            job=uid,
            state=state,
            value=curve[max(curve)] if state == "paused" and curve else head.value,
            params=params if params is not None else recorded or searched(head),
            epochs=len(curve),
            best_epoch=min(curve, key=lambda epoch: (-curve[epoch], epoch), default=None),
            name=of_trial.get(START),
            started=_utc(times[head.id][0]),
            ended=_utc(times[head.id][1]),
            attrs=of_trial,
        )

    return [summary(*one) for one in trials]


def _jobs(rows: StudyTables, numbers: Collection[int]) -> dict[int, tuple[str, dict[str, Value]]]:
    """Returns uid and hyperparameters of the jobs that have these trial numbers now."""
    if len(numbers) <= optuna_queries.NAMED:
        found = rows.connection.execute(_SOME_JOBS, {"study": rows.study, "numbers": list(numbers)})
    else:
        found = rows.connection.execute(_JOBS, {"study": rows.study})
    return {number: (uid, params) for number, uid, params in found}


# They are made once, because SQLAlchemy takes longer to make a query than SQLite to answer it.
_OF_SEARCH = (
    select(tables.jobs.c.number, tables.jobs.c.uid, tables.jobs.c.params)
    .join(tables.studies)
    .where(
        tables.studies.c.name == bindparam("study"), tables.jobs.c.kind == "search", tables.jobs.c.number.is_not(None)
    )
)
_JOBS = _OF_SEARCH.order_by(tables.jobs.c.id)
_SOME_JOBS = _OF_SEARCH.where(tables.jobs.c.number.in_(bindparam("numbers", expanding=True))).order_by(tables.jobs.c.id)


def _utc(moment: datetime | None) -> datetime | None:
    """Returns a time in UTC. Optuna's times are local and have no zone."""
    return None if moment is None else moment.astimezone(UTC)
