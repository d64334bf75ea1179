"""Optuna's median and percentile pruners, without reading all complete trials at each question."""

from __future__ import annotations

from bisect import insort
from math import floor, isnan, nan

from optuna.pruners import PercentilePruner
from optuna.pruners._percentile import _is_first_in_interval_step
from optuna.study import Study
from optuna.trial import FrozenTrial

from fer_tune.study.single_writer import SingleWriter

LISTS = 16
"""How many lists of complete trials a pruner keeps sorted."""


class OncePercentilePruner(PercentilePruner):
    """A PercentilePruner that keeps the values of complete trials, sorted, by epoch.

    It answers as Optuna's does, for a study that is maximised. The methods that it uses are private
    to Optuna, whose versions are bounded in pyproject.toml.
    """

    def __init__(self, percentile: float, **options: int) -> None:
        super().__init__(percentile, **options)
        self._kept: dict[int, _Values] = {}

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """As Optuna's."""
        storage = study._storage
        if not isinstance(storage, SingleWriter):
            return super().prune(study, trial)
        completed = self._of(storage.views.seen.completed)
        step = trial.last_step
        if completed.read == 0 or completed.read < self._n_startup_trials or step is None:
            return False
        if step < self._n_warmup_steps:
            return False
        steps = trial.intermediate_values.keys()
        if not _is_first_in_interval_step(step, steps, self._n_warmup_steps, self._interval_steps):
            return False
        reported = [value for value in trial.intermediate_values.values() if not isnan(value)]
        if not reported:
            return True
        limit = self._limit(completed.by_epoch.get(step, []))
        return not isnan(limit) and max(reported) < limit

    def _of(self, trials: list[FrozenTrial]) -> _Values:
        """Returns the values of these complete trials. It keeps those of the last lists that it was
        given: with a deterministic schedule, the trials of two rounds ask in turn."""
        if id(trials) not in self._kept:
            while len(self._kept) >= LISTS:
                del self._kept[next(iter(self._kept))]
            self._kept[id(trials)] = _Values(trials)
        found = self._kept[id(trials)]
        found.update()
        return found

    def _limit(self, values: list[float]) -> float:
        """Returns the value below which a trial is pruned; nan if none is.

        Args:
            values: of the complete trials at the same epoch, sorted.
        """
        return quantile(values, (100 - self._percentile) / 100) if len(values) >= self._n_min_trials else nan


class _Values:
    """The values of complete trials, sorted, by epoch.

    Args:
        trials: a list that only grows.
    """

    def __init__(self, trials: list[FrozenTrial]) -> None:
        self._trials = trials
        self.by_epoch: dict[int, list[float]] = {}
        self.read = 0

    def update(self) -> None:
        """Adds the trials that the list has more than before."""
        for trial in self._trials[self.read :]:
            for step, value in trial.intermediate_values.items():
                values = self.by_epoch.setdefault(step, [])
                if not isnan(value):
                    insort(values, value)
        self.read = len(self._trials)


def quantile(values: list[float], fraction: float) -> float:
    """Returns the quantile of sorted values, interpolated as NumPy does by default."""
    if not values:
        return nan
    place = (len(values) - 1) * fraction
    below = floor(place)
    low, high = values[below], values[min(below + 1, len(values) - 1)]
    share = place - below
    return high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share
