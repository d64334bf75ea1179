"""The search space as plain data: what the sampler may choose, and when.

A space maps *keys* to parameters. The key is what Optuna knows a parameter by, the name is
the hyperparameter it sets; they differ only where a hyperparameter has **alternatives**,
since one learning rate does not suit sgd and adam:

    lr:
      - {low: 0.01, high: 0.3, log: true, when: {optimizer: sgd}}            # key lr[optimizer=sgd]
      - {low: 1e-4, high: 5e-3, log: true, when: {optimizer: [adam, adamw]}}  # key lr[optimizer=adam,adamw]

Alternatives exclude one another, so that at most one of them is active and a trial's
parameters carry the plain name. To draw a configuration, walk the space in its order, which
puts a parameter behind those that its conditions name:

    params = {}
    for key, parameter in space.items():
        if parameter.active(params):
            params[parameter.name] = suggest(key, parameter.domain)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import Any

from fer_tune.job import Value


@dataclass(frozen=True)
class Fixed:
    """One value; the sampler is not asked."""

    value: Value

    def contains(self, value: Value) -> bool:
        """Whether `value` is the fixed one."""
        return same(self.value, value)

    def plain(self) -> Any:
        """The value."""
        return self.value

    def __str__(self) -> str:
        return show(self.value)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where `integer`.

    `step` counts from `low` and divides the range evenly; a range has `log` or `step`, not both.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False

    def contains(self, value: Value) -> bool:
        """Whether the sampler could draw `value`."""
        if isinstance(value, str | bool) or not self.low <= value <= self.high:
            return False
        if self.step is not None:
            steps = (value - self.low) / self.step
            return isclose(steps, round(steps), abs_tol=1e-6)
        return not self.integer or float(value).is_integer()

    def plain(self) -> Any:
        """The range as a sweep writes it."""
        entries: dict[str, Any] = {"low": self.low, "high": self.high}
        if self.log:
            entries["log"] = True
        if self.step is not None:
            entries["step"] = self.step
        return entries

    def __str__(self) -> str:
        how = ", log" if self.log else f", step {show(self.step)}" if self.step is not None else ""
        return f"{show(self.low)} to {show(self.high)}{how}"


@dataclass(frozen=True)
class Choice:
    """One of several values, without order."""

    choices: tuple[Value, ...]

    def contains(self, value: Value) -> bool:
        """Whether `value` is one of the choices."""
        return any(same(choice, value) for choice in self.choices)

    def plain(self) -> Any:
        """The category as a sweep writes it."""
        return {"choices": list(self.choices)}

    def __str__(self) -> str:
        return ", ".join(show(choice) for choice in self.choices)


Domain = Fixed | Range | Choice


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter, or one of its alternatives.

    Attributes:
        key: unique in the space; the name in Optuna.
        name: the hyperparameter that it sets.
        domain: its values.
        when: for each hyperparameter named, the values under which this one is active; empty is always.
    """

    key: str
    name: str
    domain: Domain
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def active(self, params: Mapping[str, Value]) -> bool:
        """Whether the parameter takes part, given those before it; a condition on an inactive one is not met."""
        return all(
            name in params and any(same(params[name], value) for value in values) for name, values in self.when.items()
        )

    @property
    def condition(self) -> str:
        """The conditions in words: `optimizer is adam or adamw`; empty where there are none."""
        return " and ".join(f"{name} is {' or '.join(map(show, values))}" for name, values in self.when.items())


Space = dict[str, Parameter]
"""Parameters by key, each behind all that its conditions name."""


def key_of(name: str, when: Mapping[str, tuple[Value, ...]]) -> str:
    """The key of one of several alternatives of `name`."""
    conditions = "; ".join(f"{other}={','.join(show(value) for value in values)}" for other, values in when.items())
    return f"{name}[{conditions}]"


def name_of(key: str) -> str:
    """The hyperparameter that a key sets; needs no space, so that a reader of the database can use it."""
    return key.partition("[")[0]


def named(keyed: Mapping[str, Value]) -> dict[str, Value]:
    """Values by key (Optuna's parameters of a trial) as values by hyperparameter."""
    return {name_of(key): value for key, value in keyed.items()}


def keyed(space: Space, params: Mapping[str, Value]) -> dict[str, Value]:
    """Values by hyperparameter as values by key, without the fixed and the inactive: what Optuna enqueues.

    `params` may leave hyperparameters out; the sampler fills them in.
    """
    known = {p.name: p.domain.value for p in space.values() if isinstance(p.domain, Fixed) and not p.when}
    known.update(params)
    return {
        key: known[parameter.name]
        for key, parameter in space.items()
        if parameter.name in params and not isinstance(parameter.domain, Fixed) and parameter.active(known)
    }


def same(one: Value, other: Value) -> bool:
    """Equality that keeps `true` and 1 apart."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def show(value: Value | None) -> str:
    """A value as a sweep writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)
