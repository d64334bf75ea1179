"""Describes a sweep to people: what `fer-tune check` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fer_tune.data.fer2013 import SIDE
from fer_tune.sweep.catalogue import catalogue
from fer_tune.sweep.samplers_and_pruners import KNOW_OFF
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Choice, Fixed, Range, even, show

KINDS: dict[type, Literal["fixed", "range", "choice"]] = {Fixed: "fixed", Range: "range", Choice: "choice"}


@dataclass(frozen=True)
class Row:
    """One hyperparameter, or one of its alternatives.

    Attributes:
        name: the hyperparameter.
        kind: how it gets its value. `default` means that the sweep does not name it.
        values: the range (`0.01 to 0.3, log`), the choices, or the value.
        when: the condition (`optimizer is sgd`), or empty.
        default: its value in a sweep that does not name it.
        description: may be empty.
    """

    name: str
    kind: Literal["range", "choice", "fixed", "default"]
    values: str
    when: str
    default: str
    description: str


def rows(sweep: Sweep) -> list[Row]:
    """Returns all hyperparameters of the sweep's family: those of the space in its order, then the
    defaults.
    """
    hypers = catalogue(sweep.family)
    space = sweep.space if sweep.sampler.name in KNOW_OFF else even(sweep.space)
    named = [
        Row(
            name=parameter.name,
            kind=KINDS[type(parameter.domain)],
            values=str(parameter.domain),
            when=parameter.condition,
            default=show(hypers[parameter.name].default),
            description=hypers[parameter.name].description,
        )
        for parameter in space.values()
    ]
    seen = {row.name for row in named}
    return named + [
        Row(name, "default", show(hyper.default), "", show(hyper.default), hyper.description)
        for name, hyper in hypers.items()
        if name not in seen
    ]


def describe_images(sweep: Sweep) -> str:
    """Returns the data set in words: `fer2013`, or `faces.zip (64×64, colour)` if it is not 48×48
    and grey.
    """
    if (sweep.side, sweep.channels) == (SIDE, 1):
        return sweep.data
    return f"{sweep.data} ({sweep.side}×{sweep.side}, {'grey' if sweep.channels == 1 else 'colour'})"
