"""What a search will cost: it is played many times, with the measured pace of trials."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fer_tune.job import Value
from fer_tune.selection.rungs import RESERVE, Rungs

PLAYS = 48
"""How often a search is played. The quantiles of the plays are the range of the forecast. With 16
plays, their median alone was 4 % off by chance."""

TRIALS = 20_000
"""About so many trials are played in all. A long search is played fewer times."""

LOW, HIGH = 0.1, 0.9
"""Quantiles of the range."""

SCATTER = 0.6
"""How much a value at a rung differs from the worth of its trial, in standard deviations of the
worth of random configurations."""

END_SCATTER = 0.1
"""The same for the value at the end of the schedule, which differs with the seed."""


@dataclass(frozen=True)
class MeasuredTrial:
    """What one trial cost.

    Attributes:
        seconds: device-seconds of an epoch.
        length: the trained part of its schedule; nan if it says nothing about trials of the sweep.
        params: its hyperparameters by name; none if they are not known.
        curve: its objective by epoch, as far as it is known; none if the sweep could not draw it.
        searched: whether a search with the space and the rules of the sweep proposed it.
    """

    seconds: float
    length: float = math.nan
    params: Mapping[str, Value] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)
    searched: bool = False


@dataclass(frozen=True)
class TrialPace:
    """What trials of a sweep cost, as measured.

    Attributes:
        overhead: device-seconds of an attempt beside its epochs.
        source: where this was measured, in words.
        lanes: trials that a device trained at a time.
        probed: whether some of it was measured by a probe.
    """

    trials: tuple[MeasuredTrial, ...]
    overhead: float = 0.0
    source: str = ""
    lanes: int = 1
    probed: bool = False

    @property
    def epochs(self) -> list[float]:
        """Device-seconds of an epoch, one for each measured trial."""
        return [trial.seconds for trial in self.trials]

    @property
    def drawable(self) -> tuple[MeasuredTrial, ...]:
        """The measured trials that the sweep could draw."""
        return tuple(trial for trial in self.trials if trial.curve)

    @property
    def lengths(self) -> list[float]:
        """The trained part of the schedule of each measured trial of which it is known."""
        return [trial.length for trial in self.trials if math.isfinite(trial.length)]


@dataclass(frozen=True)
class PlayedTrial:
    """A trial of a search that is played.

    Attributes:
        worth: how good its configuration is, in standard deviations of random ones.
        seconds: device-seconds of an epoch.
        whole: whether it is trained to its end without a pause.
    """

    worth: float
    seconds: float
    whole: bool = False


class PlayedTrials(Protocol):
    """Where the trials of one play come from."""

    def next(self, curves: Sequence[Mapping[int, float]]) -> PlayedTrial:
        """Returns the next trial.

        Args:
            curves: what each trial before it has reached, by epoch.
        """
        ...


class LikeMeasured:
    """Trials that cost as much as measured ones, and of which none is better for that."""

    def __init__(self, pace: TrialPace, random: np.random.Generator) -> None:
        # Few measurements say less than many, so each play has its own choice of them.
        self._seconds = random.choice(np.array(pace.epochs), len(pace.epochs))
        self._random = random

    def next(self, curves: Sequence[Mapping[int, float]]) -> PlayedTrial:
        """Returns a trial of random worth."""
        return PlayedTrial(self._random.normal(), float(self._random.choice(self._seconds)))


@dataclass(frozen=True)
class Shape:
    """The search whose cost is forecast.

    Attributes:
        schedule: epochs of a trial.
        rungs: epochs at which trials pause; none if none do.
        factor: one in so many trials of a rung continues.
        trials: at most so many trials.
        capacity: at most so many device-seconds.
        slots: trials that are trained at a time, on all devices.
        drift: by how much the time may differ from the measured pace, as a standard deviation of
            its logarithm: the speed of machines drifts.
        start: device-seconds of a run before its first epochs begin, and after its last ones.
        devices: that train them.
        overlap: a device trains `n ** overlap` times the images with n lanes. It is 0 if they take
            turns.
    """

    schedule: int
    rungs: tuple[int, ...]
    factor: int
    trials: int
    capacity: float = math.inf
    slots: int = 1
    drift: float = 0.0
    start: float = 0.0
    devices: int = 1
    overlap: float = 0.0

    @property
    def ends(self) -> tuple[int, ...]:
        """The epochs at which a trial may end: the rungs and the schedule."""
        return (*self.rungs, self.schedule)


@dataclass(frozen=True)
class ForecastRange:
    """A number with its range."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> ForecastRange:
        """Returns the median of values, and the quantiles of the range."""
        low, middle, high = np.quantile(np.array(values), (LOW, 0.5, HIGH))
        return cls(float(low), float(middle), float(high))

    def holds(self, value: float) -> bool:
        """Returns whether a value is in the range."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Forecast:
    """The forecast of a search.

    Attributes:
        device_seconds: of all devices together.
        wall_seconds: from the start to the end, also while a device has nothing to train.
        started: how many trials start.
        reached: how many of them reach each rung, and the end of the schedule, by epoch. Empty if
            trials may end early, and nothing is known of when.
    """

    device_seconds: ForecastRange
    wall_seconds: ForecastRange
    started: ForecastRange
    reached: dict[int, ForecastRange]


def forecast(
    shape: Shape,
    pace: TrialPace,
    rehearse: Callable[[np.random.Generator], PlayedTrials] | None = None,
    seed: int = 0,
) -> Forecast:
    """Returns what a search will cost.

    Args:
        rehearse: makes the trials of one play; None plays with trials like the measured ones.
    """
    random = np.random.default_rng(seed)
    first = min((shape.rungs[:1] or (shape.schedule,))[0] * float(np.mean(pace.epochs)) + pace.overhead, shape.capacity)
    expected = min(shape.trials, shape.capacity / first if first else shape.trials)
    played = []
    for _ in range(max(5, min(PLAYS, int(TRIALS / max(1.0, expected))))):
        source = LikeMeasured(pace, random) if rehearse is None else rehearse(random)
        play = _Play(shape, pace, source, random)
        play.run()
        played.append(play)
    return Forecast(
        device_seconds=ForecastRange.of([play.seconds for play in played]),
        wall_seconds=ForecastRange.of([play.wall_seconds for play in played]),
        started=ForecastRange.of([len(play.curves) for play in played]),
        reached={
            end: ForecastRange.of([play.reached[place] for play in played]) for place, end in enumerate(shape.ends)
        },
    )


class _Play:
    """One play of a search. Time passes in device-seconds, of which each running trial gets its
    share.

    At its end a search has fewer trials than lanes. Each of their epochs takes less time and costs
    more device-seconds, because less overlaps: on an H100 a lone trial's epochs cost 1.8 times as
    much as those of one among eight.

    Attributes:
        seconds: that were used.
        curves: what each trial has reached, by epoch.
        reached: how many trials reached each rung, and the end.
    """

    def __init__(self, shape: Shape, pace: TrialPace, source: PlayedTrials, random: np.random.Generator) -> None:
        self._shape, self._pace, self._source, self._random = shape, pace, source, random
        self._trials: list[PlayedTrial] = []
        self._shortened: set[int] = set()
        self._rungs = Rungs(shape.rungs, shape.factor)
        self._slowest = 0.0  # device-seconds of an epoch
        self._running: list[tuple[float, int, int, int]] = []  # `done` at its end, the trial, from where, to where
        self._now = self.seconds = min(shape.start, shape.capacity)
        self._done = 0.0  # device-seconds that a trial has got if it runs since the beginning
        self._slower = math.exp(shape.drift * random.normal())
        self.curves: list[dict[int, float]] = []
        self.reached = [0 for _ in shape.ends]

    @property
    def wall_seconds(self) -> float:
        """From the start of the search to its end."""
        return min(self._now, self._shape.capacity) / self._shape.devices

    def run(self) -> None:
        """Plays until the search has used its trials or its time."""
        while True:
            while len(self._running) < self._shape.slots and self._now < self._shape.capacity and self._begin():
                pass
            if not self._running or not self._advance():
                return
            _, number, before, end = heapq.heappop(self._running)
            for place in range(before + 1, end + 1):
                self._reach(number, place, pauses=place == end)

    def _advance(self) -> bool:
        """Lets time pass until the next trial ends. Returns whether there was enough."""
        shape, running, done = self._shape, len(self._running), self._running[0][0]
        busy = min(running, shape.devices)
        filled = (running / busy) / (shape.slots / shape.devices)  # part of the lanes of a busy device
        rate = busy * filled**shape.overlap / running  # device-seconds that a trial gets in a second
        passed = shape.devices * (done - self._done) / rate
        left = shape.capacity - self._now
        self.seconds += min(passed, left) * busy / shape.devices
        self._now += passed
        self._done = done
        return bool(passed <= left)

    def _begin(self) -> bool:
        """Starts or continues a trial. Returns whether there was one."""
        if (uid := self._finishing()) is not None:
            return self._continue(uid, len(self._shape.rungs))
        uid = next(self._rungs.promotable(), None)
        if uid is None and len(self.curves) < self._shape.trials:
            return self._start()
        if uid is None and not self._running:
            uid = next(self._rungs.promotable(closing=True), None)
        return uid is not None and self._continue(uid)

    def _finishing(self) -> str | None:
        """Returns the paused trial that should be trained to its end now, if there is no time for a
        new one; see `Rungs.fitting`."""
        shape = self._shape
        left = (shape.capacity - self._now) / shape.slots
        if not self._rungs.paused or shape.schedule * self._slowest < RESERVE * left:
            return None  # even the slowest new trial fits, so there is no need to ask
        paces = {str(number): trial.seconds for number, trial in enumerate(self._trials)}
        return self._rungs.fitting(left, shape.schedule, paces)

    def _start(self) -> bool:
        shape = self._shape
        trial = self._source.next(self.curves)
        end = len(shape.rungs) if trial.whole else 0
        epochs = float(shape.ends[end])
        if not shape.rungs and self._pace.lengths:
            length = float(self._random.choice(np.array(self._pace.lengths)))
            epochs *= length
            if length < 1:
                self._shortened.add(len(self._trials))
        self._trials.append(trial)
        self._slowest = max(self._slowest, trial.seconds)
        self.curves.append({})
        self._train(len(self._trials) - 1, -1, end, epochs)
        return True

    def _continue(self, uid: str, end: int | None = None) -> bool:
        """Continues a paused trial to a higher rung, or to the end. The next one is the default."""
        place = self._shape.ends.index(self._rungs.paused[uid])
        self._rungs.promote(uid)
        end = place + 1 if end is None else end
        self._train(int(uid), place, end, self._shape.ends[end] - self._shape.ends[place])
        return True

    def _train(self, number: int, before: int, end: int, epochs: float) -> None:
        cost = self._slower * (self._pace.overhead + epochs * self._trials[number].seconds)
        heapq.heappush(self._running, (self._done + cost, number, before, end))

    def _reach(self, number: int, place: int, pauses: bool) -> None:
        """Records that a trial has reached a rung or the end, and whether it pauses there."""
        epoch, at_end = self._shape.ends[place], place == len(self._shape.rungs)
        value = self._trials[number].worth + (END_SCATTER if at_end else SCATTER) * self._random.normal()
        self.curves[number][epoch] = value
        self.reached[place] += number not in self._shortened
        self._rungs.record(str(number), epoch, value, number)
        if pauses and not at_end:
            self._rungs.pause(str(number), epoch)
