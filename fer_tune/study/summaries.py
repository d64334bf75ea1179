"""Reading studies: the ranking, the trials, a summary of each study. Needs the database only, not the sweep."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from fer_tune.errors import StudyError
from fer_tune.job import Value
from fer_tune.store import Store, StudyRecord, is_run
from fer_tune.study.create_or_resume import BUDGET
from fer_tune.study.storage import optuna_storage
from fer_tune.study.trial_states import COMPLETE, PARAMS, START, STATES, Counts, State, count, state_of
from fer_tune.sweep.schema import Budget
from fer_tune.sweep.space import named


@dataclass(frozen=True)
class TrialSummary:
    """A trial for readers.

    Attributes:
        job: uid of the job that it is; None if no worker was ever given it, or if it continues as another trial.
        value: the best epoch's objective of a complete trial, the last reported one of a pruned trial; None while
            there is none.
        params: hyperparameters by name, the fixed ones too.
        epochs: how many were reported.
        best_epoch: the first with the highest objective, or None.
        name: of the `start:` configuration it came from, or None.
        started, ended: UTC.
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
        """From start to end, or None while it has not ended."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else None

    def as_dict(self) -> dict[str, Any]:
        """Returns all fields by name, and `seconds`."""
        return asdict(self) | {"seconds": self.seconds}


@dataclass(frozen=True)
class StudySummary:
    """A study for readers; `best` is the best complete trial, or None."""

    record: StudyRecord
    counts: Counts
    best: TrialSummary | None

    @property
    def name(self) -> str:
        """The study's name."""
        return self.record.name


def ranking(store: Store, study: str, top: int | None = 1, states: Collection[State] = COMPLETE) -> list[TrialSummary]:
    """The best trials, best first; by default of the complete ones, which alone were trained to their end.

    Equal values rank by number. The first is always the one that Optuna calls best: it asks the database without
    naming an order for equal values, so among those it is asked which.

    Args:
        top: how many, or None for all.

    Raises:
        StudyError: there is no such study.
    """
    inner = _load(store, study)
    jobs = _jobs(store, study)
    found = _ranked(store, inner, _all(store, inner), states)[:top]
    return [_summary(trial, state_of(trial), jobs) for trial in found]


def trials_and_best(store: Store, study: str) -> tuple[list[TrialSummary], int | None]:
    """All trials by number, and the number of the best complete one, from one reading of the study.

    Raises:
        StudyError: there is no such study.
    """
    inner, alive = _load(store, study), is_run(store, study)
    frozen = _all(store, inner)
    best = next((trial.number for trial in _ranked(store, inner, frozen)), None)
    jobs = _jobs(store, study)
    return [_summary(trial, state_of(trial, alive), jobs) for trial in frozen], best


def _ranked(
    store: Store, study: optuna.Study, trials: Collection[FrozenTrial], states: Collection[State] = COMPLETE
) -> list[FrozenTrial]:
    frozen = [trial for trial in trials if trial.value is not None and state_of(trial) in states]
    # An infeasible trial (a constraint above 0) is none that could be chosen.
    frozen = [trial for trial in frozen if not any(excess > 0 for excess in trial.constraints.values())]
    frozen.sort(key=lambda trial: (-_value(trial), trial.number))
    ties = [trial for trial in frozen if _value(trial) == _value(frozen[0]) and trial.state == TrialState.COMPLETE]
    if len(ties) > 1:
        best = store.patiently(lambda: study.best_trial).number
        frozen.sort(key=lambda trial: (-_value(trial), trial.number != best, trial.number))
    return frozen


def trials(store: Store, study: str, states: Collection[State] = STATES) -> list[TrialSummary]:
    """The trials of a study that are in one of `states`, by number.

    Raises:
        StudyError: there is no such study.
    """
    inner, alive = _load(store, study), is_run(store, study)  # before the trials are read: they end before their run
    jobs = _jobs(store, study)
    found = [(trial, state_of(trial, alive)) for trial in _all(store, inner)]
    return [_summary(trial, state, jobs) for trial, state in found if state in states]


def trial(store: Store, study: str, number: int) -> TrialSummary:
    """One trial.

    Raises:
        StudyError: there is no such study or trial.
    """
    inner, alive = _load(store, study), is_run(store, study)
    found = _all(store, inner)
    if not 0 <= number < len(found):
        raise StudyError(f"The study {study} has no trial {number}.", f"`fer-tune trials --study {study}` lists them.")
    return _summary(found[number], state_of(found[number], alive), _jobs(store, study))


def summaries(store: Store) -> list[StudySummary]:
    """All studies, the oldest first; one whose trials were deleted has none."""
    return [_study_summary(store, record) for record in store.studies.all()]


def last_budget(store: Store, study: str) -> dict[str, Any]:
    """The budget of the study's last run: `trials` and `epochs`, and `hours`, which may be None.

    Raises:
        StudyError: there is no such study.
    """
    inner = _load(store, study)
    kept: dict[str, Any] | None = store.patiently(lambda: inner.user_attrs).get(BUDGET)
    if kept is None:  # run last by a version that did not keep it: as it was run first
        first = yaml.safe_load(store.studies.get(study).sweep_text) or {}
        kept = Budget.model_validate(first.get("budget") or {}).model_dump(mode="json")
    return kept


def _study_summary(store: Store, record: StudyRecord) -> StudySummary:
    try:
        inner = _load(store, record.name)
    except StudyError:
        return StudySummary(record, Counts(), None)
    alive = is_run(store, record.name)
    frozen = _all(store, inner)
    jobs = _jobs(store, record.name)
    best = next((_summary(trial, state_of(trial), jobs) for trial in _ranked(store, inner, frozen)), None)
    return StudySummary(record, count(frozen, alive), best)


def _load(store: Store, study: str) -> optuna.Study:
    store.studies.get(study)  # which knows the nearest name
    try:
        return store.patiently(lambda: optuna.load_study(study_name=study, storage=optuna_storage(store)))
    except KeyError as error:
        raise StudyError(
            f"The trials of the study {study} are not in {store.shown}.",
            "They were deleted, or its first run ended before there were any.",
        ) from error


def _all(store: Store, study: optuna.Study) -> list[FrozenTrial]:
    return store.patiently(lambda: study.get_trials(deepcopy=False))


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _jobs(store: Store, study: str) -> dict[int, str]:
    """Uids of the search's jobs by the number of their trial."""
    return {job.number: job.uid for job in store.jobs.of(study, "search") if job.number is not None}


def _summary(trial: FrozenTrial, state: State, jobs: dict[int, str]) -> TrialSummary:
    reported = trial.intermediate_values
    attrs = dict(trial.user_attrs)
    params = attrs.pop(PARAMS, None)
    if params is None:  # not asked for yet: what was enqueued
        params = named(trial.system_attrs.get("fixed_params", {}) | trial.params)
    return TrialSummary(
        number=trial.number,
        job=jobs.get(trial.number),
        state=state,
        value=trial.value,
        params=params,
        epochs=len(reported),
        best_epoch=min(reported, key=lambda epoch: (-reported[epoch], epoch), default=None),
        name=attrs.get(START),
        started=_utc(trial.datetime_start),
        ended=_utc(trial.datetime_complete),
        attrs=attrs,
    )


def _utc(moment: datetime | None) -> datetime | None:
    """Optuna keeps local time without zone."""
    return None if moment is None else moment.astimezone(UTC)
