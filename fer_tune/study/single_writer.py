"""The storage through which a run uses Optuna: trials in memory, and writes in batches.

Only one process asks and tells; see docs/architecture.md. So this process knows every trial of its
study, and need not read what it wrote. Optuna's own storage reads all running trials at each
question to a pruner. The database has the same rows as with Optuna's own storage.

A trial that Optuna asked for is first a draft: it runs in memory, and the database does not know
it. `start` writes it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from fer_tune.store import Store
from fer_tune.study.frozen_trials import frozen_trials
from fer_tune.study.look_back import as_of, look_back
from fer_tune.study.trial_memory import TrialMemory
from fer_tune.study.trial_states import REQUEUED_AS, RETRY_OF
from fer_tune.study.trial_writes import SYSTEM, USER, TrialWrites

T = TypeVar("T")

VIEWS = 16
"""How many of its views a storage keeps. A search looks back from several rounds in turn."""


class SingleWriter(BaseStorage):
    """Optuna's storage for one study that only this process writes.

    Args:
        backend: Optuna's own storage, for what belongs to the study and not to a trial.

    Attributes:
        memory: the trials.
        drafts: by number, the trials that only memory knows, as they were in the queue before;
            None if they are new.
    """

    def __init__(self, store: Store, backend: RDBStorage, study: str) -> None:
        self._store, self._backend, self._name = store, backend, study
        self._id = store.patiently(lambda: backend.get_study_id_from_name(study))
        self._directions = store.patiently(lambda: backend.get_study_directions(self._id))
        self._writes = TrialWrites(store, study, self._id)
        self._distributions: dict[str, BaseDistribution] = {}
        self._early: set[tuple[int, int]] = set()
        self.drafts: dict[int, FrozenTrial | None] = {}
        self._views: dict[int, TrialMemory] = {}
        self._known: int | None = None
        self.reload()

    # beside Optuna's interface ------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Reads all trials from the database, and forgets drafts."""
        self._store.commit()
        self._discards = self._store.pending.discards
        self.drafts.clear()
        self._early.clear()
        found = frozen_trials(self._store, self._name)
        self._writes.lost.clear()
        by_number = {trial.number: trial for trial in found}
        numbers = range(max(by_number, default=-1) + 1)
        self._views.clear()
        self.memory = TrialMemory(by_number.get(number) or deleted_trial(number) for number in numbers)
        self._newest = max((trial._trial_id for trial in found), default=0)
        for trial in found:
            self._distributions |= trial.distributions

    @contextmanager
    def looking_back(self, known: int | None) -> Iterator[None]:
        """Shows Optuna the trials as they were at the end of round `known`.

        Args:
            known: None shows them as they are.
        """
        self._known = known
        try:
            yield
        finally:
            self._known = None

    @property
    def seen(self) -> TrialMemory:
        """The trials as Optuna's samplers and pruners see them now."""
        if self._known is None:
            return self.memory
        if self._known not in self._views:
            self._views[self._known] = look_back(self.memory, self._known)
            while len(self._views) > VIEWS:
                del self._views[next(iter(self._views))]
        return self._views[self._known]

    def _remember(self, trial: FrozenTrial) -> None:
        self.memory.put(trial)
        for known, view in self._views.items():
            view.put(as_of(trial, known, self.memory.trials))

    def look(self) -> bool:
        """Reads again what another process changed. Returns whether there was such a change.

        It looks at the state of each trial. Drafts are forgotten if there was a change.
        """
        self._store.commit()
        self.forget_drafts()
        if self._discards == self._store.pending.discards and self._writes.by_state() == self.memory.by_state():
            return False
        self.reload()
        return True

    def is_longer(self) -> bool:
        """Returns whether another program added or deleted trials, or writes were given up.

        Call `reload` then.

        Raises:
            StudyError: another program deleted the study.
        """
        newest = self._writes.newest()
        if newest < self._newest:
            self.require()
        return newest != self._newest or self._discards != self._store.pending.discards

    def require(self) -> None:
        """Refuses to continue if another program deleted the study.

        Raises:
            StudyError: it did.
        """
        if not self._writes.exists():
            raise self._writes.deleted()

    @property
    def lost(self) -> bool:
        """Whether a write was left out, because its trial does not run any more."""
        return bool(self._writes.lost)

    def taken(self) -> list[int]:
        """Returns the numbers of running trials that another program ended or deleted.

        Call `reload` then.

        Raises:
            StudyError: another program deleted the study.
        """
        self._store.commit()
        self.require()
        ours = [trial for trial in self.memory.of((TrialState.RUNNING,)) if trial.number not in self.drafts]
        running, lost = self._writes.running([trial._trial_id for trial in ours]), self._writes.lost
        taken = [trial for trial in ours if trial._trial_id not in running]
        # A trial that ended here too does not run in memory, but its writes were left out.
        taken += [trial for trial in self.memory.trials if trial._trial_id in lost and trial not in taken]
        return sorted(trial.number for trial in taken)

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
        for before in reversed(self.drafts.values()):
            if before is not None:
                self.memory.put(before)
            else:
                self.memory.pop()
        if self.drafts:
            self._views.clear()
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
            self._newest = max(self._newest, key)
            self._put(self.memory.trials[trial.number], _trial_id=key)

        self._writes.add(trial, self._newest, learn)

    def _put(self, trial: FrozenTrial, **changes: Any) -> FrozenTrial:
        """Replaces a trial by a changed copy."""
        changed = _copied(trial)
        for name, value in changes.items():
            setattr(changed, name, value)
        self._remember(changed)
        return changed

    # Optuna's interface: trials -----------------------------------------------------------------------------------

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Makes a draft. A trial that is given as a whole is written at once."""
        number = len(self.memory.trials)
        if template_trial is None:
            trial = _new(number)
            self.drafts[number] = None
        else:
            assert not self.drafts, "a draft has the number of the new trial"
            trial = copy.deepcopy(template_trial)
            trial.number, trial._trial_id = number, _provisional(number)
        self._remember(trial)
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
            self._put(trial, state=state, datetime_start=_now())
            return True
        changes: dict[str, Any] = {"state": state}
        if values is not None:
            changes["values"] = list(values)
        if state.is_finished():
            changes["datetime_complete"] = _now()
        ended = self._put(trial, **changes)
        self._writes.end(ended, values)
        return True

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's, from memory. Optuna changes what it gets, so it gets a copy."""
        return _copied(self.memory.of_id(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """As Optuna's, from memory. The queue is always the present one, and the trials that were
        interrupted come first."""
        if states == (TrialState.WAITING,):
            found = sorted(self.memory.of(states), key=lambda trial: RETRY_OF not in trial.user_attrs)
        else:
            found = self.seen.of(states)
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

    # Optuna's interface: the study --------------------------------------------------------------------------------

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """As Optuna's."""
        return self._now(lambda: self._backend.create_new_study(directions, study_name))

    def delete_study(self, study_id: int) -> None:
        """As Optuna's."""
        self._now(lambda: self._backend.delete_study(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self._now(lambda: self._backend.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self._now(lambda: self._backend.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        """As Optuna's."""
        return self._id if study_name == self._name else self._backend.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """As Optuna's."""
        return self._name if study_id == self._id else self._backend.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """As Optuna's."""
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """As Optuna's."""
        return self._now(lambda: self._backend.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """As Optuna's."""
        return self._now(lambda: self._backend.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[FrozenStudy]:
        """As Optuna's."""
        return self._now(self._backend.get_all_studies)

    def _now(self, work: Callable[[], T]) -> T:
        """Asks Optuna's own storage, after the writes that wait."""
        self._store.commit()
        return self._store.patiently(work)


def deleted_trial(number: int) -> FrozenTrial:
    """Returns a trial for a number whose trial another program deleted. It is not counted."""
    trial = _new(number)
    trial.state, trial.datetime_complete = TrialState.FAIL, trial.datetime_start
    trial.user_attrs = {REQUEUED_AS: number}
    return trial


def _copied(trial: FrozenTrial) -> FrozenTrial:
    """Returns a copy whose entries can be added and removed without changing the original."""
    made = object.__new__(FrozenTrial)
    made.__dict__.update((name, dict(kept) if type(kept) is dict else kept) for name, kept in trial.__dict__.items())
    return made


def _provisional(number: int) -> int:
    """Returns a key for a trial that the database does not know yet."""
    return -1 - number


def _now() -> datetime:
    """Returns the local time without a zone, which Optuna uses."""
    return datetime.now(UTC).astimezone().replace(tzinfo=None)


def _new(number: int) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=_now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=_provisional(number),
    )
