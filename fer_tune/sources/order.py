"""Which trial of a search comes next: the one that is best by now, or the one that a round says.

`AsTheyEnd` decides with all that is known when a lane becomes free. `InRounds` decides in logical
rounds, so that the sequence of trials does not depend on timing (`schedule: deterministic`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fer_tune.sources.crowding import Crowding
from fer_tune.sources.rounds import Rounds, known_in, recalled, rounds_of

if TYPE_CHECKING:
    from fer_tune.job import EpochRow, Job
    from fer_tune.sources.paused import PausedTrials
    from fer_tune.store import Store
    from fer_tune.study import Study
    from fer_tune.sweep.schema import Sweep


@dataclass(frozen=True)
class NextTrial:
    """What is trained next.

    Attributes:
        uid: of the paused trial that continues, or None for a new trial.
        to_the_end: whether it continues to the end of its schedule, and not to its next rung.
    """

    uid: str | None = None
    to_the_end: bool = False


NEW = NextTrial()
"""A new trial, which Optuna proposes."""


class Order(Protocol):
    """Decides which trial comes next.

    Attributes:
        by_time: whether it depends on when trials end. Then trials that the end of the run's hours
            cuts off may pause, and Optuna may be asked for trials ahead of time.
    """

    by_time: bool

    def recall(self) -> None:
        """Learns what earlier runs of the study did."""
        ...

    def wanted(self, room: Callable[[], bool], running: int, queued: int) -> bool:
        """Returns whether another trial may be trained now.

        Args:
            room: returns whether the budget has room for a new trial.
            running: how many trials are being trained.
            queued: how many trials an earlier run left queued. In rounds, they have their turns
                already. Otherwise they need room, like new ones.
        """
        ...

    def choice(self, room: Callable[[], bool], running: int, left: float) -> NextTrial:
        """Returns what is trained next, if something is wanted.

        Args:
            left: seconds until the run must end; infinite without a limit.
        """
        ...

    def most(self, devices: int, left: float) -> float:
        """Returns how many trials may share the devices, so that some are completed in time."""
        ...

    def known(self, uid: str | None = None) -> int | None:
        """Returns the last round that the next decision knows, or one about a job's epochs. None
        means that it knows everything."""
        ...

    def announce(self, job: Job) -> None:
        """Writes that the next turn is this job's, in the transaction that begins it."""
        ...

    def take(self, job: Job) -> None:
        """Records that the next turn is this job's."""
        ...

    def heard(self, job: Job, row: EpochRow, compared: float, running: int, left: float) -> None:
        """Records an epoch that was just trained, and not one that was only sent again.

        Args:
            compared: what rungs compare of it; see `rung_value`.
            running, left: see `wanted` and `choice`.
        """
        ...

    def ended(self, uid: str, paused: int | None = None) -> None:
        """Records that a job is not trained any more.

        Args:
            paused: the epoch after which it is paused now, or None.
        """
        ...


class AsTheyEnd:
    """The best of what is known when a lane becomes free.

    Args:
        crowding: says how many trials may share the devices; None means that all lanes are used.
    """

    by_time = True

    def __init__(self, paused: PausedTrials, crowding: Crowding | None) -> None:
        self._paused, self._crowding = paused, crowding

    def recall(self) -> None:
        """Does nothing: `PausedTrials` knows all that matters."""

    def wanted(self, room: Callable[[], bool], running: int, queued: int) -> bool:
        """See `Order`."""
        return bool(self._paused.cut_off) or room() or self._promotable(room, running) is not None

    def choice(self, room: Callable[[], bool], running: int, left: float) -> NextTrial:
        """Returns a trial that was cut off, or one for whose end there is just time, or one that
        may continue, or else a new one."""
        if self._paused.cut_off:
            return NextTrial(self._paused.cut_off[0])
        if (uid := self._paused.finishing(left, self._most(left))) is not None:
            return NextTrial(uid, to_the_end=True)
        return NextTrial(self._promotable(room, running))

    def most(self, devices: int, left: float) -> float:
        """See `Order`."""
        if self._crowding is not None:
            self._crowding.devices = devices
        return self._most(left)

    def known(self, uid: str | None = None) -> int | None:
        """Returns None: every decision knows everything."""
        return None

    def announce(self, job: Job) -> None:
        """Does nothing, because there are no turns."""

    def take(self, job: Job) -> None:
        """Does nothing, because there are no turns."""

    def heard(self, job: Job, row: EpochRow, compared: float, running: int, left: float) -> None:
        """See `Order`."""
        if self._crowding is not None:
            self._crowding.heard(job, row.epoch, row.seconds, running, left)

    def ended(self, uid: str, paused: int | None = None) -> None:
        """See `Order`."""
        if self._crowding is not None:
            self._crowding.ended(uid)

    def _most(self, left: float) -> float:
        return math.inf if self._crowding is None else self._crowding.most(left)

    def _promotable(self, room: Callable[[], bool], running: int) -> str | None:
        return self._paused.best(closing=not running and not room())


class InRounds:
    """What the next logical round says; see `rounds`."""

    by_time = False

    def __init__(self, rounds: Rounds, sweep: Sweep, study: Study, store: Store) -> None:
        self._rounds, self._sweep, self._study, self._store = rounds, sweep, study, store

    def recall(self) -> None:
        """See `Order`."""
        self._rounds.recall(recalled(self._sweep, self._study, self._store))

    def wanted(self, room: Callable[[], bool], running: int, queued: int) -> bool:
        """Returns whether a turn is still to be trained, or the next one can be decided."""
        return queued > 0 or self._decided(room) is not None

    def choice(self, room: Callable[[], bool], running: int, left: float) -> NextTrial:
        """See `Order`."""
        return self._decided(room) or NEW

    def most(self, devices: int, left: float) -> float:
        """Returns no limit: a slot of a round is a lane."""
        return math.inf

    def known(self, uid: str | None = None) -> int | None:
        """See `Order`."""
        if uid is None:
            return known_in(self._rounds.now)
        return self._rounds.knows(uid) if uid in self._rounds else None  # a trial from another schedule

    def announce(self, job: Job) -> None:
        """See `Order`."""
        assert job.number is not None
        self._study.take_turn(job.number, self._rounds.next(job.uid, job.until))

    def take(self, job: Job) -> None:
        """See `Order`."""
        self._rounds.take(job.uid, job.seed, job.until)

    def heard(self, job: Job, row: EpochRow, compared: float, running: int, left: float) -> None:
        """See `Order`."""
        self._rounds.heard(job.uid, row.epoch, compared)

    def ended(self, uid: str, paused: int | None = None) -> None:
        """See `Order`."""
        self._rounds.ended(uid, paused)

    def _decided(self, room: Callable[[], bool]) -> NextTrial | None:
        """Returns the next turn; None if it cannot be decided now, or if there is none."""
        if not self._rounds.ready():
            return None
        if (uid := self._rounds.promotable()) is not None:
            return NextTrial(uid)
        if room():
            return NEW
        uid = self._rounds.last()
        return None if uid is None else NextTrial(uid)


def order_of(sweep: Sweep, study: Study, store: Store, paused: PausedTrials, *, auto_lanes: bool) -> Order:
    """Returns the order of a sweep's trials.

    Args:
        auto_lanes: whether fewer trials than there are lanes may share a device.
    """
    rounds = rounds_of(sweep)
    if rounds is not None:
        return InRounds(rounds, sweep, study, store)
    return AsTheyEnd(paused, Crowding(sweep.budget.epochs) if auto_lanes else None)
