"""Reads studies: ranking, trials and summaries. It needs the database, not the sweep file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from fer_tune.errors import StudyError
from fer_tune.job import Value
from fer_tune.store import JobRecord, Store, StudyRecord, is_run
from fer_tune.study.create_or_resume import BUDGET
from fer_tune.study.storage import optuna_storage
from fer_tune.study.trial_states import COMPLETE, PARAMS, START, STATES, Counts, State, count, state_of
from fer_tune.sweep.schema import Budget
from fer_tune.sweep.space import named


@dataclass(frozen=True)
class TrialSummary:
    """A trial, as readers see it.

    Attributes:
        number: Optuna's trial number.
        job: uid of the trial's job. None if no worker has started the trial, or if another trial
            continued it.
        value: the objective of the best epoch if the trial is complete, or of the last epoch if it
            is pruned; None if there is none.
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
    inner, jobs = _load(store, study), _jobs(store, study)
    found = _ranked(store, inner, _all(store, inner), states)[:top]
    return [_summary(trial, state_of(trial), jobs) for trial in found]


def trials(store: Store, study: str, states: Collection[State] = STATES) -> list[TrialSummary]:
    """Returns the trials of a study that are in one of `states`, by number.

    Raises:
        StudyError: the study does not exist.
    """
    inner, alive = _load(store, study), is_run(store, study)  # first the lock: trials end before their run
    jobs = _jobs(store, study)
    found = [(trial, state_of(trial, alive)) for trial in _all(store, inner)]
    return [_summary(trial, state, jobs) for trial, state in found if state in states]


def trials_and_best(store: Store, study: str) -> tuple[list[TrialSummary], int | None]:
    """Returns all trials by number, and the number of the best complete one or None.

    It reads the study only once.

    Raises:
        StudyError: the study does not exist.
    """
    inner, alive = _load(store, study), is_run(store, study)
    frozen, jobs = _all(store, inner), _jobs(store, study)
    best = next((trial.number for trial in _ranked(store, inner, frozen)), None)
    return [_summary(trial, state_of(trial, alive), jobs) for trial in frozen], best


def trial(store: Store, study: str, number: int) -> TrialSummary:
    """Returns one trial, without reading others.

    Raises:
        StudyError: the study or the trial does not exist.
    """
    inner, storage = _load(store, study), optuna_storage(store)

    def read() -> FrozenTrial:
        return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(inner._study_id, number))

    try:
        frozen = store.patiently(read)
    except KeyError as error:
        hint = f"`fer-tune trials --study {study}` lists the trials."
        raise StudyError(f"The study {study} has no trial {number}.", hint) from error
    job = store.jobs.find_trial(study, number)
    return _summary(frozen, state_of(frozen, is_run(store, study)), {} if job is None else {number: job})


def summaries(store: Store) -> list[StudySummary]:
    """Returns all studies, the oldest first. It includes studies whose trials were deleted."""
    return [_study_summary(store, record) for record in store.studies.all()]


def last_budget(store: Store, study: str) -> dict[str, Any]:
    """Returns the budget of the study's last run: `trials`, `epochs`, `hours`.

    Raises:
        StudyError: the study does not exist.
    """
    inner = _load(store, study)
    kept: dict[str, Any] | None = store.patiently(lambda: inner.user_attrs).get(BUDGET)
    if kept is None:  # an older version ran it last: use the budget of the first run
        first = yaml.safe_load(store.studies.get(study).sweep_text) or {}
        kept = Budget.model_validate(first.get("budget") or {}).model_dump(mode="json")
    return kept


def _study_summary(store: Store, record: StudyRecord) -> StudySummary:
    try:
        inner = _load(store, record.name)
    except StudyError:
        return StudySummary(record, Counts(), None)
    frozen, jobs = _all(store, inner), _jobs(store, record.name)
    best = next((_summary(trial, state_of(trial), jobs) for trial in _ranked(store, inner, frozen)), None)
    return StudySummary(record, count(frozen, is_run(store, record.name)), best)


def _load(store: Store, study: str) -> optuna.Study:
    store.studies.get(study)  # its error names the nearest study
    try:
        return store.patiently(lambda: optuna.load_study(study_name=study, storage=optuna_storage(store)))
    except KeyError as error:
        raise StudyError(
            f"The trials of the study {study} are not in {store.shown}.",
            "Somebody deleted them, or the study's first run ended before its first trial. "
            "Another study name makes a new study: --set study=NAME.",
        ) from error


def _all(store: Store, study: optuna.Study) -> list[FrozenTrial]:
    return store.patiently(lambda: study.get_trials(deepcopy=False))


def _ranked(
    store: Store, study: optuna.Study, trials: Collection[FrozenTrial], states: Collection[State] = COMPLETE
) -> list[FrozenTrial]:
    frozen = [trial for trial in trials if trial.value is not None and state_of(trial) in states]
    # A trial that needs too much memory (a constraint above 0) cannot be chosen.
    frozen = [trial for trial in frozen if not any(excess > 0 for excess in trial.constraints.values())]
    frozen.sort(key=lambda trial: (-_value(trial), trial.number))
    ties = [trial for trial in frozen if _value(trial) == _value(frozen[0]) and trial.state == TrialState.COMPLETE]
    if len(ties) > 1:
        best = store.patiently(lambda: study.best_trial).number
        frozen.sort(key=lambda trial: (-_value(trial), trial.number != best, trial.number))
    return frozen


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _jobs(store: Store, study: str) -> dict[int, JobRecord]:
    """Returns the jobs of the search by the numbers of their trials."""
    return {job.number: job for job in store.jobs.of(study, "search") if job.number is not None}


def _summary(trial: FrozenTrial, state: State, jobs: Mapping[int, JobRecord]) -> TrialSummary:
    job = jobs.get(trial.number)
    reported = trial.intermediate_values
    attrs = dict(trial.user_attrs)
    recorded = attrs.pop(PARAMS, None)
    return TrialSummary(
        number=trial.number,
        job=job.uid if job else None,
        state=state,
        value=trial.value,
        params=job.params if job else recorded or _searched(trial),
        epochs=len(reported),
        best_epoch=min(reported, key=lambda epoch: (-reported[epoch], epoch), default=None),
        name=attrs.get(START),
        started=_utc(trial.datetime_start),
        ended=_utc(trial.datetime_complete),
        attrs=attrs,
    )


def _searched(trial: FrozenTrial) -> dict[str, Value]:
    """Returns the hyperparameters that Optuna knows: drawn ones, or queued ones."""
    queued: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
    return named(queued if trial.state == TrialState.WAITING else trial.params)


def _utc(moment: datetime | None) -> datetime | None:
    """Returns a time in UTC. Optuna's times are local and have no zone."""
    return None if moment is None else moment.astimezone(UTC)
