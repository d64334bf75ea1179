"""A search in logical rounds: `schedule: deterministic`.

In a round, each of some logical slots trains one epoch. A turn is one stretch of training: from the
start of a trial, or from a rung, to its next pause or its end. A logical slot gets its next turn in
the round in which its last turn is over. The decision about it knows the turns that were over
`SLACK` rounds before. How fast the workers are, and how many, only decides how long the rounds
take. So the sequence of turns is the same whatever the timing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from fer_tune.selection.rungs import Rungs
from fer_tune.study.look_back import lasted
from fer_tune.study.rung_values import rung_value
from fer_tune.sweep.rung_levels import levels_of

if TYPE_CHECKING:
    from fer_tune.store import Store
    from fer_tune.study import Study
    from fer_tune.study.look_back import OneTurn, Turns
    from fer_tune.sweep.schema import Sweep

SLACK = 2
"""How many rounds a worker may be ahead of another one."""


@dataclass
class Turn:
    """One turn.

    Attributes:
        uid: of its job.
        place: the job's position among the draws.
        start: the round in which it starts.
        reached: the last epoch before it.
        until: the last epoch of the turn, if nothing stops it.
        values: of its epochs, as rungs compare them.
        epochs: how many epochs it has trained.
        over: whether it has ended.
        paused: the epoch of the rung at which it ended, or None.
    """

    uid: str
    place: int
    start: int
    reached: int
    until: int
    values: dict[int, float] = field(default_factory=dict)
    epochs: int = 0
    over: bool = False
    paused: int | None = None


@dataclass(frozen=True)
class Recalled:
    """A job of an earlier run.

    Attributes:
        turns: see `look_back.Turns`.
        curve: the values of its epochs, as rungs compare them.
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
        slots: number of logical slots.
        schedule: epochs of a whole trial.
        epochs, factor: of the rungs.
        whole: whether a turn keeps its slot to its last epoch, although it may be over before. It
            then need not be known how far the turns have come. Else a slot is free as soon as its
            turn is over, as a pruner needs it.
    """

    def __init__(self, slots: int, schedule: int, epochs: Sequence[int], factor: int, whole: bool) -> None:
        self._slots, self._schedule, self._whole = slots, schedule, whole
        self._rungs = Rungs(epochs, factor)
        self._of_job: dict[str, Turn] = {}
        self._turns: list[Turn] = []  # those that are not in the rungs yet, by number
        self._free = [0] * slots  # rounds in which slots without a turn are free
        self._busy: list[Turn] = []  # turns that have a slot
        self._handed_out = 0

    def __contains__(self, uid: object) -> bool:
        return uid in self._of_job

    # what the search asks -----------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The round of the next decision. It is 0 while no slot is free, when nothing is drawn."""
        return self._free[0] if self._free else 0

    def knows(self, uid: str) -> int:
        """Returns the last round whose ends the decisions about a job's epochs know."""
        return known_in(self._of_job[uid].start)

    def ready(self) -> bool:
        """Returns whether the next turn can be decided: which it is, and what it must know."""
        self._release()
        if not self._free or any(self._end(turn) < self.now for turn in self._busy):
            return False  # another slot may be free earlier
        if any(not turn.over and self._end(turn) <= known_in(self.now) for turn in self._turns):
            return False
        self._learn()
        return True

    def promotable(self) -> str | None:
        """Returns the paused trial that the next turn should continue, or None."""
        return next(self._rungs.promotable(), None)

    def last(self) -> str | None:
        """Returns the paused trial that should continue if no new trial will start, or None.

        It is the best of a rung that few others reached. Only when all turns are known is it sure
        that no better one comes. Until then, the slot stays empty.
        """
        while self._turns:
            heappush(self._free, heappop(self._free) + 1)
            if not self.ready():
                return None
            if (uid := self.promotable()) is not None:
                return uid
        return next(self._rungs.promotable(closing=True), None)

    # what the search says -----------------------------------------------------------------------------------------

    def next(self, uid: str, until: int | None) -> OneTurn:
        """Returns what is recorded with the job of the next turn; see `look_back.Turns`."""
        reached = self._rungs.paused.get(uid, 0)
        end = self.now + (until or self._schedule) - reached if self._whole else None
        return self._handed_out, self.now, until, end

    def take(self, uid: str, place: int, until: int | None) -> None:
        """Hands the next turn to a job.

        Args:
            place: the job's position among the draws.
            until: the epoch of the rung at which the turn ends, or None.
        """
        reached = self._rungs.paused.get(uid, 0)
        self._add(Turn(uid, place, heappop(self._free), reached, until or self._schedule))
        if uid in self._rungs.paused:
            self._rungs.promote(uid)

    def heard(self, uid: str, epoch: int, value: float) -> None:
        """Records what rungs compare of an epoch; see `rung_value`."""
        turn = self._of_job.get(uid)
        if turn is not None and epoch > turn.reached and not math.isnan(value):
            turn.epochs = max(turn.epochs, epoch - turn.reached)
            turn.values[epoch] = value

    def ended(self, uid: str, paused: int | None = None) -> None:
        """Records that the turn of a job is over.

        Args:
            paused: the epoch of the rung at which the job waits now, or None.
        """
        if (turn := self._of_job.get(uid)) is not None:
            turn.over, turn.paused = True, paused

    def recall(self, jobs: Collection[Recalled]) -> None:
        """Records the turns that an earlier run handed out."""
        turns: list[tuple[int, Turn]] = []
        for job in jobs:
            reached = 0
            for number, start, until, _ in job.turns:
                turn = Turn(job.uid, job.place, start, reached, until or self._schedule, over=True, paused=until)
                turn.values = {epoch: value for epoch, value in job.curve.items() if reached < epoch <= turn.until}
                turn.epochs = max(turn.values, default=reached) - reached
                turns.append((number, turn))
                reached = until or 0
            if not job.paused:
                turns[-1][1].paused = None
            turns[-1][1].over = not job.trains
        for _, turn in sorted(turns, key=lambda one: one[0]):
            self._release()
            self._free = [max(free, turn.start) for free in self._free]  # what was left empty before
            heapify(self._free)
            if self._free:  # the sweep may have fewer slots now
                heappop(self._free)
            self._add(turn)

    # within -------------------------------------------------------------------------------------------------------

    def _add(self, turn: Turn) -> None:
        self._handed_out += 1
        self._turns.append(turn)
        self._busy.append(turn)
        self._of_job[turn.uid] = turn

    def _end(self, turn: Turn) -> int:
        """Returns the round in which a turn is over, or the first one in which it may be."""
        return turn.start + (turn.until - turn.reached if self._whole else lasted(turn.epochs))

    def _release(self) -> None:
        """Gives back the slots of turns whose end is known."""
        for turn in [turn for turn in self._busy if self._whole or turn.over]:
            self._busy.remove(turn)
            heappush(self._free, self._end(turn))

    def _learn(self) -> None:
        """Enters the turns into the rungs that the next decision knows."""
        known = [turn for turn in self._turns if turn.over and self._end(turn) <= known_in(self.now)]
        for turn in sorted(known, key=self._end):
            self._turns.remove(turn)
            for epoch, value in turn.values.items():
                self._rungs.record(turn.uid, epoch, value, turn.place)
            if turn.paused is not None:
                self._rungs.pause(turn.uid, turn.paused)
                if self._of_job[turn.uid] is not turn:  # an earlier run has promoted it
                    self._rungs.promote(turn.uid)


