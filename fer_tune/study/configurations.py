"""Configurations of a space as points of a cube: drawn at random, drawn near others, as features.

A point has a position from 0 to 1 for each searched parameter, also for those that are not active.
So hundreds of points are drawn and compared at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fer_tune.job import Value
from fer_tune.sweep.space import Choice, Fixed, Parameter, Range, Space, same

Floats = NDArray[np.float64]


class Cube:
    """The points of a space.

    Attributes:
        parameters: the searched parameters, in the order of a point's positions.
        groups: [F] for each of the `features` the place of its parameter.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.parameters: list[Parameter] = [one for one in space.values() if not isinstance(one.domain, Fixed)]
        self._place = {one.key: place for place, one in enumerate(self.parameters)}
        self._choices = np.array([len(_choices(one)) for one in self.parameters])
        self._off = np.array([_off(one.domain) for one in self.parameters])
        sizes = [count or (3 if off else 2) for count, off in zip(self._choices, self._off, strict=True)]
        self.groups = np.repeat(np.arange(len(sizes)), sizes)

    # points -------------------------------------------------------------------------------------------------------

    def draw(self, count: int, random: np.random.Generator) -> Floats:
        """Returns points [count, P] that are drawn evenly."""
        return random.random((count, len(self.parameters)))

    def stratified(self, count: int, random: np.random.Generator) -> Floats:
        """Returns points [count, P] that together cover the range of each parameter evenly.

        It is a Latin hypercube (McKay, Beckman and Conover 1979): each position is cut into `count`
        equal parts, and each of them has one point. So few points say more of the whole space than
        as many that are drawn one by one.
        """
        strata = random.permuted(np.tile(np.arange(count), (len(self.parameters), 1)), axis=1).T
        return np.asarray((strata + random.random(strata.shape)) / count, dtype=np.float64)

    def near(self, centres: Floats, random: np.random.Generator, *, spread: float, chance: float) -> Floats:
        """Returns a point near each of the centres [N, P].

        Args:
            spread: standard deviation of the changes of a range. A choice, and a range that is off,
                is drawn again instead.
            chance: the probability that a parameter changes. One of them always does.
        """
        moved = np.abs(centres + random.normal(0.0, spread, centres.shape)) % 2.0
        moved = np.where(moved > 1.0, 2.0 - moved, moved)
        moved = np.where((self._choices > 0) | (centres < self._off), random.random(centres.shape), moved)
        changes = random.random(centres.shape) < chance
        changes[np.arange(len(centres)), random.integers(centres.shape[1], size=len(centres))] = True
        return np.where(changes, moved, centres)

    def point(self, params: Mapping[str, Value], random: np.random.Generator) -> Floats:
        """Returns the point [P] of a configuration, given by key. What it lacks is drawn evenly."""
        return np.array(
            [
                _position(one.domain, params[one.key]) if one.key in params else random.random()
                for one in self.parameters
            ]
        )

    def configuration(self, point: Sequence[float] | Floats) -> dict[str, Value]:
        """Returns the active parameters of a point, by key."""
        found: dict[str, Value] = {}
        params: dict[str, Value] = {}
        for key, parameter in self._space.items():
            if not parameter.active(params):
                continue
            if isinstance(parameter.domain, Fixed):
                params[parameter.name] = parameter.domain.value
            else:
                found[key] = params[parameter.name] = _value(parameter.domain, float(point[self._place[key]]))
        return found

    def value(self, key: str, point: Sequence[float] | Floats) -> Value:
        """Returns the value of one parameter at a point, whether it is active or not."""
        parameter = self._space[key]
        assert not isinstance(parameter.domain, Fixed)
        return _value(parameter.domain, float(point[self._place[key]]))

    # features -----------------------------------------------------------------------------------------------------

    def features(self, points: Floats) -> Floats:
        """Returns points as numbers [N, F] that are 0 on average.

        A range gives its position and the square of it, a choice one number for each of its values.
        A range that may be off gives one number more, for whether it is off; its position and the
        square are then 0. A parameter that is not active gives zeros.
        """
        columns: list[Floats] = []
        active = self._active(points)
        for place, count in enumerate(self._choices):
            at, on = points[:, place], active[:, place].astype(float)
            if count:
                chosen = np.minimum(count - 1, (at * count).astype(int))
                columns += [on * ((chosen == one) - 1 / count) for one in range(count)]
            else:
                off = self._off[place]
                used = on * (at >= off)
                centred = 2 * (at - off) / (1 - off) - 1
                columns += [used - on * (1 - off)] if off else []
                columns += [used * centred, used * 1.5 * (centred**2 - 1 / 3)]
        return np.stack(columns, axis=1) if columns else np.zeros((len(points), 0))

    def _active(self, points: Floats) -> NDArray[np.bool_]:
        """Returns which parameters [N, P] are active. A condition names parameters before it."""
        active = np.ones((len(points), len(self.parameters)), dtype=bool)
        for place, parameter in enumerate(self.parameters):
            for name, allowed in parameter.when.items():
                active[:, place] &= self._has(points, active, name, allowed)
        return active

    def _has(self, points: Floats, active: NDArray[np.bool_], name: str, allowed: Sequence[Value]) -> NDArray[np.bool_]:
        """Returns for which points the hyperparameter `name` has one of the allowed values."""
        found = np.zeros(len(points), dtype=bool)
        for parameter in self._space.values():
            if parameter.name != name:
                continue
            if isinstance(parameter.domain, Fixed):
                found |= any(same(parameter.domain.value, value) for value in allowed)
            elif isinstance(parameter.domain, Choice):
                place = self._place[parameter.key]
                fits = np.array([any(same(one, value) for value in allowed) for one in parameter.domain.choices])
                count = len(fits)
                found |= active[:, place] & fits[np.minimum(count - 1, (points[:, place] * count).astype(int))]
            else:
                place = self._place[parameter.key]
                values = [_value(parameter.domain, at) for at in points[:, place]]
                found |= active[:, place] & np.array([any(same(one, value) for value in allowed) for one in values])
        return found


def _choices(parameter: Parameter) -> tuple[Value, ...]:
    return parameter.domain.choices if isinstance(parameter.domain, Choice) else ()


def _off(domain: Fixed | Range | Choice) -> float:
    return domain.off if isinstance(domain, Range) else 0.0


def _position(domain: Fixed | Range | Choice, value: Value) -> float:
    """Returns where a value is in its domain, from 0 to 1."""
    if isinstance(domain, Choice):
        place = next((place for place, choice in enumerate(domain.choices) if same(choice, value)), 0)
        return (place + 0.5) / len(domain.choices)
    if isinstance(domain, Fixed) or domain.low >= domain.high:
        return 0.5
    low, high, at = domain.low, domain.high, float(value)
    if domain.log:
        low, high, at = math.log(low), math.log(high), math.log(max(at, low))
    if domain.off and at <= low:
        return domain.off / 2
    return domain.off + (1 - domain.off) * min(1.0, max(0.0, (at - low) / (high - low)))


def _value(domain: Range | Choice, at: float) -> Value:
    """Returns the value at a position from 0 to 1."""
    if isinstance(domain, Choice):
        return domain.choices[min(len(domain.choices) - 1, int(at * len(domain.choices)))]
    low, high = domain.low, domain.high
    at = max(0.0, at - domain.off) / (1 - domain.off)
    value = math.exp(math.log(low) + at * math.log(high / low)) if domain.log else low + at * (high - low)
    if domain.step is not None:
        value = low + round((value - low) / domain.step) * domain.step
    value = min(high, max(low, value))
    return round(value) if domain.integer else float(value)
