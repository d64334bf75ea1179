"""Rungs: the epochs at which trials pause, and the rule that decides which of them continue.

This is asynchronous successive halving with promotion. A trial that reaches a rung pauses there. It
continues to the next rung when it is among the best `1 / factor` of all trials that reached that
rung. A trial that is not among them now may be later, because others that are worse may follow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

RESERVE = 0.9
"""The part of the time that is left that a trial may be expected to need. Epochs vary."""

Key = tuple[float, int, str]
"""Minus the value, the place among the draws, and the uid of a trial."""


@dataclass
class Rung:
    """One rung, and the trials that reached it.

    Attributes:
        epoch: the rung's epoch.
        order: the keys of these trials, the best first.
        waiting: the keys of those that are paused here, the best first.
        continued: the uids of those that continued from here.
    """

    epoch: int
    order: list[Key] = field(default_factory=list)
    waiting: list[Key] = field(default_factory=list)
    continued: set[str] = field(default_factory=set)
    _keys: dict[str, Key] = field(default_factory=dict)
    _waits: set[str] = field(default_factory=set)

    def add(self, uid: str, value: float, place: int) -> None:
        """Records a trial's value at this rung. A later value of the same trial replaces it.

        Args:
            place: the trial's position among the draws. Of equal trials the first drawn is better.
        """
        lists = (self.order, self.waiting) if uid in self._waits else (self.order,)
        key = (-value, place, uid)
        for some in lists:
            if uid in self._keys:
                del some[bisect_left(some, self._keys[uid])]
            insort(some, key)
        self._keys[uid] = key

    def wait(self, uid: str) -> None:
        """Records that a trial is paused here."""
        if uid not in self._waits:
            insort(self.waiting, self._keys[uid])
            self._waits.add(uid)

    def leave(self, uid: str) -> None:
        """Records that a trial is not paused here any more."""
        if uid in self._waits:
            del self.waiting[bisect_left(self.waiting, self._keys[uid])]
            self._waits.remove(uid)

    def promotable(self, quota: int) -> list[str]:
        """Returns the trials that may continue if so many of this rung may, the best first."""
        # If the sweep's rungs were changed, a trial that continued may wait here again.
        back = len(self.continued & self._waits)
        free = max(0, quota - len(self.continued) + back)
        return [key[2] for key in self._among(quota, free)]

    def among_the_best(self, quota: int) -> list[str]:
        """Returns the paused trials that are among so many best of the rung, the best first."""
        return [key[2] for key in self._among(quota, quota)]

    def _among(self, quota: int, most: int) -> list[Key]:
        last = bisect_right(self.waiting, self.order[quota - 1]) if quota else 0
        return self.waiting[: min(last, most)]

    def leader(self) -> list[str]:
        """Returns the best trial of the rung if it is paused here, and else nothing."""
        return [key[2] for key in self.waiting[:1] if key == self.order[0]]

    def share_better(self, uid: str) -> float:
        """Returns the fraction of this rung's trials that are better than this one."""
        return bisect_left(self.order, self._keys[uid]) / len(self.order)

    def __len__(self) -> int:
        return len(self.order)

    def __contains__(self, uid: object) -> bool:
        return uid in self._keys


