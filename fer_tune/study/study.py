"""A study that this process runs: asks for trials, reports their epochs, tells how they ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from fer_tune.data.spec import DataRef
from fer_tune.errors import StudyError, TakenOverError
from fer_tune.job import Value
from fer_tune.selection.cost import PlayedTrials, TrialPace
from fer_tune.store import Store
from fer_tune.study import create_or_resume
from fer_tune.study.asking import Asking
from fer_tune.study.look_back import OneTurn, Turns
from fer_tune.study.priors import prior_centres, prior_name
from fer_tune.study.pruners import RUNG, make_pruner, warm_up
from fer_tune.study.queue_entries import drawable
from fer_tune.study.rung_view import reached
from fer_tune.study.samplers import make_sampler
from fer_tune.study.single_writer import SingleWriter
from fer_tune.study.storage import optuna_backend, optuna_storage
from fer_tune.study.trial_states import (
    ATTEMPT,
    DRAWN,
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
from fer_tune.sweep.rung_levels import levels_of
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import keyed

FIXED = "fixed_params"
"""System attribute in which Optuna keeps the parameters of an enqueued trial."""


class Study(Asking):
    """One study. The process must hold its `StudyLock` before it opens the study.

    Only one process may ask and tell, because Optuna's queue can give one trial to two processes.
    So the trials are kept in memory, and are read again only by `reconcile` and `look`.

    What a method writes is one transaction, or joins the open batch of the store. All methods wait
    for a locked database as long as the store's `Patience` says, and then raise StorageError. What
    they write of a trial that another program ended or deleted is left out; see `taken`.
    """

    @classmethod
    def open(
        cls,
        sweep: Sweep,
        store: Store,
        data: DataRef,
        counts: Mapping[str, int] | None = None,
        note: Callable[[str], object] = lambda text: None,
    ) -> Study:
        """Creates or continues the sweep's study, and enqueues start configurations that are new.

        Args:
            data: the images and the split. All trials of a study have the same.
            counts: number of images in each part of the split, for the record.
            note: see `prior_centres`.

        Raises:
            StudyError: the study was made from another sweep, other images or another split, or not
                by fer-tune. Or its sampler or pruner cannot be made, or its prior is not there.
            StorageError: the database does not work.
        """
        shared = optuna_storage(store)
        pruner = make_pruner(sweep.pruner, sweep.budget.epochs)
        centres = prior_centres(sweep, store, note)  # before a study is made, because it may be refused
        record = create_or_resume.settle(sweep, store, shared, data, counts or {})
        store.patiently(
            lambda: optuna.create_study(
                study_name=sweep.study, storage=shared, direction="maximize", load_if_exists=True
            )
        )
        storage = SingleWriter(store, optuna_backend(store), sweep.study)
        inner = optuna.load_study(study_name=sweep.study, storage=storage, pruner=pruner)
        study = cls(sweep, store, inner, storage)
        inner.sampler = make_sampler(sweep, len(study._all()), study._place, centres)
        create_or_resume.describe(inner, storage, record, sweep.budget)
        study._enqueue_start(centres)
        warm_up(inner)
        return study

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

    # paused trials ------------------------------------------------------------------------------------------------

    def curves(self) -> list[dict[int, float]]:
        """Returns what the trials reached at the rungs and at the end of the schedule, by epoch.

        Trials that reached none of them are left out.
        """
        levels = levels_of(self.sweep)
        found = (reached(trial, levels) for trial in self._all() if trial.state != TrialState.FAIL)
        return [curve for curve in found if curve]

    def is_trusted(self, proposal: Proposal) -> bool:
        """Returns whether a trial has the prior's first configuration. It need not pause then."""
        return self._is_trusted(proposal.name)

    def _is_trusted(self, name: str | None) -> bool:
        prior, first = self.sweep.search.prior, prior_name(self.sweep)
        return prior is not None and prior.confidence != "low" and first is not None and name == first

    def rehearsed(self, pace: TrialPace, alone: bool) -> Callable[[np.random.Generator], PlayedTrials] | None:
        """Returns what makes the trials of a play of the search that is to come; None if too few
        trials were measured for that.

        Args:
            pace: of measured trials.
            alone: whether trials will be trained one at a time.
        """
        from fer_tune.study.rehearsal import Waiting, rehearsed  # a run does not need it

        waiting = []
        for trial in self._storage.memory.of((TrialState.WAITING,)):
            name, entry = str(trial.user_attrs.get(START, "")), trial.system_attrs.get(FIXED, trial.params)
            waiting.append(Waiting(name, drawable(self.sweep.space, entry), self._is_trusted(name)))
        centres = prior_centres(self.sweep, self.store)
        return rehearsed(self.sweep, centres, pace, waiting, place=len(self._all()), alone=alone)

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
        return self._storage.views.looking_back(known)

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
        return self._storage.others.lost

    def taken(self) -> list[int]:
        """Returns the numbers of running trials that another program ended or deleted meanwhile.

        Raises:
            StudyError: another program deleted the study.
            TakenOverError: another run queued such a trial again.
        """
        taken = self._storage.taken()
        if taken or self._storage.others.lost:
            self._reread()
        for number in taken:
            copy = self._frozen(number).user_attrs.get(REQUEUED_AS) if number < len(self._all()) else None
            if copy not in (None, number):  # only a run queues a trial again, and a deleted one has its own number
                raise TakenOverError(self.name)
        return taken

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
