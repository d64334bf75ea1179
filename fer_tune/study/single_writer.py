"""The storage through which a run uses Optuna: trials in memory, and writes in batches.

Only one process asks and tells; see docs/architecture.md. So this process knows every trial of its
study, and need not read what it wrote. Optuna's own storage reads all running trials at each
question to a pruner. The database has the same rows as with Optuna's own storage.

A trial that Optuna asked for is first a draft: it runs in memory, and the database does not know
it. `start` writes it.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from fer_tune.store import Store
from fer_tune.study.frozen_trials import (
    changed,
    copied,
    deleted_trial,
    frozen_trials,
    local_now,
    new_trial,
    provisional_id,
)
from fer_tune.study.look_back import LookBacks
from fer_tune.study.other_writers import OtherWriters
from fer_tune.study.study_storage import StudyStorage
from fer_tune.study.trial_memory import TrialMemory
from fer_tune.study.trial_states import RETRY_OF
from fer_tune.study.trial_writes import SYSTEM, USER, TrialWrites


class SingleWriter(StudyStorage):
    """Optuna's storage for one study that only this process writes.

    Args:
        backend: Optuna's own storage, for what belongs to the study and not to a trial.

    Attributes:
        others: what other programs changed.
        views: the trials as Optuna's samplers and pruners see them.
        drafts: by number, the trials that only memory knows, as they were in the queue before;
            None if they are new.
    """

    def __init__(self, store: Store, backend: RDBStorage, study: str) -> None:
        super().__init__(store, backend, study)
        self._writes = TrialWrites(store, study, self._id)
        self._distributions: dict[str, BaseDistribution] = {}
        self._early: set[tuple[int, int]] = set()
        self.others = OtherWriters(store, self._writes)
        self.drafts: dict[int, FrozenTrial | None] = {}
        self.views = LookBacks(TrialMemory())
        self.reload()

    @property
    def memory(self) -> TrialMemory:
        """The trials as they are."""
        return self.views.memory

    # beside Optuna's interface ------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Reads all trials from the database, and forgets drafts."""
        self._store.commit()
        self.drafts.clear()
        self._early.clear()
        found = frozen_trials(self._store, self._name)
        by_number = {trial.number: trial for trial in found}
        numbers = range(max(by_number, default=-1) + 1)
        self.views.replace(TrialMemory(by_number.get(number) or deleted_trial(number) for number in numbers))
        self.others.known(max((trial._trial_id for trial in found), default=0))
        for trial in found:
            self._distributions |= trial.distributions

    def look(self) -> bool:
        """Reads again what another process changed. Returns whether there was such a change.

        It looks at the state of each trial. Drafts are forgotten if there was a change.
        """
        self._store.commit()
        self.forget_drafts()
        by_others = self.others.changed(self.memory.by_state())
        if by_others:
            self.reload()
        return by_others

    def taken(self) -> list[int]:
        """Returns the numbers of running trials that another program ended or deleted.

        Call `reload` then.

        Raises:
            StudyError: another program deleted the study.
        """
        self._store.commit()
        running = [trial for trial in self.memory.of((TrialState.RUNNING,)) if trial.number not in self.drafts]
        return self.others.taken(running, self.memory.trials)

    def start(self, number: int) -> None:
        """Writes a draft to the database, where it then runs.

        Raises when it is committed:
            StaleError: see `TrialWrites`.
        """
        before = self.drafts.pop(number)
        trial = self.memory.trials[number]
        if before is not None:
            self._writes.start(before, trial)
        else:
            self._add(trial)

    def forget_drafts(self) -> None:
        """Gives up all drafts. Those from the queue wait again."""
        self.views.take_back(reversed(self.drafts.values()))
        self.drafts.clear()

    def write_early(self, number: int, step: int, value: float) -> None:
        """Writes the value of an epoch, which Optuna will report later.

        So the values of several trials share a transaction, and each trial is judged by what was
        known before its own epoch.
        """
        trial_id = self.memory.trials[number]._trial_id
        if (trial_id, step) not in self._early:
            self._early.add((trial_id, step))
            self._writes.report(trial_id, step, value)

    def forget_attributes(self, number: int, prefix: str) -> None:
        """Deletes the system attributes of a running trial whose keys begin with `prefix`."""
        trial = self.memory.trials[number]
        keys = [key for key in trial.system_attrs if key.startswith(prefix)]
        kept = {key: value for key, value in trial.system_attrs.items() if key not in keys}
        self._writes.forget(trial._trial_id, keys)
        self._put(trial, system_attrs=kept)

    def _add(self, trial: FrozenTrial) -> None:
        """Writes a new trial, whose key is known after the transaction."""

        def learn(key: int) -> None:
            self.others.added(key)
            self._put(self.memory.trials[trial.number], _trial_id=key)

        self._writes.add(trial, self.others.newest, learn)

    def _put(self, trial: FrozenTrial, **changes: Any) -> FrozenTrial:
        """Replaces a trial by one with other values."""
        now = changed(trial, **changes)
        self.views.put(now)
        return now

    # Optuna's interface: trials -----------------------------------------------------------------------------------

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Makes a draft. A trial that is given as a whole is written at once."""
        number = len(self.memory.trials)
        if template_trial is None:
            trial = new_trial(number)
            self.drafts[number] = None
        else:
            assert not self.drafts, "a draft has the number of the new trial"
            trial = copy.deepcopy(template_trial)
            trial.number, trial._trial_id = number, provisional_id(number)
        self.views.put(trial)
        if template_trial is not None:
            self._add(trial)
        return trial._trial_id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """As Optuna's."""
        trial = self._running(trial_id)
        known = self._distributions.setdefault(param_name, distribution)
        if known is not distribution:
            check_distribution_compatibility(known, distribution)
        if trial.number not in self.drafts:
            self._writes.set_param(trial._trial_id, param_name, param_value_internal, distribution)
        self._put(
            trial,
            params={**trial.params, param_name: distribution.to_external_repr(param_value_internal)},
            distributions={**trial.distributions, param_name: distribution},
        )

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """As Optuna's. It writes nothing if `write_early` has."""
        trial = self._running(trial_id)
        if (trial._trial_id, step) in self._early:
            self._early.discard((trial._trial_id, step))
        else:
            self._writes.report(trial._trial_id, step, intermediate_value)
        self._put(trial, intermediate_values={**trial.intermediate_values, step: intermediate_value})

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        trial = self._running(trial_id)
        if trial.number not in self.drafts:
            self._writes.set_attribute(USER, trial._trial_id, key, value)
        self._put(trial, user_attrs={**trial.user_attrs, key: value})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        trial = self._running(trial_id)
        if trial.number not in self.drafts:
            self._writes.set_attribute(SYSTEM, trial._trial_id, key, value)
        self._put(trial, system_attrs={**trial.system_attrs, key: value})

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As Optuna's. A trial of the queue that begins to run becomes a draft."""
        trial = self._running(trial_id)
        if state == TrialState.RUNNING:
            if trial.state != TrialState.WAITING:
                return False
            self.drafts[trial.number] = trial
            self._put(trial, state=state, datetime_start=local_now())
            return True
        changes: dict[str, Any] = {"state": state}
        if values is not None:
            changes["values"] = list(values)
        if state.is_finished():
            changes["datetime_complete"] = local_now()
        ended = self._put(trial, **changes)
        self._writes.end(ended, values)
        return True

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's, from memory. Optuna changes what it gets, so it gets a copy."""
        return copied(self.memory.of_id(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """As Optuna's, from memory. The queue is always the present one, and the trials that were
        interrupted come first."""
        if states == (TrialState.WAITING,):
            found = sorted(self.memory.of(states), key=lambda trial: RETRY_OF not in trial.user_attrs)
        else:
            found = self.views.seen.of(states)
        return copy.deepcopy(found) if deepcopy else found

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """As Optuna's, from memory."""
        if not 0 <= trial_number < len(self.memory.trials):
            raise KeyError(trial_number)
        return self.memory.trials[trial_number]._trial_id

    def _running(self, trial_id: int) -> FrozenTrial:
        """Returns a trial that may be changed."""
        trial = self.memory.of_id(trial_id)
        self.check_trial_is_updatable(trial_id, trial.state)
        return trial
