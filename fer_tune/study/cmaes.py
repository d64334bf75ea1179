"""CMA-ES whose state is computed from the study's trials, and never unpickled from the database.

Optuna's sampler keeps its optimizer as a pickle in the trials' attributes, and a pickle can run
code: whoever may write the database could run it in the next orchestrator. The state follows from
the trials, so it need not be kept.
"""

from __future__ import annotations

from typing import Any

from optuna.samplers import CmaEsSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial


class ReplayedCmaEsSampler(CmaEsSampler):
    """Optuna's CmaEsSampler with its optimizer in memory, remade in a new process from the
    completed trials.

    The mean, the step size and the covariance follow from the generations' values alone; the draws
    are seeded anew for each trial. Where workers finished a generation's trials out of order, and
    more of them than the population, the replay counts those with the lowest numbers, which an
    undisturbed study may not have done.
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
        """What is to be written to the database of the optimizer: nothing."""
        return {}
