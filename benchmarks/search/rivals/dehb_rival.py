"""DEHB: differential evolution with Hyperband, through ask and tell."""

from __future__ import annotations

import tempfile
from typing import Any

from dehb import DEHB

from benchmarks.search.rivals.configspace import configuration_space
from benchmarks.search.rivals.flat import FlatSpace
from benchmarks.search.slots import RivalFactory, Task
from fer_tune.sweep import Sweep


class Dehb:
    """DEHB with its defaults."""

    def __init__(self, sweep: Sweep, seed: int, slots: int) -> None:
        self._flat = FlatSpace(sweep.space)
        self._folder = tempfile.TemporaryDirectory(prefix="dehb-")
        space = configuration_space(sweep.space, self._flat, seed)
        self._dehb: Any = DEHB(
            cs=space,
            dimensions=len(list(space.values())),
            min_fidelity=1,
            max_fidelity=sweep.budget.epochs,
            n_workers=1,  # the simulation calls ask and tell itself, so no process is started
            seed=seed,
            output_path=self._folder.name,
            save_freq="end",
            log_level="ERROR",
        )

    def next(self) -> Task:
        """Returns the next configuration and its fidelity."""
        job = self._dehb.ask()
        return Task(job["config_id"], self._flat.params(dict(job["config"])), max(1, round(job["fidelity"])), job)

    def report(self, task: Task, epoch: int, value: float) -> bool:
        """Does nothing: DEHB hears of the last epoch only."""
        return False

    def ended(self, task: Task, value: float | None, stopped: bool) -> None:
        """Reports the error of a configuration at its fidelity."""
        self._dehb.tell(task.handle, {"fitness": 1.0 if value is None else 1.0 - value, "cost": float(task.until)})


FACTORIES: dict[str, RivalFactory] = {"dehb": Dehb}
