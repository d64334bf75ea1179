"""The configurations that a sweep's prior believes to be good."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from fer_tune.errors import StudyError
from fer_tune.job import Value
from fer_tune.store import Store
from fer_tune.study.summaries import ranking
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Fixed, keyed

FROM_STUDY = 3
"""How many of the best trials of another study a prior takes."""


def prior_centres(sweep: Sweep, store: Store) -> list[dict[str, Value]]:
    """Returns the configurations of the sweep's prior by key, the most trusted first.

    What is not in the sweep's space is left out of a configuration, and drawn evenly.

    Raises:
        StudyError: the other study does not exist, or has no complete trial.
    """
    prior = sweep.search.prior
    if prior is None:
        return []
    if prior.study is None:
        found = [start.params for start in sweep.start]
    else:
        if store.studies.find(prior.study) is None:
            raise absent_prior(sweep, (record.name for record in store.studies.all()))
        found = [trial.params for trial in ranking(store, prior.study, FROM_STUDY)]
        if not found:
            raise StudyError(
                f"{sweep.path}: search.prior.study: the study {prior.study} has no complete trial.",
                f"Run it first, or remove `prior:` from {sweep.path}.",
            )
    return [_valid(sweep, params) for params in found]


def absent_prior(sweep: Sweep, studies: Iterable[str] = ()) -> StudyError:
    """Returns the error for a prior from a study that does not exist.

    Args:
        studies: names of all studies of the database.
    """
    name = str(sweep.search.prior and sweep.search.prior.study)
    near = get_close_matches(name, list(studies), 1, 0.5)
    hints = [*(f"Did you mean {one}?" for one in near), "`fer-tune studies` lists the studies."]
    return StudyError(f"{sweep.path}: search.prior.study: there is no study {name}.", " ".join(hints))


def prior_names(sweep: Sweep, count: int) -> list[str]:
    """Returns the names of the trials that train the prior's configurations.

    Of another study only the first one is trained; the others have no name.
    """
    prior = sweep.search.prior
    if prior is not None and prior.study is not None:
        return [f"best of {prior.study}", *("-" for _ in range(count - 1))][:count]
    return [start.name or f"start {place}" for place, start in enumerate(sweep.start, 1)][:count]


def prior_name(sweep: Sweep) -> str | None:
    """Returns the name of the trial that trains the prior's first configuration; None without a
    prior."""
    return None if sweep.search.prior is None else next(iter(prior_names(sweep, 1)), None)


def _valid(sweep: Sweep, params: dict[str, Value]) -> dict[str, Value]:
    """Returns the values that the sweep's space allows, by key."""
    allowed = {
        name: value
        for name, value in params.items()
        if any(one.name == name and one.domain.contains(value) for one in sweep.space.values())
    }
    return {
        key: value
        for key, value in keyed(sweep.space, allowed).items()
        if not isinstance(sweep.space[key].domain, Fixed) and sweep.space[key].domain.contains(value)
    }
