"""The hyperparameters that a sweep may name.

They are the fields of the configurations in `models/` and `train/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from fer_tune.job import Value
from fer_tune.models import FAMILIES
from fer_tune.sweep.space import show
from fer_tune.train.config import TrainConfig


@dataclass(frozen=True)
class Hyperparameter:
    """One field of a configuration.

    Attributes:
        name: its name in a sweep.
        config: the configuration that it belongs to. It decides whether a value is valid.
        type: the type of its values: bool, int, float or str.
        default: its value in a sweep that does not name it.
        choices: the valid values. Empty for a number within bounds.
        bounds: limits of a number under pydantic's names: `gt`, `ge`, `lt`, `le`.
        description: may be empty.
    """

    name: str
    config: type[BaseModel]
    type: type[Value]
    default: Value
    choices: tuple[Value, ...]
    bounds: dict[str, float]
    description: str

    @property
    def numeric(self) -> bool:
        """Returns whether a sweep may search a range of it."""
        return self.type in (int, float) and not self.choices

    @property
    def allowed(self) -> str:
        """Returns the valid values in words, for an error or a comment."""
        if self.choices:
            return "one of " + ", ".join(show(choice) for choice in self.choices)
        signs = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
        limits = " and ".join(f"{signs[bound]} {show(limit)}" for bound, limit in self.bounds.items())
        kind = "a whole number" if self.type is int else "a number"
        return f"{kind} {limits}".rstrip()

    def check(self, value: object) -> Value:
        """Returns `value` as the configuration has it. A whole number becomes a float, and a name
        its number.

        Raises:
            ValueError: the configuration refuses it. The message says what is allowed.
        """
        if self.type is not bool and isinstance(value, bool):
            raise ValueError(f"must be {self.allowed}, not {describe_value(value)}")
        try:
            checked: Value = getattr(self.config.model_validate({self.name: value}, strict=True), self.name)
        except ValidationError as error:
            raise ValueError(f"must be {self.allowed}, not {describe_value(value)}") from error
        return checked


def describe_value(value: object) -> str:
    """Returns what was given in place of a value, short enough for an error."""
    if isinstance(value, bool | int | float | str):
        text = show(value)
        return text if len(text) <= 40 else f"{text[:37]}..."
    return "nothing" if value is None else "a list" if isinstance(value, list) else "a mapping"


Catalogue = dict[str, Hyperparameter]


def catalogue(family: str) -> Catalogue:
    """Returns the hyperparameters of a family by name, its own first, then those of training."""
    return {
        name: _hyperparameter(name, config)
        for config in (FAMILIES[family].config, TrainConfig)
        for name in config.model_fields
    }


def defaults(family: str) -> dict[str, Value]:
    """Returns the values that hyperparameters have if a sweep does not name them."""
    return {name: one.default for name, one in catalogue(family).items()}


def _hyperparameter(name: str, config: type[BaseModel]) -> Hyperparameter:
    info = config.model_fields[name]
    kind: Any = info.annotation
    choices: tuple[Value, ...] = ()
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        kind = type(choices[0])
    elif kind is bool:
        choices = (False, True)
    bounds = {
        bound: getattr(limit, bound)
        for limit in info.metadata
        for bound in ("gt", "ge", "lt", "le")
        if getattr(limit, bound, None) is not None
    }
    return Hyperparameter(name, config, kind, info.default, choices, bounds, info.description or "")
