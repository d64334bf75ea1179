"""A view of a study that shows samplers other trials than the database has."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class StudyView:
    """Base class of views. A subclass defines `shown`. Everything else is the study's.

    Optuna's Hyperband shows samplers a similar view.
    """

    def __init__(self, study: Study) -> None:
        self._study = study

    def shown(self, deepcopy: bool, use_cache: bool) -> list[FrozenTrial]:
        """Returns the trials of the view. The arguments are those of Optuna's `_get_trials`."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """As Optuna's."""
        return self._get_trials(deepcopy, states)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """Returns the trials in these states. All of Optuna's samplers call this method."""
        return [trial for trial in self.shown(deepcopy, use_cache) if states is None or trial.state in states]
