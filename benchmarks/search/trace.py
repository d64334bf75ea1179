"""What a search has found at which time of the simulation."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.search.simulator import Simulator
from fer_tune.job import Value


@dataclass
class Trace:
    """The incumbents of one search.

    The incumbent is the configuration with the highest accuracy that any of its epochs has had so
    far. Every search is judged by this rule, whatever it calls its best itself. Its worth is the
    configuration's true value: the best accuracy of its whole schedule, without noise.

    Attributes:
        times: when the incumbent changed, in seconds of the simulation.
        observed, true: the incumbents' observed and true values.
        epochs: how many were trained.
        jobs: how many configurations were started.
        own_seconds: processor time that the search itself took.
        facts: anything else that the search says about itself.
    """

    times: list[float] = field(default_factory=list)
    observed: list[float] = field(default_factory=list)
    true: list[float] = field(default_factory=list)
    epochs: int = 0
    jobs: int = 0
    own_seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def saw(self, simulator: Simulator, time: float, params: Mapping[str, Value], value: float) -> None:
        """Notes an epoch's accuracy."""
        self.epochs += 1
        if not self.observed or value > self.observed[-1]:
            self.times.append(time)
            self.observed.append(value)
            self.true.append(simulator.true_value(params))

    def at(self, time: float) -> float | None:
        """Returns the true value of the incumbent at a time, or None if there was none."""
        index = bisect_right(self.times, time)
        return self.true[index - 1] if index else None

    def steps(self) -> list[tuple[float, float]]:
        """Returns time and true value where the true value changes."""
        found: list[tuple[float, float]] = []
        for time, true in zip(self.times, self.true, strict=True):
            if not found or true != found[-1][1]:
                found.append((time, true))
        return found

    def as_dict(self) -> dict[str, Any]:
        """Returns what a result keeps."""
        steps = self.steps()
        return {
            "times": [round(time, 1) for time, _ in steps],
            "true": [round(true, 4) for _, true in steps],
            "jobs": self.jobs,
            "epochs": self.epochs,
            "own_seconds": round(self.own_seconds, 2),
            **self.facts,
        }