class Rungs:
    """All rungs of a study, and the trials that are paused.

    It is pure bookkeeping. A study that continues makes it again from the recorded curves.

    Args:
        epochs: the epochs of the rungs, rising. Without any, nothing pauses.
        factor: one in so many trials of a rung continues.
    """

    def __init__(self, epochs: Sequence[int], factor: int) -> None:
        self.rungs = [Rung(epoch) for epoch in epochs]
        self.factor = factor
        self.paused: dict[str, int] = {}
        """Epochs of each paused trial, by uid, in the order in which they paused."""
        self._at_none: dict[str, None] = {}
        """The paused trials that are at no rung. The sweep's rungs were changed meanwhile."""

    def next_after(self, epoch: int) -> int | None:
        """Returns the epoch of the first rung after `epoch`, or None if there is none."""
        place = bisect_right([rung.epoch for rung in self.rungs], epoch)
        return self.rungs[place].epoch if place < len(self.rungs) else None

    def record(self, uid: str, epoch: int, value: float, place: int) -> None:
        """Records the value of a trial's epoch. Only the epochs of rungs matter; see `Rung.add`."""
        for rung in self.rungs:
            if rung.epoch == epoch:
                rung.add(uid, value, place)
            elif rung.epoch < epoch and uid in rung:
                rung.continued.add(uid)

    def pause(self, uid: str, epoch: int) -> None:
        """Records that a trial is paused after this epoch, whose value is recorded already."""
        self.leave(uid)
        self.paused[uid] = epoch
        if (rung := self._rung_of(uid)) is None:
            self._at_none[uid] = None
        else:
            rung.wait(uid)

    def cut(self, uid: str, until: int | None) -> None:
        """Records that a trial, which was on its way to this epoch, continues from each rung below.

        Args:
            until: None is the end of the schedule.
        """
        for rung in self.rungs:
            if uid in rung and (until is None or rung.epoch < until):
                rung.continued.add(uid)

    def promote(self, uid: str) -> None:
        """Records that a paused trial continues."""
        if (rung := self._rung_of(uid)) is not None:
            rung.continued.add(uid)
        self.leave(uid)

    def leave(self, uid: str) -> None:
        """Records that a trial is not paused any more."""
        if (rung := self._rung_of(uid)) is not None:
            rung.leave(uid)
        self.paused.pop(uid, None)
        self._at_none.pop(uid, None)

    def promotable(self, closing: bool = False) -> Iterator[str]:
        """Yields the paused trials that may continue, in the order in which they should.

        A trial may continue if it is among the best `1 / factor` of its rung, and if no more than
        `1 / factor` of the rung have continued. The second condition matters while the search
        improves: nearly every new trial is then among the best so far. The trials of higher rungs
        come first, and within a rung the best.

        Args:
            closing: whether no other trial will start or continue. Then the best trial of each rung
                may continue, however few there are and however many have continued. So a study
                never ends without a complete trial, and never prunes the best trial of a rung.
        """
        for rung in reversed(self.rungs):
            yield from rung.promotable(len(rung) // self.factor)
        yield from list(self._at_none)
        for rung in reversed(self.rungs) if closing else ():
            yield from rung.leader()

    def among_the_best(self) -> Iterator[str]:
        """Yields the paused trials that are among the best `1 / factor` of their rung."""
        for rung in self.rungs:
            yield from rung.among_the_best(len(rung) // self.factor)

    def fitting(self, left: float, schedule: int, paces: Mapping[str, float]) -> str | None:
        """Returns the paused trial that should be trained to its end in the time that is left.

        A complete trial is worth more than several that the end of the run cuts off. So as soon as
        a new trial would not fit any more, the best trial of the highest rung that fits is chosen.

        Args:
            left: seconds until the run must end.
            paces: seconds of an epoch of each trial.

        Returns:
            Its uid. None while there is time for a new trial, or if no paused trial fits.
        """
        if not paces or schedule * median(paces.values()) < RESERVE * left:
            return None
        fit = [
            uid
            for uid, epoch in self.paused.items()
            if uid in paces and (schedule - epoch) * paces[uid] < RESERVE * left
        ]
        # Of equal ones the one that paused last is taken.
        return max(reversed(fit), key=lambda uid: (self.paused[uid], self._promise(uid)), default=None)

    def worst(self) -> list[str]:
        """Returns the paused trials, the least promising first.

        A trial is less promising if a greater part of its rung is better. Of equal ones the oldest
        comes first.
        """
        return sorted(self.paused, key=self._promise)

    def _promise(self, uid: str) -> float:
        """Returns minus the part of its rung that is better than a paused trial."""
        rung = self._rung_of(uid)
        return 0.0 if rung is None else -rung.share_better(uid)

    def _rung_of(self, uid: str) -> Rung | None:
        """Returns the rung at which a trial is paused, or None."""
        epoch = self.paused.get(uid, 0)
        return next((rung for rung in reversed(self.rungs) if rung.epoch <= epoch and uid in rung), None)
