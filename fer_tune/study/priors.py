"""The configurations that a sweep's prior believes to be good."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

from fer_tune.errors import StudyError
from fer_tune.job import Value
from fer_tune.store import Store, StudyRecord
from fer_tune.study.summaries import ranking
from fer_tune.sweep.catalogue import defaults
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Fixed, keyed, named, same

FROM_STUDY = 3
"""How many of the best trials of another study a prior takes."""


def prior_centres(
    sweep: Sweep, store: Store, note: Callable[[str], object] = lambda text: None
) -> list[dict[str, Value]]:
    """Returns the configurations of the sweep's prior by key, the most trusted first.

    What is not in the sweep's space is left out of a configuration, and drawn evenly.

    Args:
        note: is called with what the user should know of a prior from another study.

    Raises:
        StudyError: the other study does not exist, has no complete trial, or nothing of its best
            trials is in the sweep's space.
    """
    prior = sweep.search.prior
    if prior is None:
        return []
    if prior.study is None:
        return [_valid(sweep, start.params) for start in sweep.start]
    return _of_study(sweep, prior.study, store, note)


def _of_study(sweep: Sweep, name: str, store: Store, note: Callable[[str], object]) -> list[dict[str, Value]]:
    """Returns what the sweep takes over from the best trials of another study."""
    record = store.studies.find(name)
    if record is None:
        raise absent_prior(sweep, (other.name for other in store.studies.all()))
    best = [trial.params for trial in ranking(store, name, FROM_STUDY)]
    if not best:
        raise _refused(sweep, f"the study {name} has no complete trial.", "Run it first, or")
    usable = [(params, centre) for params in best if (centre := _valid(sweep, params))]
    if not usable:
        searched = {one.name: None for one in sweep.space.values() if not isinstance(one.domain, Fixed)}
        hint = f"This sweep searches {', '.join(searched) or 'nothing'}. Let its values include those of {name}, or"
        raise _refused(sweep, f"no hyperparameter of {name}'s best trials has a value that this sweep searches.", hint)
    if remarks := _remarks(sweep, record, *usable[0]):
        note(f"search.prior: {remarks}")
    return [centre for _, centre in usable]


def _remarks(sweep: Sweep, study: StudyRecord, params: Mapping[str, Value], centre: Mapping[str, Value]) -> str:
    """Returns how another study's best trial differs from its copy in this sweep."""
    remarks = []
    if study.family != sweep.family:
        remarks.append(f"{study.name} is a study of {study.family.partition('@')[0]}.")
    if left_out := _left_out(sweep, params, centre):
        names = ", ".join(left_out)
        remarks.append(f"The search does not take over these hyperparameters of {study.name}'s best trial: {names}.")
    return " ".join(remarks)


def absent_prior(sweep: Sweep, studies: Iterable[str] = ()) -> StudyError:
    """Returns the error for a prior from a study that does not exist.

    Args:
        studies: names of all studies of the database.
    """
    name = str(sweep.search.prior and sweep.search.prior.study)
    near = get_close_matches(name, list(studies), 1, 0.5)
    hints = [*(f"Did you mean {one}?" for one in near), "`fer-tune studies` lists the studies."]
    return StudyError(f"{_where(sweep)}: there is no study {name}.", " ".join(hints))


def _refused(sweep: Sweep, why: str, hint: str) -> StudyError:
    """Returns the error for a prior from a study that is of no use.

    Args:
        hint: what to do, up to `or`.
    """
    return StudyError(f"{_where(sweep)}: {why}", f"{hint} remove `prior:` from {sweep.path}.")


def _where(sweep: Sweep) -> str:
    """Returns where the study of the prior was written, as errors name it."""
    return ": ".join(filter(None, (str(sweep.path), sweep.prior_origin, "search.prior.study")))


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


def _left_out(sweep: Sweep, params: Mapping[str, Value], centre: Mapping[str, Value]) -> list[str]:
    """Returns the hyperparameters of another study's trial that its copy in this sweep lacks.

    Args:
        params: of the trial, by hyperparameter.
        centre: what the sweep takes over, by key.
    """
    taken, usual = named(centre), defaults(sweep.family)

    def is_kept(name: str, value: Value) -> bool:
        domains = [one.domain for one in sweep.space.values() if one.name == name]
        if not domains:
            return name in usual and same(usual[name], value)
        return name in taken or any(isinstance(domain, Fixed) and domain.contains(value) for domain in domains)

    return [name for name, value in params.items() if not is_kept(name, value)]
