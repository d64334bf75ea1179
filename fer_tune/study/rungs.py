"""Rungs: the epochs at which trials pause, and the rule that decides which of them continue.

This is asynchronous successive halving with promotion. A trial that reaches a rung pauses there. It
continues to the next rung when it is among the best `1 / factor` of all trials that reached that
rung. A trial that is not among them now may be later, because others that are worse may follow.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from typing import Protocol

from fer_tune.selection.cost import RESERVE
from fer_tune.sweep.rung_levels import levels_of, rung_epochs
from fer_tune.sweep.search_spec import Compared

__all__ = ["Rung", "Rungs", "levels_of", "rung_epochs", "rung_value"]


class MeasuredEpoch(Protocol):
    """An epoch's row, from a trainer or from the database. The objective is one of its fields."""

    @property
    def val_loss(self) -> float:
        """The loss on the validation images."""
        ...


def rung_value(row: MeasuredEpoch, objective: str, compare: Compared) -> float:
    """Returns what a rung compares of an epoch. Higher is better.

    It is nan if the objective is not finite. Then the trial fails, and no rung should know it.
    """
    value = float(getattr(row, objective))
    if not math.isfinite(value):
        return math.nan
    if compare == "objective":
        return value
    return -row.val_loss if math.isfinite(row.val_loss) else -math.inf


@dataclass
class Rung:
    """One rung: the trials that reached it, the best first.

    Attributes:
        epoch: the rung's epoch.
        order: minus the value, the place and the uid of each trial that reached it.
        continued: the uids of those that continued from here.
    """

    epoch: int
    order: list[tuple[float, int, str]] = field(default_factory=list)
    continued: set[str] = field(default_factory=set)
    _keys: dict[str, tuple[float, int, str]] = field(default_factory=dict)

    def add(self, uid: str, value: float, place: int) -> None:
        """Records a trial's value at this rung. A later value of the same trial replaces it.

        Args:
            place: the trial's position among the draws. Of equal trials the first drawn is better.
        """
        if uid in self._keys:
            del self.order[bisect_left(self.order, self._keys[uid])]
        self._keys[uid] = (-value, place, uid)
        insort(self.order, self._keys[uid])

    def best(self, count: int) -> list[str]:
        """Returns the uids of the best trials, the best first."""
        return [uid for _, _, uid in self.order[:count]]

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
        """Records that a trial is paused after this epoch."""
        self.paused[uid] = epoch

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
        self.paused.pop(uid, None)

    def promotable(self, closing: bool = False) -> Iterator[str]:
        """Yields the paused trials that may continue, in the order in which they should.

        A trial may continue if it is among the best `1 / factor` of its rung, and if no more than
        `1 / factor` of the rung have continued. The second condition matters while the search
        improves: nearly every new trial is then among the best so far. The trials of higher rungs
        come first, and within a rung the best.

        Args:
            closing: whether no other trial will start or continue. Then the best trial of each rung
                may continue, however few there are. So a study never ends without a complete trial.
        """
        for rung in reversed(self.rungs):
            quota = max(1, len(rung) // self.factor) if closing else len(rung) // self.factor
            free = quota - sum(not self._waits_at(rung, uid) for uid in rung.continued)
            if free > 0:
                waiting = (uid for uid in rung.best(quota) if self._waits_at(rung, uid))
                yield from list(islice(waiting, free))
        yield from [uid for uid in self.paused if self._rung_of(uid) is None]

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
        needs = {uid: (schedule - epoch) * paces[uid] for uid, epoch in self.paused.items() if uid in paces}
        best = [uid for uid in reversed(self.worst()) if needs.get(uid, left) < RESERVE * left]
        return max(best, key=lambda uid: self.paused[uid], default=None)

    def worst(self) -> list[str]:
        """Returns the paused trials, the least promising first.

        A trial is less promising if a greater part of its rung is better. Of equal ones the oldest
        comes first.
        """

        def promise(uid: str) -> float:
            rung = self._rung_of(uid)
            return 0.0 if rung is None else -rung.share_better(uid)

        return sorted(self.paused, key=promise)

    def _waits_at(self, rung: Rung, uid: str) -> bool:
        """Returns whether a trial is paused at a rung. If the sweep's rungs were changed, it may
        have trained on from there, and have paused at a later epoch."""
        return uid in self.paused and self._rung_of(uid) is rung

    def _rung_of(self, uid: str) -> Rung | None:
        """Returns the rung at which a trial is paused, or None.

        A trial is paused at no rung if the sweep's rungs were changed meanwhile.
        """
        epoch = self.paused.get(uid, 0)
        return next((rung for rung in reversed(self.rungs) if rung.epoch <= epoch and uid in rung), None)
