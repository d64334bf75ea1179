"""What other programs do to a study while it is run: they may end its trials, or delete it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fer_tune.errors import StudyError, TakenOverError

if TYPE_CHECKING:
    from fer_tune.store import Store
    from fer_tune.study import Study

LOOK_SECONDS = 1.0
"""Seconds between two looks at whether another program ended a running trial."""


class OtherHands:
    """Notices what other programs did to a study, and records it for its jobs.

    Args:
        name: of the study.
        note: is called with one line that the user should read.
    """

    def __init__(self, name: str, study: Study, store: Store, note: Callable[[str], object]) -> None:
        self._name, self._study, self._store, self._note = name, study, store, note
        self._taken: dict[str, tuple[int, str]] = {}
        self._next_look = 0.0

    def __contains__(self, uid: object) -> bool:
        """Returns whether another program ended or deleted the trial of this job."""
        return uid in self._taken

    def look(self) -> Sequence[tuple[int, str | None, str]]:
        """Returns what was ended or deleted since the last look: number, job if there is one, and
        reason. It looks once a second, and whenever a write of such a trial was left out.

        Raises:
            StudyError: another program deleted the study.
        """
        if not self._study.lost and time.monotonic() < self._next_look:
            return []
        self._next_look = time.monotonic() + LOOK_SECONDS
        with self.gives_up():
            numbers = self._study.taken()
        found: list[tuple[int, str | None, str]] = []
        for number in numbers:
            how = "deleted" if self._study.ended(number) is None else "ended"
            reason = f"trial {number} was {how} by another program"
            self._note(f"{self._name}: {reason}. The run continues without it.")
            job = self._store.jobs.find_trial(self._name, number)
            if job is not None:
                self._taken[job.uid] = (number, reason)
                self.record(job.uid)
            found.append((number, None if job is None else job.uid, reason))
        return found

    def record(self, uid: str) -> None:
        """Records the end of a job whose trial another program ended, as Optuna has it."""
        number, reason = self._taken[uid]
        trial = self._study.ended(number)
        if trial is None:
            self._store.jobs.set_state(uid, "failed", reason)
        else:
            self._store.jobs.set_state(uid, trial.state, trial.reason or reason, trial.value)

    @contextmanager
    def gives_up(self) -> Iterator[None]:
        """Ends the jobs of the study if another program deleted it."""
        try:
            yield
        except TakenOverError:
            raise
        except StudyError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._store.pending.discard()
        reason = "another program deleted the study"
        for job in self._store.jobs.unfinished(self._name):
            if job.kind == "search":
                self._store.jobs.set_state(job.uid, "failed", reason)
        self._store.jobs.abandon_attempts(self._name, "search", reason)
