"""A study that this process runs: asks for trials, reports their epochs, tells how they ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import isfinite
from typing import Any, TypeVar

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy import column, delete, table

from fer_tune.data.spec import DataRef
from fer_tune.errors import StudyError, TakenOverError
from fer_tune.job import Value
from fer_tune.store import Store
from fer_tune.study import create_or_resume
from fer_tune.study.memory_constraint import MEMORY
from fer_tune.study.pruners import RUNG, make_pruner, warm_up
from fer_tune.study.samplers import make_sampler
from fer_tune.study.storage import optuna_storage
from fer_tune.study.trial_states import (
    ATTEMPT,
    PAUSED,
    PAUSED_AT,
    PLACE,
    REASON,
    REQUEUED_AS,
    RETRY_OF,
    START,
    Counts,
    Finished,
    Proposal,
    count,
    place_of,
    state_of,
)
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Choice, Domain, Fixed, keyed

T = TypeVar("T")

FIXED = "fixed_params"
"""System attribute in which Optuna keeps the parameters of an enqueued trial."""


class Study:
    """One study. The process must hold its `StudyLock` before it opens the study.

    Only one process may ask and tell, because Optuna's queue can give one trial to two processes.
    All methods wait for a locked database as long as the store's `Patience` says, and then raise
    StorageError. They raise TakenOverError if another process has told the trial meanwhile.
    """

    def __init__(self, sweep: Sweep, store: Store, study: optuna.Study) -> None:
        self.sweep = sweep
        self.store = store
        self.name = sweep.study
        self._study = study
        self._trials: dict[int, Trial] = {}
        self._answers: dict[int, tuple[int, bool]] = {}  # by number: the last reported epoch, and the answer to it

    @classmethod
    def open(cls, sweep: Sweep, store: Store, data: DataRef, counts: Mapping[str, int] | None = None) -> Study:
        """Creates or continues the sweep's study, and enqueues start configurations that are new.

        Args:
            data: the images and the split. All trials of a study have the same.
            counts: number of images in each part of the split, for the record.

        Raises:
            StudyError: the study was made from another sweep, other images or another split, or not
                by fer-tune. Or its sampler or pruner cannot be made.
            StorageError: the database does not work.
        """
        storage = optuna_storage(store)
        pruner = make_pruner(sweep.pruner, sweep.budget.epochs)
        record = create_or_resume.settle(sweep, store, storage, data, counts or {})
        inner = store.patiently(
            lambda: optuna.create_study(
                study_name=sweep.study, storage=storage, direction="maximize", pruner=pruner, load_if_exists=True
            )
        )
        study = cls(sweep, store, inner)
        inner.sampler = make_sampler(sweep, len(study._all()), study._place)
        create_or_resume.describe(inner, record, sweep.budget)
        study._enqueue_start()
        warm_up(inner)
        return study

    # asking -------------------------------------------------------------------------------------------------------

    def ask(self) -> Proposal:
        """Returns the next trial: one from the queue, else one that the sampler draws."""
        trial = self._begin()
        params: dict[str, Value] = {}
        for key, parameter in self.sweep.space.items():
            if parameter.active(params):
                params[parameter.name] = self._suggest(trial, key, parameter.domain)
        self._trials[trial.number] = trial
        return self._proposal(trial.number, params, trial.user_attrs)

    def _proposal(self, number: int, params: dict[str, Value], attrs: Mapping[str, Any]) -> Proposal:
        return Proposal(
            number=number,
            params=params,
            name=attrs.get(START),
            attempt=attrs.get(ATTEMPT, 0),
            seed=self._seed(self._place(number)),
        )

    def _begin(self) -> Trial:
        """Returns a trial that is now running, from Optuna's queue or new.

        Optuna needs several transactions for that. If the database fails in between, a trial may be
        running already. The next try takes this trial, which nobody would end otherwise.
        """
        tried = False

        def work() -> Trial:
            nonlocal tried
            begun = [trial for trial in self._running_trials() if trial.number not in self._trials] if tried else []
            tried = True
            return Trial(self._study, begun[0]._trial_id) if begun else self._study.ask()

        return self._patiently(work)

    def _suggest(self, trial: Trial, key: str, domain: Domain) -> Value:
        """Returns the trial's value of a parameter.

        Optuna returns enqueued values as they were written, so they are converted here.
        """
        if isinstance(domain, Fixed):
            return domain.value
        if isinstance(domain, Choice):
            value = self._patiently(lambda: trial.suggest_categorical(key, domain.choices))
            return domain.choices[domain.choices.index(value)]
        if domain.integer:
            low, high, step = int(domain.low), int(domain.high), int(domain.step or 1)
            return int(self._patiently(lambda: trial.suggest_int(key, low, high, step=step, log=domain.log)))
        return float(
            self._patiently(lambda: trial.suggest_float(key, domain.low, domain.high, step=domain.step, log=domain.log))
        )

    # telling ------------------------------------------------------------------------------------------------------

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
        self._patiently(lambda: trial.report(value, epoch))
        prune = self._patiently(trial.should_prune) and epoch < self.sweep.budget.epochs
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
        if infeasible > 0 and not self._frozen(number).state.is_finished():
            trial = self._running(number)
            if MEMORY not in self._patiently(lambda: trial.constraints):
                self._patiently(lambda: trial.set_constraint(MEMORY, infeasible))
            attrs[MEMORY] = infeasible  # optuna-dashboard shows no constraints
        self._end(number, TrialState.FAIL, attrs)

    def _end(self, number: int, state: TrialState, attrs: Mapping[str, Any], value: float | None = None) -> None:
        """Tells Optuna how a trial ended. Does nothing if the trial has ended already."""
        if self._frozen(number).state.is_finished():
            return
        trial = self._running(number)
        self._set_attrs(trial, attrs)
        self._patiently(lambda: self._study.tell(trial, value, state, skip_if_finished=True))
        self._trials.pop(number, None)
        self._answers.pop(number, None)

    def _set_attrs(self, trial: Trial, attrs: Mapping[str, Any]) -> None:
        for key, entry in attrs.items():
            if entry is not None and not (isinstance(entry, float) and not isfinite(entry)):  # JSON has no nan
                self._patiently(partial(trial.set_user_attr, key, entry))

    # paused trials ------------------------------------------------------------------------------------------------

    def pause(self, number: int, epoch: int, attrs: Mapping[str, Any] | None = None) -> None:
        """Records that a trial is paused at a rung. For Optuna it is running.

        Args:
            epoch: of the rung.
            attrs: user attributes to record.
        """
        # The mark comes last. Without it, the next run repeats the end of the trial.
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
        return [trial.number for trial in self._all() if state_of(trial) == "paused"]

    # interrupted trials -------------------------------------------------------------------------------------------

    def requeue(self, number: int, reason: str) -> int:
        """Enqueues the configuration of an interrupted trial again, and ends the interrupted trial.

        The new trial has the same name, parameters and position among the draws. Only the new trial
        counts towards the budget. After a crash at any point, a second call for the same trial
        completes the work.

        Returns:
            The new trial's number.

        Raises:
            StudyError: the trial has ended.
        """
        frozen = self._frozen(number)
        if frozen.state.is_finished():
            raise StudyError(f"Trial {number} of {self.name} has ended and cannot be queued again.")
        again = create_trial(
            state=TrialState.WAITING,
            system_attrs={FIXED: frozen.system_attrs.get(FIXED, {}) | frozen.params},
            user_attrs={key: frozen.user_attrs[key] for key in (START,) if key in frozen.user_attrs}
            | {
                RETRY_OF: number,
                ATTEMPT: frozen.user_attrs.get(ATTEMPT, 0) + 1,
                PLACE: self._place(number),
            },
        )

        def enqueue() -> None:
            if self._copy_of(number) is None:  # a crash, or a try that only seemed to fail, may have left one
                self._study.add_trial(again)

        self._patiently(enqueue)
        copy = self._copy_of(number)
        assert copy is not None
        self.store.jobs.renumber(self.name, number, copy, reason)
        self._forget_rungs(frozen)
        self._end(number, TrialState.FAIL, {REQUEUED_AS: copy, REASON: reason})
        return copy

    def reconcile(self, reason: str = "The orchestrator ended before the trial did.") -> list[int]:
        """Queues again the trials that a dead orchestrator left running.

        Call it once, before the first `ask`, in the process that holds the study's lock.

        Returns:
            The numbers of the interrupted trials.
        """
        left = [trial.number for trial in self._running_trials()]
        for number in left:
            self.requeue(number, reason)
        self.store.jobs.abandon_attempts(self.name, "search", reason)
        return left

    def _copy_of(self, number: int) -> int | None:
        return next((trial.number for trial in self._all() if trial.user_attrs.get(RETRY_OF) == number), None)

    def _forget_rungs(self, trial: FrozenTrial) -> None:
        """Removes an interrupted trial from successive halving, where it would compete with its
        copy.

        Optuna has no call for it. Its caches do not hold a trial that is still running.
        """
        attributes = table("trial_system_attributes", column("trial_id"), column("key"))
        of_trial = (attributes.c.trial_id == trial._trial_id) & attributes.c.key.startswith(RUNG)

        def work() -> None:
            with self.store.engine.begin() as tx:
                tx.execute(delete(attributes).where(of_trial))

        if any(key.startswith(RUNG) for key in trial.system_attrs):
            self._patiently(work)

    def finished(self) -> list[Finished]:
        """Returns the trials that are complete, pruned or failed."""
        over = [trial for trial in self._all() if trial.state.is_finished() and state_of(trial) != "requeued"]
        return [
            Finished(trial.number, state_of(trial), str(trial.user_attrs.get(REASON, "")), trial.value)
            for trial in over
        ]

    # counting -----------------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """Returns how many trials are in which state."""
        return count(self._all())

    # within -------------------------------------------------------------------------------------------------------

    def _enqueue_start(self) -> None:
        """Enqueues the start configurations that were not enqueued before.

        It compares their contents, so that the user can add some to a sweep.
        """
        known = [t.system_attrs[FIXED] for t in self._all() if FIXED in t.system_attrs and RETRY_OF not in t.user_attrs]
        for place, start in enumerate(self.sweep.start, 1):
            params = keyed(self.sweep.space, start.params)
            if params not in known:
                name = start.name or f"start {place}"
                self._patiently(partial(self._study.enqueue_trial, params, user_attrs={START: name}))
                known.append(params)

    def _running(self, number: int) -> Trial:
        """Returns Optuna's object of a running trial, even if another process asked for the trial.

        Raises:
            StudyError: the trial does not exist, or is not running.
        """
        if number not in self._trials:
            frozen = self._frozen(number)
            if frozen.state != TrialState.RUNNING:
                raise StudyError(f"Trial {number} of {self.name} is {state_of(frozen)}, not running.")
            self._trials[number] = self._patiently(lambda: Trial(self._study, frozen._trial_id))
            self._answers[number] = (frozen.last_step or 0, False)
        return self._trials[number]

    def _frozen(self, number: int) -> FrozenTrial:
        trials = self._all()
        if not 0 <= number < len(trials):
            raise StudyError(f"The study {self.name} has no trial {number}.")
        return trials[number]

    def _running_trials(self) -> list[FrozenTrial]:
        return [trial for trial in self._all() if state_of(trial) == "running"]

    def _seed(self, place: int) -> int:
        return (self.sweep.seed + place) % 2**32

    def _place(self, number: int) -> int:
        return place_of(self._all(), number)

    def _all(self) -> list[FrozenTrial]:
        """Returns all trials by number. Do not change them: they are not copies, because copying
        10,000 trials takes a second."""
        return self._patiently(lambda: self._study.get_trials(deepcopy=False))

    def _patiently(self, work: Callable[[], T]) -> T:
        try:
            return self.store.patiently(work)
        except optuna.exceptions.UpdateFinishedTrialError as error:  # another process has told it
            raise TakenOverError(self.name) from error
