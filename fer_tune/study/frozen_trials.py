"""Optuna's own objects of trials: read by plain SQL, made, and copied.

Those that are read equal what `study.get_trials()` returns, but each distinct distribution is made
once.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from fer_tune.store import Store
from fer_tune.study.optuna_tables import StudyTables, external, read
from fer_tune.study.trial_states import REQUEUED_AS

distribution_of = lru_cache(maxsize=4096)(json_to_distribution)
"""Returns the distribution that a text describes. Nobody may change it."""


def frozen_trials(store: Store, study: str, states: Collection[TrialState] | None = None) -> list[FrozenTrial]:
    """Returns the trials of a study by number.

    Args:
        states: which trials to return; None means all.

    Raises:
        StudyError: the study does not exist.
    """
    return read(store, study, lambda rows: _frozen(rows, states))


def _frozen(rows: StudyTables, states: Collection[TrialState] | None) -> list[FrozenTrial]:
    names = None if states is None else {state.name for state in states}
    heads = [head for head in rows.heads() if names is None or head.state in names]
    ids = None if names is None else {head.id for head in heads}
    times = rows.times(ids)
    reported, user, system = rows.reported(ids), rows.user_attrs(ids), rows.system_attrs(ids)
    params: dict[int, dict[str, Any]] = {}
    distributions: dict[int, dict[str, BaseDistribution]] = {}
    for trial, name, number, text in rows.params(ids):
        params.setdefault(trial, {})[name] = external(number, text)
        distributions.setdefault(trial, {})[name] = distribution_of(text)
    return [
        FrozenTrial(
            number=head.number,
            state=TrialState[head.state],
            value=head.value,
            datetime_start=times[head.id][0],
            datetime_complete=times[head.id][1],
            params=params.get(head.id, {}),
            distributions=distributions.get(head.id, {}),
            user_attrs=user.get(head.id, {}),
            system_attrs=system.get(head.id, {}),
            intermediate_values=reported.get(head.id, {}),
            trial_id=head.id,
        )
        for head in heads
    ]


def new_trial(number: int) -> FrozenTrial:
    """Returns a trial that begins to run now, and that the database does not know yet."""
    return FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=local_now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=provisional_id(number),
    )


def deleted_trial(number: int) -> FrozenTrial:
    """Returns a trial for a number whose trial another program deleted. It is not counted."""
    trial = new_trial(number)
    trial.state, trial.datetime_complete = TrialState.FAIL, trial.datetime_start
    trial.user_attrs = {REQUEUED_AS: number}
    return trial


def copied(trial: FrozenTrial) -> FrozenTrial:
    """Returns a copy whose entries can be added and removed without changing the original."""
    made = object.__new__(FrozenTrial)
    made.__dict__.update((name, dict(kept) if type(kept) is dict else kept) for name, kept in trial.__dict__.items())
    return made


def changed(trial: FrozenTrial, **changes: Any) -> FrozenTrial:
    """Returns a trial with other values. It shares the rest with the original, so nobody may alter
    either."""
    made = object.__new__(FrozenTrial)
    made.__dict__.update(trial.__dict__)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def provisional_id(number: int) -> int:
    """Returns a key for a trial that the database does not know yet."""
    return -1 - number


def local_now() -> datetime:
    """Returns the local time without a zone, which Optuna uses."""
    return datetime.now(UTC).astimezone().replace(tzinfo=None)
