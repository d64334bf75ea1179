"""Entries of Optuna's queue, which any program may write: by key, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping

from fer_tune.job import Value
from fer_tune.sweep.error_messages import nearest
from fer_tune.sweep.space import Space, misplaced


def by_key(space: Space, entry: Mapping[str, Value]) -> dict[str, Value]:
    """Returns the values of an entry by key, given by hyperparameter or by key.

    The value of a hyperparameter goes to all its alternatives, because the sampler may still choose
    what decides between them.
    """
    named = {key: entry[parameter.name] for key, parameter in space.items() if parameter.name in entry}
    return named | dict(entry)


def drawable(space: Space, entry: Mapping[str, Value]) -> dict[str, Value]:
    """Returns the values of an entry by key, without those that the sampler could not draw."""
    named = by_key(space, entry)
    return {key: value for key, value in named.items() if key in space and space[key].domain.contains(value)}


def check_entry(space: Space, entry: Mapping[str, Value], params: Mapping[str, Value]) -> None:
    """Refuses an entry that the sweep could not have as a start configuration.

    Optuna does not use a name that it was not asked for, and says nothing.

    Args:
        params: the active hyperparameters of the trial, by name.

    Raises:
        ValueError: a name is unknown, or the trial cannot have its value.
    """
    names = dict.fromkeys(name for parameter in space.values() for name in (parameter.name, parameter.key))
    for name, value in entry.items():
        if name not in names:
            raise ValueError(f"{name} is not in the sweep's params{nearest(name, names)}")
        if wrong := misplaced(space, name, value, params):
            raise ValueError(f"{name} {wrong}")
