"""A search space as other libraries take it: named columns, and choices as numbers.

Syne Tune and NePS have no conditions. They draw every parameter, and those that are not active are
left out afterwards. SMAC and DEHB get the conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fer_tune.job import Value
from fer_tune.sweep.space import Choice, Fixed, Parameter, Range, Space, same


class FlatSpace:
    """The searched parameters of a space under short names: `p0`, `p1`, and so on.

    A choice is the text of its position. The libraries then keep no order among choices, and none
    of them turns `true` into 1.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        searched = [parameter for parameter in space.values() if not isinstance(parameter.domain, Fixed)]
        self.names = {parameter.key: f"p{index}" for index, parameter in enumerate(searched)}

    def items(self) -> list[tuple[str, Parameter]]:
        """Returns name and parameter of each column."""
        return [(name, self._space[key]) for key, name in self.names.items()]

    def params(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Returns a configuration, given the values of the columns."""
        params: dict[str, Value] = {}
        for key, parameter in self._space.items():
            domain = parameter.domain
            if not parameter.active(params):
                continue
            if isinstance(domain, Fixed):
                params[parameter.name] = domain.value
            elif isinstance(domain, Choice):
                params[parameter.name] = domain.choices[int(values[self.names[key]])]
            else:
                params[parameter.name] = _within(domain, values[self.names[key]])
        return params

    def column(self, parameter: Parameter, params: Mapping[str, Value]) -> Any:
        """Returns a configuration's value in the column of a parameter, or None."""
        value = params.get(parameter.name)
        if value is None or not parameter.active(params) or not parameter.domain.contains(value):
            return None
        if isinstance(parameter.domain, Choice):
            return next(str(index) for index, choice in enumerate(parameter.domain.choices) if same(choice, value))
        return value


def choices(domain: Choice) -> list[str]:
    """Returns the positions of a category's values."""
    return [str(index) for index in range(len(domain.choices))]


def _within(domain: Range, value: Any) -> Value:
    if domain.step is not None:
        value = domain.low + round((value - domain.low) / domain.step) * domain.step
    return round(value) if domain.integer else float(value)
