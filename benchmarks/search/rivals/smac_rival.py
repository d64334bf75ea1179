"""SMAC: its multi-fidelity facade, a random forest with Hyperband, through ask and tell."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from smac import MultiFidelityFacade, Scenario
from smac.runhistory.dataclasses import TrialValue
from smac.runhistory.enumerations import StatusType

from benchmarks.search.rivals.configspace import configuration_space
from benchmarks.search.rivals.flat import FlatSpace
from benchmarks.search.slots import RivalFactory, Task
from fer_tune.sweep import Sweep

TRIALS = 10_000
"""More than a study can start."""

INITIAL = 10
"""Random configurations before the model. SMAC's default of ten for each of 25 hyperparameters is
more than a shipped budget trains."""


class Smac:
    """SMAC's multi-fidelity facade with its defaults, except for `INITIAL`."""

    def __init__(self, sweep: Sweep, seed: int, slots: int) -> None:
        self._flat = FlatSpace(sweep.space)
        self._folder = tempfile.TemporaryDirectory(prefix="smac-")
        scenario = Scenario(
            configuration_space(sweep.space, self._flat, seed),
            deterministic=True,
            n_trials=TRIALS,
            min_budget=1,
            max_budget=sweep.budget.epochs,
            seed=seed,
            output_directory=Path(self._folder.name),
        )
        facade: Any = MultiFidelityFacade
        design = facade.get_initial_design(scenario, n_configs=INITIAL)
        self._smac: Any = facade(
            scenario, lambda config, seed, budget: 0.0, initial_design=design, overwrite=True, logging_level=False
        )
        logging.getLogger("smac").setLevel(logging.ERROR)
        self._keys: dict[Any, int] = {}

    def next(self) -> Task:
        """Returns the next configuration and its budget."""
        trial = self._smac.ask()
        key = self._keys.setdefault(trial.config, len(self._keys))
        return Task(key, self._flat.params(dict(trial.config)), max(1, round(trial.budget)), trial)

    def report(self, task: Task, epoch: int, value: float) -> bool:
        """Does nothing: SMAC hears of the last epoch only."""
        return False

    def ended(self, task: Task, value: float | None, stopped: bool) -> None:
        """Reports the cost of a configuration at its budget."""
        cost, status = (1.0, StatusType.CRASHED) if value is None else (1.0 - value, StatusType.SUCCESS)
        self._smac.tell(task.handle, TrialValue(cost=cost, time=0.0, status=status), save=False)


FACTORIES: dict[str, RivalFactory] = {"smac multi-fidelity": Smac}
