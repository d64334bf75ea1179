"""CMA-ES that computes its state from the study's trials. It unpickles nothing from the database.

Optuna's sampler keeps its optimizer as a pickle in the trials' attributes. A pickle can run code,
so everybody who can write the database could run code in the next orchestrator. The state can be
computed from the trials, so it need not be kept.
"""

from __future__ import annotations

from typing import Any

from optuna.samplers import CmaEsSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


class ReplayedCmaEsSampler(CmaEsSampler):
    """Optuna's CmaEsSampler with its optimizer in memory.

    A new process computes the optimizer from the completed trials. The mean, the step size and the
    covariance depend only on the values of the generations. The draws are seeded again for each
    trial.

    There is one difference to an undisturbed study. A generation may have more completed trials
    than the population, finished out of order. The new process then uses those with the lowest
    numbers.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._optimizer: Any = None
        self._completed: list[FrozenTrial] = []

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        self._completed = completed_trials
        return self._optimizer

    def _init_optimizer(self, trans: Any, direction: StudyDirection) -> Any:
        optimizer = super()._init_optimizer(trans, direction)
        size = optimizer.population_size
        while len(solved := self._get_solution_trials(self._completed, optimizer.generation)) >= size:
            sign = 1 if direction == StudyDirection.MINIMIZE else -1
            optimizer.tell([(trans.transform(trial.params), sign * (trial.value or 0.0)) for trial in solved[:size]])
        self._optimizer = optimizer
        return optimizer

    def _split_optimizer_str(self, optimizer_str: str) -> dict[str, str]:
        """Returns what Optuna should write to the database for the optimizer, which is nothing."""
        return {}
