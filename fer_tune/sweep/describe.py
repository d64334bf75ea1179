"""A sweep's hyperparameters as rows, for people: what `fer-tune check` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fer_tune.sweep.catalogue import catalogue
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Choice, Fixed, Range, show

KINDS: dict[type, Literal["fixed", "range", "choice"]] = {Fixed: "fixed", Range: "range", Choice: "choice"}


@dataclass(frozen=True)
class Row:
    """One hyperparameter, or one of its alternatives.

    Attributes:
        name: the hyperparameter.
        kind: whether it is searched; `default` is what the sweep does not name.
        values: the range (`0.01 to 0.3, log`), the choices or the value.
        when: under which condition (`optimizer is sgd`), or empty.
        default: the catalogue's.
        description: for people; may be empty.
    """

    name: str
    kind: Literal["range", "choice", "fixed", "default"]
    values: str
    when: str
    default: str
    description: str


def rows(sweep: Sweep) -> list[Row]:
    """All hyperparameters of the sweep's family: the named ones in the space's order, then those at their default."""
    hypers = catalogue(sweep.family)
    named = [
        Row(
            name=parameter.name,
            kind=KINDS[type(parameter.domain)],
            values=str(parameter.domain),
            when=parameter.condition,
            default=show(hypers[parameter.name].default),
            description=hypers[parameter.name].description,
        )
        for parameter in sweep.space.values()
    ]
    seen = {row.name for row in named}
    return named + [
        Row(name, "default", show(hyper.default), "", show(hyper.default), hyper.description)
        for name, hyper in hypers.items()
        if name not in seen
    ]
