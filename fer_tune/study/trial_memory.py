"""All trials of a study in memory, with tallies, so that no question costs more in a long study."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Iterable
from heapq import merge

from optuna.trial import FrozenTrial, TrialState

from fer_tune.study.trial_states import PAUSED, PLACE, REQUEUED_AS, RETRY_OF, Counts


class TrialMemory:
    """The trials of a study by number. A trial is replaced when it changes, and never altered.

    Attributes:
        trials: all trials, by number.
        completed: complete trials in the order in which they became so. It only grows.
        paused: the numbers of paused trials, which Optuna calls running.
    """

    def __init__(self, trials: Iterable[FrozenTrial] = ()) -> None:
        self.trials: list[FrozenTrial] = []
        self.completed: list[FrozenTrial] = []
        self.paused: set[int] = set()
        self._numbers: dict[int, int] = {}
        self._by_state: dict[TrialState, list[int]] = {state: [] for state in TrialState}
        self._copies: dict[int, int] = {}
        self._placed: list[int] = []
        self._requeued = 0
        self._ranked: list[tuple[float, int]] = []
        for trial in trials:
            self.put(trial)

    def put(self, trial: FrozenTrial) -> None:
        """Adds the next trial, or replaces one."""
        number, before = trial.number, None
        if number < len(self.trials):
            before = self.trials[number]
            self.trials[number] = trial
        else:
            assert number == len(self.trials), "a trial is missing"
            self.trials.append(trial)
            if RETRY_OF in trial.user_attrs:
                self._copies.setdefault(int(trial.user_attrs[RETRY_OF]), number)
            if PLACE in trial.user_attrs:
                self._placed.append(number)
        self._numbers[trial._trial_id] = number
        if trial.state == TrialState.RUNNING and trial.user_attrs.get(PAUSED):
            self.paused.add(number)
        else:
            self.paused.discard(number)
        if before is None or before.state != trial.state:
            if before is not None:
                self._leave(before)
            insort(self._by_state[trial.state], number)
            self._requeued += _is_requeued(trial)
            if trial.state == TrialState.COMPLETE and trial.value is not None:
                self.completed.append(trial)
                insort(self._ranked, (-trial.value, number))

    def pop(self) -> None:
        """Removes the last trial."""
        trial = self.trials.pop()
        self._leave(trial)
        del self._numbers[trial._trial_id]

    def _leave(self, trial: FrozenTrial) -> None:
        numbers = self._by_state[trial.state]
        del numbers[bisect_left(numbers, trial.number)]
        self._requeued -= _is_requeued(trial)

    def of_id(self, trial_id: int) -> FrozenTrial:
        """Returns the trial with this key in Optuna's tables.

        Raises:
            KeyError: there is none.
        """
        return self.trials[self._numbers[trial_id]]

    def of(self, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """Returns the trials in one of the states, or all, by number."""
        if states is None:
            return self.trials.copy()
        numbers = [found for state, found in self._by_state.items() if state in states and found]
        return [self.trials[number] for number in (numbers[0] if len(numbers) == 1 else merge(*numbers))]

    def notable(self, best: int, latest: int) -> list[FrozenTrial]:
        """Returns the best complete trials and the latest of all trials that have ended, by number.

        Trials that have not ended are included.
        """
        chosen = {number for _, number in self._ranked[:best]}
        for state in (TrialState.RUNNING, TrialState.WAITING):
            chosen.update(self._by_state[state])
        ended = 0
        for trial in reversed(self.trials):
            if trial.state.is_finished():
                ended += 1
                chosen.add(trial.number)
                if ended == latest:
                    break
        return [self.trials[number] for number in sorted(chosen)]

    def copy_of(self, number: int) -> int | None:
        """Returns the number of the trial that continues an interrupted one, or None."""
        return self._copies.get(number)

    def place_of(self, number: int) -> int:
        """Returns the position of a trial among the draws of its study.

        It is the number that the trial would have if no trial had been requeued.
        """
        attrs = self.trials[number].user_attrs
        return int(attrs[PLACE]) if PLACE in attrs else number - bisect_left(self._placed, number)

    def counts(self) -> Counts:
        """Returns how many trials are in which state."""
        number = {state: len(found) for state, found in self._by_state.items()}
        return Counts(
            complete=number[TrialState.COMPLETE],
            pruned=number[TrialState.PRUNED],
            failed=number[TrialState.FAIL] - self._requeued,
            running=number[TrialState.RUNNING] - len(self.paused),
            paused=len(self.paused),
            waiting=number[TrialState.WAITING],
        )

    def by_state(self) -> dict[TrialState, tuple[int, int]]:
        """Returns the number of trials in each state, and the sum of their keys."""
        return {
            state: (len(found), sum(self.trials[number]._trial_id for number in found))
            for state, found in self._by_state.items()
            if found
        }


def _is_requeued(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and REQUEUED_AS in trial.user_attrs
