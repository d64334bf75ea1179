"""Picks and sorts trials by what is known of them: `lr>0.01`, `state=complete`, `-value`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from fer_tune.errors import SettingsError
from fer_tune.study.summaries import TrialSummary

FIELDS: dict[str, Callable[[TrialSummary], Any]] = {
    "trial": lambda trial: trial.number,
    "state": lambda trial: trial.state,
    "value": lambda trial: trial.value,
    "epochs": lambda trial: trial.epochs,
    "best_epoch": lambda trial: trial.best_epoch,
    "time": lambda trial: trial.trained,
    "start": lambda trial: trial.name,
}
"""What is known of every trial, by the name that a user gives it."""

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
CONDITION = re.compile(r"\s*([\w.]+)\s*(!=|<=|>=|==|=|<|>)\s*(.*?)\s*")

HINT = 'Examples: --where "lr>0.01", --where optimizer=sgd, --where state!=failed.'


def pick(trials: Sequence[TrialSummary], where: Iterable[str] = (), sort: str | None = None) -> list[TrialSummary]:
    """Returns the trials that meet all conditions, sorted.

    Args:
        where: conditions such as `lr>0.01` or `optimizer=sgd`. A trial that does not have what a
            condition names meets only `!=`.
        sort: a name. A minus in front reverses the order. `value` alone puts the best first. Trials
            that do not have it come last.

    Raises:
        SettingsError: a condition cannot be read, or no trial has a name.
    """
    found = list(trials)
    known = names(trials)
    for condition in where:
        found = _meeting(found, condition, known)
    return found if sort is None else _sorted(found, sort, known)


def names(trials: Iterable[TrialSummary]) -> list[str]:
    """Returns what is known of these trials: fields, hyperparameters, then attributes."""
    found = dict.fromkeys(FIELDS)
    attributes: dict[str, None] = {}
    for trial in trials:
        found.update(dict.fromkeys(trial.params))
        attributes.update(dict.fromkeys(trial.attrs))
    return [*found, *(name for name in attributes if name not in found)]


def value_of(trial: TrialSummary, name: str) -> Any:
    """Returns what a trial has under a name, or None."""
    if name in FIELDS:
        return FIELDS[name](trial)
    return trial.params.get(name, trial.attrs.get(name))


def varying(trials: Sequence[TrialSummary]) -> list[str]:
    """Returns the hyperparameters that differ between these trials, in the order of the sweep.

    A trial without a job has only the hyperparameters that it drew. What it lacks may be fixed.
    """
    trials = [trial for trial in trials if trial.params]
    every = dict.fromkeys(name for trial in trials for name in trial.params)

    def values(name: str) -> set[Any]:
        return {trial.params.get(name) for trial in trials if name in trial.params or trial.job is not None}

    return [name for name in every if len(values(name)) > 1]


def checked(name: str, known: Sequence[str]) -> str:
    """Returns a name that is known.

    Raises:
        SettingsError: it is not. The message names the nearest one.
    """
    if name in known:
        return name
    close = get_close_matches(name, known, 1)
    meant = f" Did you mean {close[0]}?" if close else ""
    raise SettingsError(f"No trial has a value named {name!r}.{meant}", f"Names: {', '.join(known)}.")


def _meeting(trials: Iterable[TrialSummary], condition: str, known: Sequence[str]) -> list[TrialSummary]:
    read = CONDITION.fullmatch(condition)
    if read is None or not read[3]:
        raise SettingsError(f"{condition!r} is not a condition.", HINT)
    name, compare, text = checked(read[1], known), OPERATORS[read[2]], read[3]
    number = _number(text)
    if number is None and read[2] in ("<", ">", "<=", ">="):
        raise SettingsError(f"{condition!r}: {read[2]} needs a number, not {text!r}.", HINT)
    found = []
    for trial in trials:
        there = value_of(trial, name)
        if there is None:
            meets = read[2] == "!="
        elif number is not None and isinstance(there, int | float) and not isinstance(there, bool):
            meets = compare(there, number)
        else:
            meets = number is None and compare(_text(there), text)
            meets = meets or (number is not None and read[2] in ("=", "==", "!=") and compare(_text(there), text))
        if meets:
            found.append(trial)
    return found


def _sorted(trials: list[TrialSummary], sort: str, known: Sequence[str]) -> list[TrialSummary]:
    name = checked(sort.removeprefix("-"), known)
    down = sort.startswith("-") != (name == "value")
    there = [trial for trial in trials if value_of(trial, name) is not None]
    absent = [trial for trial in trials if value_of(trial, name) is None]
    return sorted(there, key=lambda trial: _key(value_of(trial, name)), reverse=down) + absent


def _key(value: Any) -> tuple[int, float, str]:
    """Returns what values are sorted by: numbers first, then texts."""
    if isinstance(value, int | float):
        return (0, -math.inf if math.isnan(value) else float(value), "")
    return (1, 0.0, _text(value))


def _number(text: str) -> float | None:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
