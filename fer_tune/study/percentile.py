"""Optuna's median and percentile pruners, without reading all complete trials at each question."""

from __future__ import annotations

from bisect import insort
from math import floor, isnan, nan

from optuna.pruners import PercentilePruner
from optuna.pruners._percentile import _is_first_in_interval_step
from optuna.study import Study
from optuna.trial import FrozenTrial

from fer_tune.study.single_writer import SingleWriter


class OncePercentilePruner(PercentilePruner):
    """A PercentilePruner that keeps the values of complete trials, sorted, by epoch.

    It answers as Optuna's does, for a study that is maximised. The methods that it uses are private
    to Optuna, whose versions are bounded in pyproject.toml.
    """

    def __init__(self, percentile: float, **options: int) -> None:
        super().__init__(percentile, **options)
        self._values: dict[int, list[float]] = {}
        self._seen: list[FrozenTrial] = []
        self._read = 0

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """As Optuna's."""
        storage = study._storage
        if not isinstance(storage, SingleWriter):
            return super().prune(study, trial)
        self._update(storage.memory.completed)
        step = trial.last_step
        if self._read == 0 or self._read < self._n_startup_trials or step is None or step < self._n_warmup_steps:
            return False
        steps = trial.intermediate_values.keys()
        if not _is_first_in_interval_step(step, steps, self._n_warmup_steps, self._interval_steps):
            return False
        reported = [value for value in trial.intermediate_values.values() if not isnan(value)]
        if not reported:
            return True
        limit = self._limit(step)
        return not isnan(limit) and max(reported) < limit

    def _update(self, completed: list[FrozenTrial]) -> None:
        if completed is not self._seen:  # the study was read again
            self._values, self._seen, self._read = {}, completed, 0
        for trial in completed[self._read :]:
            for step, value in trial.intermediate_values.items():
                values = self._values.setdefault(step, [])
                if not isnan(value):
                    insort(values, value)
        self._read = len(completed)

    def _limit(self, step: int) -> float:
        """Returns the value at this epoch below which a trial is pruned; nan if none is."""
        values = self._values.get(step, [])
        return quantile(values, (100 - self._percentile) / 100) if len(values) >= self._n_min_trials else nan


def quantile(values: list[float], fraction: float) -> float:
    """Returns the quantile of sorted values, interpolated as NumPy does by default."""
    if not values:
        return nan
    place = (len(values) - 1) * fraction
    below = floor(place)
    low, high = values[below], values[min(below + 1, len(values) - 1)]
    share = place - below
    return high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share
