"""The trials of a study that this process runs, as Optuna's objects and as this project's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from fer_tune.errors import StudyError
from fer_tune.job import Value
from fer_tune.store import Store
from fer_tune.study.single_writer import SingleWriter
from fer_tune.study.trial_states import ATTEMPT, START, Proposal, state_of
from fer_tune.sweep.schema import Sweep


class LiveTrials:
    """The trials of one study. `Telling`, `Asking` and `Study` add what can be done with them."""

    def __init__(self, sweep: Sweep, store: Store, study: optuna.Study, storage: SingleWriter) -> None:
        self.sweep = sweep
        self.store = store
        self.name = sweep.study
        self._study = study
        self._storage = storage
        self._trials: dict[int, Trial] = {}
        self._answers: dict[int, tuple[int, bool]] = {}  # by number: the last reported epoch, and the answer to it

    def _proposal(self, number: int, params: dict[str, Value], attrs: Mapping[str, Any]) -> Proposal:
        return Proposal(
            number=number,
            params=params,
            name=attrs.get(START),
            attempt=attrs.get(ATTEMPT, 0),
            seed=self._seed(self._place(number)),
            queued=self._storage.drafts.get(number) is not None,
        )

    def _running(self, number: int) -> Trial:
        """Returns Optuna's object of a running trial, even if another process asked for the trial.

        Raises:
            StudyError: the trial does not exist, or is not running.
        """
        if number not in self._trials:
            frozen = self._frozen(number)
            if frozen.state != TrialState.RUNNING:
                raise StudyError(f"Trial {number} of {self.name} is {state_of(frozen)}, not running.")
            self._trials[number] = Trial(self._study, frozen._trial_id)
            self._answers[number] = (frozen.last_step or 0, False)
        return self._trials[number]

    def _frozen(self, number: int) -> FrozenTrial:
        trials = self._all()
        if not 0 <= number < len(trials):
            raise StudyError(f"The study {self.name} has no trial {number}.")
        return trials[number]

    def _seed(self, place: int) -> int:
        return (self.sweep.seed + place) % 2**32

    def _place(self, number: int) -> int:
        return self._storage.memory.place_of(number)

    def _all(self) -> list[FrozenTrial]:
        """Returns all trials by number. Do not change them: they are not copies."""
        return self._storage.memory.trials
