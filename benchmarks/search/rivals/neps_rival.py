"""NePS: its bracket optimizers, through its ask-and-tell interface."""

from __future__ import annotations

import logging
import random
from typing import Any

import neps
import numpy as np
import torch

from benchmarks.search.rivals.flat import FlatSpace, choices
from benchmarks.search.slots import RivalFactory, Task
from fer_tune.sweep import Sweep
from fer_tune.sweep.space import Choice, Parameter, Range

FIDELITY = "epochs"

WORST = 1.0
"""Error that is reported for a training that diverged."""


class Neps:
    """An optimizer of NePS. The first start configuration is its prior, if the sweep has one."""

    def __init__(self, sweep: Sweep, algorithm: str, seed: int, **options: Any) -> None:
        logging.getLogger("neps").setLevel(logging.ERROR)
        random.seed(seed)
        np.random.seed(seed)  # the library draws from the global generator
        torch.manual_seed(seed)
        self._flat = FlatSpace(sweep.space)
        prior = dict(sweep.start[0].params) if sweep.start and algorithm == "priorband" else {}
        columns = {
            name: _column(parameter, self._flat.column(parameter, prior)) for name, parameter in self._flat.items()
        }
        columns[FIDELITY] = neps.HPOInteger(1, sweep.budget.epochs, is_fidelity=True)
        made = getattr(neps.algorithms, algorithm)(neps.SearchSpace(columns), **options)
        self._optimizer = neps.AskAndTell(optimizer=made)

    def next(self) -> Task:
        """Returns the next configuration, or a continued one at a higher fidelity."""
        trial = self._optimizer.ask()
        key = str(trial.metadata.id).rpartition("_")[0] or str(trial.metadata.id)
        values = dict(trial.config)
        return Task(key, self._flat.params(values), int(values[FIDELITY]), trial)

    def report(self, task: Task, epoch: int, value: float) -> bool:
        """Does nothing: NePS hears of the last epoch only."""
        return False

    def ended(self, task: Task, value: float | None, stopped: bool) -> None:
        """Reports the error of a configuration at its fidelity."""
        self._optimizer.tell(task.handle, WORST if value is None else 1.0 - value)


def _column(parameter: Parameter, prior: Any) -> Any:
    """Returns the parameter of NePS for a column."""
    domain = parameter.domain
    given: dict[str, Any] = {} if prior is None else {"prior": prior, "prior_confidence": "medium"}
    if isinstance(domain, Choice):
        return neps.HPOCategorical(choices(domain), **given)
    assert isinstance(domain, Range)
    if domain.integer:
        return neps.HPOInteger(int(domain.low), int(domain.high), log=domain.log, **given)
    return neps.HPOFloat(domain.low, domain.high, log=domain.log, **given)


FACTORIES: dict[str, RivalFactory] = {
    "neps hyperband": lambda sweep, seed, slots: Neps(sweep, "hyperband", seed),
    "neps asha": lambda sweep, seed, slots: Neps(sweep, "asha", seed),
    "neps priorband": lambda sweep, seed, slots: Neps(sweep, "priorband", seed),
}
