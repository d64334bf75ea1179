"""A search in logical rounds: `schedule: deterministic`.

The search hands out turns, and numbers them. A turn is one stretch of training: from the start of
a trial, or from a rung, to its next pause or its end. `size` turns are a round. A turn is decided
by what the rounds before the last one say, and by which turns were handed out before. It does not
matter which other turns have ended. So the sequence is the same whatever the timing. A round
begins when the round before the last one is over, so two rounds can be trained at the same time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fer_tune.study.rungs import Rungs, levels_of

if TYPE_CHECKING:
    from fer_tune.store import Store
    from fer_tune.study import Study
    from fer_tune.study.look_back import Turns
    from fer_tune.sweep.schema import Sweep


@dataclass
class Turn:
    """One turn.

    Attributes:
        uid: of its job.
        place: the job's position among the draws.
        values: of its epochs.
        paused: the epoch of the rung at which it ended, or None.
    """

    uid: str
    place: int
    values: dict[int, float] = field(default_factory=dict)
    paused: int | None = None


@dataclass(frozen=True)
class Recalled:
    """A job of an earlier run.

    Attributes:
        turns: see `look_back.Turns`.
        curve: the values of its epochs.
        trains: whether its last turn is not over.
        paused: whether it waits at a rung.
    """

    uid: str
    place: int
    turns: Turns
    curve: Mapping[int, float]
    trains: bool
    paused: bool


class Rounds:
    """The turns of a search, and the rungs as the next decision knows them.

    Args:
        size: turns of a round.
        epochs, factor: of the rungs.
    """

    def __init__(self, size: int, epochs: Sequence[int], factor: int) -> None:
        self._size = size
        self._rungs = Rungs(epochs, factor)
        self._turns: dict[int, Turn] = {}
        self._of_job: dict[str, int] = {}
        self._open: set[int] = set()
        self._unknown: deque[int] = deque()  # turns that are not in the rungs yet, by number
        self.next = 0

    def __contains__(self, uid: object) -> bool:
        return uid in self._of_job

    # what the search asks -----------------------------------------------------------------------------------------

    def before(self, uid: str | None = None) -> int:
        """Returns the number below which turns are known: to the decision about the next turn, or
        to the decisions about the epochs of a job."""
        turn = self.next if uid is None else self._of_job[uid]
        return max(0, turn // self._size - 1) * self._size

    def ready(self) -> bool:
        """Returns whether the next turn can be decided: all turns are over that it must know."""
        if min(self._open, default=self.next) < self.before():
            return False
        while self._unknown and self._unknown[0] < self.before():
            self._learn(self._unknown.popleft())
        return True

    def promotable(self) -> str | None:
        """Returns the paused trial that the next turn should continue, or None."""
        return next(self._rungs.promotable(), None)

    def last(self) -> str | None:
        """Returns the paused trial that should continue if no new trial will start, or None.

        It is the best of a rung that few others reached. Only when all turns are known is it sure
        that no better one comes. Until then, the rest of the round stays empty.
        """
        while self._unknown:
            self.next = (self.next // self._size + 1) * self._size
            if not self.ready():
                return None
            if (uid := self.promotable()) is not None:
                return uid
        return next(self._rungs.promotable(closing=True), None)

    # what the search says -----------------------------------------------------------------------------------------

    def take(self, uid: str, place: int) -> None:
        """Hands the next turn to a job.

        Args:
            place: the job's position among the draws.
        """
        self._add(self.next, Turn(uid, place))
        if uid in self._rungs.paused:
            self._rungs.promote(uid)

    def heard(self, uid: str, epoch: int, value: float) -> None:
        """Records the value of an epoch."""
        if uid in self._of_job and math.isfinite(value):
            self._turns[self._of_job[uid]].values[epoch] = value

    def ended(self, uid: str, paused: int | None = None) -> None:
        """Records that the turn of a job is over.

        Args:
            paused: the epoch of the rung at which the job waits now, or None.
        """
        if uid in self._of_job:
            number = self._of_job[uid]
            self._open.discard(number)
            self._turns[number].paused = paused

    def recall(self, jobs: Collection[Recalled]) -> None:
        """Records the turns that an earlier run handed out."""
        turns: list[tuple[int, Turn]] = []
        for job in jobs:
            reached = 0
            for number, until in job.turns:
                values = {epoch: value for epoch, value in job.curve.items() if reached < epoch <= (until or math.inf)}
                turns.append((number, Turn(job.uid, job.place, values, until)))
                reached = until or 0
            if not job.paused:
                turns[-1][1].paused = None
        for number, turn in sorted(turns, key=lambda one: one[0]):
            self._add(number, turn)
        self._open = {job.turns[-1][0] for job in jobs if job.trains}

    # within -------------------------------------------------------------------------------------------------------

    def _add(self, number: int, turn: Turn) -> None:
        self._turns[number] = turn
        self._of_job[turn.uid] = number
        self._open.add(number)
        self._unknown.append(number)
        self.next = number + 1

    def _learn(self, number: int) -> None:
        """Enters a turn into the rungs."""
        turn = self._turns.pop(number)
        for epoch, value in turn.values.items():
            self._rungs.record(turn.uid, epoch, value, turn.place)
        if turn.paused is not None:
            self._rungs.pause(turn.uid, turn.paused)
            if self._of_job[turn.uid] != number:  # an earlier run has promoted it
                self._rungs.promote(turn.uid)


def rounds_of(sweep: Sweep) -> Rounds | None:
    """Returns the rounds of a sweep, or None if its schedule is not deterministic."""
    if sweep.schedule.name != "deterministic":
        return None
    epochs = levels_of(sweep)[:-1] if sweep.search.strategy == "promote" else []
    return Rounds(sweep.schedule.round, epochs, sweep.search.factor)


def recalled(sweep: Sweep, study: Study, store: Store) -> list[Recalled]:
    """Returns the jobs of earlier runs, as the database has them."""
    turns = study.turns()
    curves: dict[str, dict[int, float]] = {}
    for row in store.epochs.all(sweep.study) if turns else []:
        curves.setdefault(row.job, {})[row.epoch] = float(getattr(row, sweep.objective))
    return [
        Recalled(
            job.uid,
            job.seed,
            turns[job.number],
            {epoch: value for epoch, value in curves.get(job.uid, {}).items() if math.isfinite(value)},
            trains=job.state in ("queued", "running"),
            paused=job.state == "paused",
        )
        for job in store.jobs.of(sweep.study, "search")
        if job.number in turns
    ]