def known_in(now: int) -> int:
    """Returns the last round whose ends a decision in round `now` knows."""
    return now - SLACK


def rounds_of(sweep: Sweep) -> Rounds | None:
    """Returns the rounds of a sweep, or None if its schedule is not deterministic."""
    if sweep.schedule.name != "deterministic":
        return None
    epochs = levels_of(sweep)[:-1] if sweep.search.strategy == "promote" else []
    whole = sweep.pruner.name == "none"
    return Rounds(sweep.schedule.slots, sweep.budget.epochs, epochs, sweep.search.factor, whole)


def recalled(sweep: Sweep, study: Study, store: Store) -> list[Recalled]:
    """Returns the jobs of earlier runs, as the database has them."""
    turns = study.turns()
    curves: dict[str, dict[int, float]] = {}
    for row in store.epochs.all(sweep.study) if turns else []:
        value = rung_value(row, sweep.objective, sweep.search.compare)
        if not math.isnan(value):
            curves.setdefault(row.job, {})[row.epoch] = value
    return [
        Recalled(
            job.uid,
            job.seed,
            turns[job.number],
            curves.get(job.uid, {}),
            trains=job.state in ("queued", "running"),
            paused=job.state == "paused",
        )
        for job in store.jobs.of(sweep.study, "search")
        if job.number in turns
    ]
