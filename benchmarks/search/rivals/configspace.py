"""A search space as SMAC and DEHB take it, with its conditions."""

from __future__ import annotations

from typing import Any

from ConfigSpace import (
    AndConjunction,
    Categorical,
    ConfigurationSpace,
    Float,
    InCondition,
    Integer,
)

from benchmarks.search.rivals.flat import FlatSpace, choices
from fer_tune.sweep.space import Choice, Fixed, Parameter, Range, Space, same


def configuration_space(space: Space, flat: FlatSpace, seed: int) -> Any:
    """Returns the ConfigurationSpace of a space."""
    made = ConfigurationSpace(seed=seed)
    columns = {name: _column(name, parameter) for name, parameter in flat.items()}
    made.add(list(columns.values()))
    for name, parameter in flat.items():
        conditions = []
        for other, values in parameter.when.items():
            parent = space[other]
            if not isinstance(parent.domain, Fixed):
                assert isinstance(parent.domain, Choice)
                allowed = [
                    str(index)
                    for index, choice in enumerate(parent.domain.choices)
                    if any(same(choice, value) for value in values)
                ]
                conditions.append(InCondition(columns[name], columns[flat.names[other]], allowed))
        if conditions:
            made.add(conditions[0] if len(conditions) == 1 else AndConjunction(*conditions))
    return made


def _column(name: str, parameter: Parameter) -> Any:
    domain = parameter.domain
    if isinstance(domain, Choice):
        return Categorical(name, choices(domain))
    assert isinstance(domain, Range)
    if domain.integer:
        return Integer(name, (int(domain.low), int(domain.high)), log=domain.log)
    return Float(name, (domain.low, domain.high), log=domain.log)
