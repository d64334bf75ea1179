"""Tells a study what its trials reached, how they ended, and that they paused."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from optuna.study._tell import _tell_with_warning
from optuna.trial import Trial, TrialState

from fer_tune.errors import StudyError
from fer_tune.job import Value
from fer_tune.study.live_trials import LiveTrials
from fer_tune.study.sampler_view import MEMORY
from fer_tune.study.trial_states import PAUSED, PAUSED_AT, REASON, Proposal


class Telling(LiveTrials):
    """Records epochs, asks the pruner, and ends, pauses and promotes trials."""

    def record(self, number: int, epoch: int, value: float) -> None:
        """Writes an epoch's objective, which `report` judges after the next commit."""
        self._running(number)
        last, _ = self._answers.get(number, (0, False))
        if epoch > last and isfinite(value):
            self._storage.write_early(number, epoch, value)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Reports an epoch's objective. Returns whether the trial should be pruned.

        It asks the pruner once for each epoch, because successive halving answers a second question
        differently. An epoch that was reported before gets its former answer. A trial is never
        pruned in its last epoch, because that would save nothing. A value that is not finite is not
        reported, and the answer is True.
        """
        trial = self._running(number)
        last, answer = self._answers.get(number, (0, False))
        if epoch <= last:
            return answer
        if not isfinite(value):
            return True
        trial.report(value, epoch)
        prune = trial.should_prune() and epoch < self.sweep.budget.epochs
        self._answers[number] = (epoch, prune)
        return prune

    def complete(self, number: int, value: float, attrs: Mapping[str, Any] | None = None) -> None:
        """Tells Optuna that a trial is complete.

        Args:
            value: the objective of the best epoch.
            attrs: user attributes to record.

        Raises:
            StudyError: the value is not finite, or the trial does not exist.
        """
        if not isfinite(value):
            raise StudyError(f"Trial {number} of {self.name} cannot be complete with the value {value}.")
        self._end(number, TrialState.COMPLETE, attrs or {}, value)

    def prune(self, number: int, reason: str, attrs: Mapping[str, Any] | None = None) -> None:
        """Tells Optuna that a trial was pruned. Its value is the one that was reported last."""
        self._end(number, TrialState.PRUNED, {**(attrs or {}), REASON: reason})

    def fail(self, number: int, reason: str, attrs: Mapping[str, Any] | None = None, infeasible: float = 0.0) -> None:
        """Tells Optuna that a trial failed. It counts towards the budget.

        Args:
            infeasible: 0, or the fraction by which the trial's need of memory exceeds the device's.
                The sampler learns from it.
        """
        attrs = {**(attrs or {}), REASON: reason}
        with self.store.batch():
            if infeasible > 0 and not self._frozen(number).state.is_finished():
                trial = self._running(number)
                if MEMORY not in trial.constraints:
                    trial.set_constraint(MEMORY, infeasible)
                attrs[MEMORY] = infeasible  # optuna-dashboard shows no constraints
            self._end(number, TrialState.FAIL, attrs)

    def _end(self, number: int, state: TrialState, attrs: Mapping[str, Any], value: float | None = None) -> None:
        """Tells Optuna how a trial ended. Does nothing if the trial has ended already."""
        if self._frozen(number).state.is_finished():
            return
        trial = self._running(number)
        with self.store.batch():
            self._set_attrs(trial, attrs)
            # As `Study.tell`, which also makes a deep copy of the trial.
            _tell_with_warning(self._study, trial, value, state)
        self._trials.pop(number, None)
        self._answers.pop(number, None)

    def _set_attrs(self, trial: Trial, attrs: Mapping[str, Any]) -> None:
        for key, entry in attrs.items():
            if entry is not None and not (isinstance(entry, float) and not isfinite(entry)):  # JSON has no nan
                trial.set_user_attr(key, entry)

    def pause(self, number: int, epoch: int | None, attrs: Mapping[str, Any] | None = None) -> None:
        """Records that a trial is paused. For Optuna it is running.

        Args:
            epoch: of the rung where it is paused; None if it was cut off before one.
            attrs: user attributes to record.
        """
        with self.store.batch():
            self._set_attrs(self._running(number), {**(attrs or {}), PAUSED_AT: epoch, PAUSED: True})
        self._trials.pop(number, None)
        self._answers.pop(number, None)

    def promote(self, number: int, params: dict[str, Value]) -> Proposal:
        """Records that a paused trial continues, and returns it.

        Args:
            params: its hyperparameters, which the caller has recorded.
        """
        self._set_attrs(self._running(number), {PAUSED: False})
        return self._proposal(number, params, self._frozen(number).user_attrs)

    def paused(self) -> list[int]:
        """Returns the numbers of the paused trials."""
        return sorted(self._storage.memory.paused)

    def is_paused(self, number: int) -> bool:
        """Returns whether a trial is paused."""
        return number in self._storage.memory.paused
