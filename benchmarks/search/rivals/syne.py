"""Syne Tune: its schedulers, asked and called as its tuner does."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import numpy as np
from syne_tune import config_space
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer import baselines
from syne_tune.optimizer.scheduler import SchedulerDecision

from benchmarks.search.rivals.flat import FlatSpace, choices
from benchmarks.search.slots import RivalFactory, Task
from fer_tune.sweep import Sweep
from fer_tune.sweep.space import Choice, Range

WORST = 0.0
"""Accuracy that is reported for a training that diverged."""


class SyneTune:
    """A scheduler of Syne Tune with its defaults."""

    def __init__(self, sweep: Sweep, kind: str, seed: int) -> None:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        np.random.seed(seed)  # the library draws from the global generator
        self._flat, self._epochs = FlatSpace(sweep.space), sweep.budget.epochs
        space: dict[str, Any] = {name: _domain(parameter.domain) for name, parameter in self._flat.items()}
        self._scheduler: Any = getattr(baselines, kind)(
            space, metric="accuracy", time_attr="epoch", max_t=self._epochs, do_minimize=False, random_seed=seed
        )
        self._count = 0

    def next(self) -> Task | None:
        """Returns the trial that the scheduler suggests."""
        suggestion = self._scheduler.suggest()
        if suggestion is None:
            return None
        trial = Trial(self._count, suggestion.config, datetime.now(UTC))
        self._count += 1
        self._scheduler.on_trial_add(trial)
        return Task(trial.trial_id, self._flat.params(trial.config), self._epochs, trial)

    def report(self, task: Task, epoch: int, value: float) -> bool:
        """Reports an epoch. Returns whether the scheduler stops the trial."""
        if epoch == self._epochs:
            return False  # `ended` reports it
        decision = self._scheduler.on_trial_result(task.handle, {"accuracy": value, "epoch": epoch})
        self._last = value, epoch
        return bool(decision != SchedulerDecision.CONTINUE)

    def ended(self, task: Task, value: float | None, stopped: bool) -> None:
        """Reports the end of a trial."""
        if value is None:
            self._scheduler.on_trial_error(task.handle)
        elif stopped:
            self._scheduler.on_trial_remove(task.handle)
        else:
            self._scheduler.on_trial_complete(task.handle, {"accuracy": value, "epoch": self._epochs})


def _domain(domain: Any) -> Any:
    """Returns the domain of a column."""
    if isinstance(domain, Choice):
        return config_space.choice(choices(domain))
    assert isinstance(domain, Range)
    if domain.integer:
        made = config_space.lograndint if domain.log else config_space.randint
        return made(int(domain.low), int(domain.high))
    return (config_space.loguniform if domain.log else config_space.uniform)(domain.low, domain.high)


def _factory(kind: str) -> RivalFactory:
    return lambda sweep, seed, slots: SyneTune(sweep, kind, seed)


FACTORIES: dict[str, RivalFactory] = {
    "syne-tune asha": _factory("ASHA"),
    "syne-tune bohb": _factory("BOHB"),
}
