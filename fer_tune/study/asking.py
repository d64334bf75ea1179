"""Asks a study for trials: from Optuna's queue, else drawn by the sampler, also ahead of time."""

from __future__ import annotations

from collections import deque

import optuna
from optuna.trial import Trial

from fer_tune.job import Value
from fer_tune.store import Store
from fer_tune.study.queue_entries import by_key, check_entry
from fer_tune.study.single_writer import SingleWriter
from fer_tune.study.telling import Telling
from fer_tune.study.trial_states import RETRY_OF, Proposal
from fer_tune.study.trial_writes import StaleError
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Choice, Domain, Fixed


class Asking(Telling):
    """Proposes trials. Those that are prepared are in memory only, until they are started."""

    def __init__(self, sweep: Sweep, store: Store, study: optuna.Study, storage: SingleWriter) -> None:
        super().__init__(sweep, store, study, storage)
        self._ready: deque[Proposal] = deque()
        self._poisoned: dict[int, str] = {}
        self._refused: list[tuple[int, str]] = []

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
        if self._storage.others.is_longer():
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
        says so only when the value is used, and `check_entry` after that. Such an entry is
        remembered as poisoned.
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
        space, entry = self.sweep.space, trial._fixed_params  # empty unless the trial is from the queue
        if entry:
            trial._fixed_params = by_key(space, entry)
        params: dict[str, Value] = {}
        for key, parameter in space.items():
            if parameter.active(params):
                params[parameter.name] = self._suggest(trial, key, parameter.domain)
        if entry and RETRY_OF not in trial.user_attrs:  # a trial that continues was checked when it began
            check_entry(space, entry, params)
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

    def _reread(self) -> None:
        """Reads all trials again. Optuna's objects of trials have keys of before, and go too."""
        self.forget_prepared()
        self._storage.reload()
        self._trials.clear()
