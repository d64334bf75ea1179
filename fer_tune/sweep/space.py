"""The search space as plain data: what the sampler may choose, and under which conditions.

A space maps *keys* to parameters. The key is the parameter's name in Optuna. The name is the
hyperparameter that it sets. They differ only if a hyperparameter has **alternatives**, because
one learning rate does not suit both sgd and adam:

    lr:
      - {low: 0.01, high: 0.3, log: true, when: {optimizer: sgd}}
      - {low: 1e-4, high: 5e-3, log: true, when: {optimizer: [adam, adamw]}}

Their keys are `lr[optimizer=sgd]` and `lr[optimizer=adam,adamw]`.
Alternatives exclude one another: at most one of them is active, and the parameters of a trial
have the plain name. A parameter comes after those that its conditions name. So a configuration
is drawn by walking through the space in its order:

    params = {}
    for key, parameter in space.items():
        if parameter.active(params):
            params[parameter.name] = suggest(key, parameter.domain)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isclose
from typing import Any

from fer_tune.job import Value


@dataclass(frozen=True)
class Fixed:
    """One value, which the sampler does not choose."""

    value: Value

    def contains(self, value: Value) -> bool:
        """Returns whether `value` is the fixed one."""
        return same(self.value, value)

    def plain(self) -> Any:
        """Returns the value."""
        return self.value

    def __str__(self) -> str:
        return show(self.value)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included. With `integer` they are whole.

    `step` counts from `low` and divides the range evenly. A range has `log` or `step`, not both.

    `off` is the share of draws that are `low` itself. Many hyperparameters are the amount of a
    trick, and `low` means not to use it. Drawn evenly, nearly every configuration would use all
    tricks at once.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False
    off: float = 0.0

    def contains(self, value: Value) -> bool:
        """Returns whether the sampler could draw `value`."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.step is not None:
            steps = (value - self.low) / self.step
            return isclose(steps, round(steps), abs_tol=1e-6)
        return not self.integer or float(value).is_integer()

    def plain(self) -> Any:
        """Returns the range as a sweep writes it."""
        entries: dict[str, Any] = {"low": self.low, "high": self.high}
        if self.log:
            entries["log"] = True
        if self.step is not None:
            entries["step"] = self.step
        if self.off:
            entries["off"] = self.off
        return entries

    def __str__(self) -> str:
        how = ", log" if self.log else f", step {show(self.step)}" if self.step is not None else ""
        off = f", {show(self.low)} in {self.off:.0%} of the draws" if self.off else ""
        return f"{show(self.low)} to {show(self.high)}{how}{off}"


@dataclass(frozen=True)
class Choice:
    """One of several values, without order."""

    choices: tuple[Value, ...]

    def contains(self, value: Value) -> bool:
        """Returns whether `value` is one of the choices."""
        return any(same(choice, value) for choice in self.choices)

    def plain(self) -> Any:
        """Returns the category as a sweep writes it."""
        return {"choices": list(self.choices)}

    def __str__(self) -> str:
        return ", ".join(show(choice) for choice in self.choices)


Domain = Fixed | Range | Choice


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter, or one of its alternatives.

    Attributes:
        key: its name in Optuna, unique in the space.
        name: the hyperparameter that it sets.
        domain: its values.
        when: the values of other hyperparameters with which this one is active. Empty is always.
    """

    key: str
    name: str
    domain: Domain
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def active(self, params: Mapping[str, Value]) -> bool:
        """Returns whether the parameter is active, given those before it.

        A condition on an inactive one fails.
        """
        return all(
            name in params and any(same(params[name], value) for value in values) for name, values in self.when.items()
        )

    @property
    def condition(self) -> str:
        """Returns the conditions in words: `optimizer is adam or adamw`.

        Empty without conditions.
        """
        return " and ".join(f"{name} is {' or '.join(map(show, values))}" for name, values in self.when.items())


Space = dict[str, Parameter]
"""Parameters by key, each after those that its conditions name."""


def key_of(name: str, when: Mapping[str, tuple[Value, ...]]) -> str:
    """Returns the key of one of several alternatives of `name`."""
    conditions = "; ".join(f"{other}={','.join(show(value) for value in values)}" for other, values in when.items())
    return f"{name}[{conditions}]"


def name_of(key: str) -> str:
    """Returns the hyperparameter that a key sets. Readers of the database have only the key."""
    return key.partition("[")[0]


def named(keyed: Mapping[str, Value]) -> dict[str, Value]:
    """Returns values by hyperparameter, given values by key: Optuna's parameters of a trial."""
    return {name_of(key): value for key, value in keyed.items()}


def fixed_values(space: Space) -> dict[str, Value]:
    """Returns the values that a space fixes, by hyperparameter."""
    return {one.name: one.domain.value for one in space.values() if isinstance(one.domain, Fixed)}


def keyed(space: Space, params: Mapping[str, Value]) -> dict[str, Value]:
    """Returns values by key, given values by hyperparameter, for Optuna to enqueue.

    Fixed and inactive ones are left out. The sampler fills in what `params` leaves out.
    """
    known = {p.name: p.domain.value for p in space.values() if isinstance(p.domain, Fixed) and not p.when}
    known.update(params)
    return {
        key: known[parameter.name]
        for key, parameter in space.items()
        if parameter.name in params and not isinstance(parameter.domain, Fixed) and parameter.active(known)
    }


def even(space: Space) -> Space:
    """Returns a space without `off`, as samplers see it that do not know `off`."""
    return {
        key: replace(one, domain=replace(one.domain, off=0.0)) if isinstance(one.domain, Range) else one
        for key, one in space.items()
    }


def misplaced(space: Space, name: str, value: Value, params: Mapping[str, Value]) -> str:
    """Returns why a configuration cannot have a value, or an empty text if it can.

    Args:
        name: a hyperparameter of the space, or the key of one of its alternatives.
        params: the configuration by hyperparameter, with what the space fixes.
    """
    alternatives = [parameter for parameter in space.values() if name in (parameter.name, parameter.key)]
    active = next((parameter for parameter in alternatives if parameter.active(params)), None)
    if active is not None:
        return "" if active.domain.contains(value) else f"is {show(value)}, but params allows {active.domain}"
    needs = " or ".join(parameter.condition for parameter in alternatives)
    return f"applies only where {needs}: this configuration must say so, or leave {name} out"


def same(one: Value, other: Value) -> bool:
    """Returns whether two values are equal. `true` and 1 are not."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def show(value: Value | None) -> str:
    """Returns a value as a sweep writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)
