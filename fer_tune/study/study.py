"""A study that this process runs: asks for trials, reports their epochs, tells how they ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from math import isfinite
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from fer_tune.data.spec import DataRef
from fer_tune.errors import StudyError, TakenOverError
from fer_tune.job import Value
from fer_tune.store import Store
from fer_tune.study import create_or_resume
from fer_tune.study.look_back import OneTurn, Turns
from fer_tune.study.priors import prior_centres, prior_name
from fer_tune.study.pruners import RUNG, make_pruner, warm_up
from fer_tune.study.rung_view import reached
from fer_tune.study.rungs import levels_of
from fer_tune.study.sampler_view import MEMORY
from fer_tune.study.samplers import make_sampler
from fer_tune.study.single_writer import SingleWriter
from fer_tune.study.storage import optuna_backend, optuna_storage
from fer_tune.study.trial_states import (
    ATTEMPT,
    DRAWN,
    PAUSED,
    PAUSED_AT,
    PLACE,
    REASON,
    REQUEUED_AS,
    RETRY_OF,
    START,
    TURNS,
    Counts,
    Finished,
    Proposal,
    state_of,
)
from fer_tune.study.trial_writes import StaleError
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Choice, Domain, Fixed, keyed

FIXED = "fixed_params"
"""System attribute in which Optuna keeps the parameters of an enqueued trial."""


class Study:
    """One study. The process must hold its `StudyLock` before it opens the study.

    Only one process may ask and tell, because Optuna's queue can give one trial to two processes.
    So the trials are kept in memory, and are read again only by `reconcile` and `look`.

    What a method writes is one transaction, or joins the open batch of the store. All methods wait
    for a locked database as long as the store's `Patience` says, and then raise StorageError. What
    they write of a trial that another program ended or deleted is left out; see `taken`.
    """

    def __init__(self, sweep: Sweep, store: Store, study: optuna.Study, storage: SingleWriter) -> None:
        self.sweep = sweep
        self.store = store
        self.name = sweep.study
        self._study = study
        self._storage = storage
        self._ready: deque[Proposal] = deque()
        self._poisoned: dict[int, str] = {}
        self._refused: list[tuple[int, str]] = []
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
        shared = optuna_storage(store)
        pruner = make_pruner(sweep.pruner, sweep.budget.epochs)
        record = create_or_resume.settle(sweep, store, shared, data, counts or {})
        store.patiently(
            lambda: optuna.create_study(
                study_name=sweep.study, storage=shared, direction="maximize", load_if_exists=True
            )
        )
        storage = SingleWriter(store, optuna_backend(store), sweep.study)
        inner = optuna.load_study(study_name=sweep.study, storage=storage, pruner=pruner)
        study = cls(sweep, store, inner, storage)
        centres = prior_centres(sweep, store)
        inner.sampler = make_sampler(sweep, len(study._all()), study._place, centres)
        create_or_resume.describe(inner, record, sweep.budget)
        study._enqueue_start(centres)
        warm_up(inner)
        return study

    # asking -------------------------------------------------------------------------------------------------------

    def ask(self) -> Proposal:
        """Returns the next trial, which runs from now on: one from the queue, else one that the
        sampler draws."""
        self.store.commit()
        while True:
            with self.store.batch():
                proposal = self.propose()
                if self.start(proposal):
                    return proposal

    def propose(self) -> Proposal:
        """Returns the next trial. It may have been prepared.

        What another process put into the queue comes first. An entry of the queue that is not valid
        fails, which is all that this writes.
        """
        if self._storage.is_longer():
            self._reread()
        proposal = self._ready.popleft() if self._ready else self._draw()
        self._refuse_poisoned()
        return proposal

    def prepare(self) -> None:
        """Asks for a trial ahead of time, so that `propose` need not.

        The draw lacks the results that come between `prepare` and `propose`. The trial is only in
        memory. If it is never started, it leaves no trace.
        """
        self._ready.append(self._draw())

    @property
    def prepared(self) -> int:
        """Number of trials that are prepared."""
        return len(self._ready)

    def start(self, proposal: Proposal) -> bool:
        """Records that a proposed trial runs, and commits it with what waits in the store's batch.

        Returns:
            False if another process changed the queue meanwhile. Then nothing is recorded, and
            what waited is given up.
        """
        try:
            with self.store.batch():
                self._storage.start(proposal.number)
                self.store.commit()
        except StaleError:
            self.store.pending.discard()
            self._reread()
            return False
        return True

    def forget_prepared(self) -> None:
        """Gives up the trials that are prepared. Those from the queue wait again."""
        for number in self._storage.drafts:
            self._trials.pop(number, None)
        self._ready.clear()
        self._poisoned.clear()
        self._refused.clear()
        self._storage.forget_drafts()

    def _draw(self) -> Proposal:
        """Returns a trial that runs in memory only.

        Other programs may put anything into Optuna's queue, such as a text for a number. Optuna
        says so only when the value is used. Such an entry is remembered as poisoned.
        """
        while True:
            trial = self._study.ask()
            self._trials[trial.number] = trial
            try:
                return self._proposal(trial.number, self._params(trial), trial.user_attrs)
            except (ValueError, TypeError, AttributeError, OverflowError, KeyError) as error:
                if self._storage.drafts.get(trial.number) is None:
                    raise  # not from the queue: an error of the sampler, or of fer-tune
                self._poisoned[trial.number] = f"its entry in Optuna's queue is not valid: {error}"

    def _params(self, trial: Trial) -> dict[str, Value]:
        params: dict[str, Value] = {}
        for key, parameter in self.sweep.space.items():
            if parameter.active(params):
                params[parameter.name] = self._suggest(trial, key, parameter.domain)
        return params

    def _refuse_poisoned(self) -> None:
        for number, reason in self._poisoned.items():
            with self.store.batch():
                self._storage.start(number)
                self.fail(number, reason)
            self._refused.append((number, reason))
        self._poisoned.clear()

    def refused(self) -> list[tuple[int, str]]:
        """Returns number and reason of each poisoned entry that has failed since the last call."""
        refused, self._refused = self._refused, []
        return refused

    def _proposal(self, number: int, params: dict[str, Value], attrs: Mapping[str, Any]) -> Proposal:
        return Proposal(
            number=number,
            params=params,
            name=attrs.get(START),
            attempt=attrs.get(ATTEMPT, 0),
            seed=self._seed(self._place(number)),
            queued=self._storage.drafts.get(number) is not None,
        )

    def _suggest(self, trial: Trial, key: str, domain: Domain) -> Value:
        """Returns the trial's value of a parameter.

        Optuna returns enqueued values as they were written, so they are converted here.
        """
        if isinstance(domain, Fixed):
            return domain.value
        if isinstance(domain, Choice):
            value = trial.suggest_categorical(key, domain.choices)
            return domain.choices[domain.choices.index(value)]
        if domain.integer:
            low, high, step = int(domain.low), int(domain.high), int(domain.step or 1)
            return int(trial.suggest_int(key, low, high, step=step, log=domain.log))
        return float(trial.suggest_float(key, domain.low, domain.high, step=domain.step, log=domain.log))

    # telling ------------------------------------------------------------------------------------------------------

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
            self._study.tell(trial, value, state)
        self._trials.pop(number, None)
        self._answers.pop(number, None)

    def _set_attrs(self, trial: Trial, attrs: Mapping[str, Any]) -> None:
        for key, entry in attrs.items():
            if entry is not None and not (isinstance(entry, float) and not isfinite(entry)):  # JSON has no nan
                trial.set_user_attr(key, entry)

    # paused trials ------------------------------------------------------------------------------------------------

    def pause(self, number: int, epoch: int, attrs: Mapping[str, Any] | None = None) -> None:
        """Records that a trial is paused at a rung. For Optuna it is running.

        Args:
            epoch: of the rung.
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

    def curves(self) -> list[dict[int, float]]:
        """Returns what the trials reached at the rungs and at the end of the schedule, by epoch.

        Trials that reached none of them are left out.
        """
        levels = levels_of(self.sweep)
        found = (reached(trial, levels) for trial in self._all() if trial.state != TrialState.FAIL)
        return [curve for curve in found if curve]

    def is_trusted(self, proposal: Proposal) -> bool:
        """Returns whether a trial has the prior's first configuration. It need not pause then."""
        prior, first = self.sweep.search.prior, prior_name(self.sweep)
        return prior is not None and prior.confidence != "low" and first is not None and proposal.name == first

    def keep(self, name: str, value: Any) -> None:
        """Keeps JSON-able data as a user attribute of Optuna's study."""
        self._study.set_user_attr(name, value)

    def kept(self, name: str) -> Any:
        """Returns what was kept under this name, or None."""
        return self._study.user_attrs.get(name)

    # turns: see look_back -----------------------------------------------------------------------------------------

    def looking_back(self, known: int | None) -> AbstractContextManager[None]:
        """Lets sampler and pruner see the trials as they were at the end of a round; None shows
        them as they are."""
        return self._storage.looking_back(known)

    def take_turn(self, number: int, turn: OneTurn) -> None:
        """Records the turn that a trial begins."""
        trial = self._frozen(number)
        self._storage.set_trial_user_attr(trial._trial_id, TURNS, [*trial.user_attrs.get(TURNS, ()), turn])

    def turns(self) -> dict[int, Turns]:
        """Returns the turns of each trial that has some and was not queued again, by number."""
        trials = [trial for trial in self._all() if TURNS in trial.user_attrs and REQUEUED_AS not in trial.user_attrs]
        return {trial.number: trial.user_attrs[TURNS] for trial in trials}

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
        if self._frozen(number).state.is_finished():
            raise StudyError(f"Trial {number} of {self.name} has ended and cannot be queued again.")
        self.store.commit()
        while True:
            self.forget_prepared()
            with self.store.batch():
                copy = self._requeue(self._frozen(number), reason)
                try:
                    self.store.commit()
                    return copy
                except StaleError:
                    self.store.pending.discard()
                    self._reread()

    def _requeue(self, frozen: FrozenTrial, reason: str) -> int:
        number = frozen.number
        copy = self._storage.memory.copy_of(number)  # an older version may have left one without ending the trial
        if copy is None:
            copy = len(self._all())
            self._study.add_trial(
                create_trial(
                    state=TrialState.WAITING,
                    system_attrs={FIXED: frozen.system_attrs.get(FIXED, {}) | frozen.params},
                    user_attrs={
                        key: frozen.user_attrs[key] for key in (START, DRAWN, TURNS) if key in frozen.user_attrs
                    }
                    | {
                        RETRY_OF: number,
                        ATTEMPT: frozen.user_attrs.get(ATTEMPT, 0) + 1,
                        PLACE: self._place(number),
                    },
                )
            )
        self.store.jobs.renumber(self.name, number, copy, reason)
        self._storage.forget_attributes(number, RUNG)  # it would compete with its copy for them
        self._end(number, TrialState.FAIL, {REQUEUED_AS: copy, REASON: reason})
        return copy

    def reconcile(self, reason: str = "The orchestrator ended before the trial did.") -> list[int]:
        """Queues again the trials that a dead orchestrator left running.

        Call it once, before the first `ask`, in the process that holds the study's lock.

        Returns:
            The numbers of the interrupted trials.
        """
        self.look()
        left = [
            trial.number for trial in self._storage.memory.of((TrialState.RUNNING,)) if not self.is_paused(trial.number)
        ]
        for number in left:
            self.requeue(number, reason)
        self.store.jobs.abandon_attempts(self.name, "search", reason)
        return left

    @property
    def lost(self) -> bool:
        """Whether a write was left out, because its trial does not run any more; see `taken`."""
        return self._storage.lost

    def taken(self) -> list[int]:
        """Returns the numbers of running trials that another program ended or deleted meanwhile.

        Raises:
            StudyError: another program deleted the study.
            TakenOverError: another run queued such a trial again.
        """
        taken = self._storage.taken()
        if taken or self._storage.lost:
            self._reread()
        for number in taken:
            copy = self._frozen(number).user_attrs.get(REQUEUED_AS) if number < len(self._all()) else None
            if copy not in (None, number):  # only a run queues a trial again, and a deleted one has its own number
                raise TakenOverError(self.name)
        return taken

    def _reread(self) -> None:
        """Reads all trials again. Optuna's objects of trials have keys of before, and go too."""
        self.forget_prepared()
        self._storage.reload()
        self._trials.clear()

    def look(self) -> None:
        """Reads the trials again if another process changed the state of one."""
        self.forget_prepared()
        if self._storage.look():
            self._trials.clear()

    def ended(self, number: int) -> Finished | None:
        """Returns how a trial ended, or None if it has not, was queued again, or was deleted."""
        if number >= len(self._all()):
            return None
        trial = self._frozen(number)
        state = state_of(trial)
        if not trial.state.is_finished() or state == "requeued":
            return None
        return Finished(number, state, str(trial.user_attrs.get(REASON, "")), trial.value)

    # counting -----------------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """Returns how many trials are in which state. Those that are prepared do not run."""
        counts, drafts = self._storage.memory.counts(), self._storage.drafts
        queued = sum(before is not None for before in drafts.values())
        return replace(counts, running=counts.running - len(drafts), waiting=counts.waiting + queued)

    # within -------------------------------------------------------------------------------------------------------

    def _enqueue_start(self, centres: Sequence[Mapping[str, Value]]) -> None:
        """Enqueues the start configurations that were not enqueued before, and the first of a prior
        from another study.

        It compares their contents, so that the user can add some to a sweep.

        Args:
            centres: the configurations of the prior, by key.
        """
        prior, name = self.sweep.search.prior, prior_name(self.sweep)
        missing = all(trial.user_attrs.get(START) != name for trial in self._all())
        if prior is not None and prior.study is not None and centres and missing:
            self._study.enqueue_trial(dict(centres[0]), user_attrs={START: name})
        known = [t.system_attrs[FIXED] for t in self._all() if FIXED in t.system_attrs and RETRY_OF not in t.user_attrs]
        with self.store.batch():
            for place, start in enumerate(self.sweep.start, 1):
                params = keyed(self.sweep.space, start.params)
                if params not in known:
                    name = start.name or f"start {place}"
                    self._study.enqueue_trial(params, user_attrs={START: name})
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
