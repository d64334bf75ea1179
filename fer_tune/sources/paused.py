"""The paused trials of a search: which of them continue, and the space of their checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from fer_tune.job import OUT_OF_TIME, PRUNED_IN, Job, trained_by_attempt
from fer_tune.jobs.checkpoints import checkpoint_path, remove_checkpoint
from fer_tune.jobs.outcome import Ended
from fer_tune.jobs.states import Event, transition
from fer_tune.selection.rungs import Rungs
from fer_tune.selection.spending import AGAIN, fate
from fer_tune.study.rung_values import rung_value
from fer_tune.study.trial_states import PAUSED
from fer_tune.sweep.rung_levels import levels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from fer_tune.store import Store
    from fer_tune.study import Proposal, Study
    from fer_tune.sweep.schema import Sweep

GB = 1e9

NOT_AMONG_THE_BEST = "where it was not among the best"
FULL = "because enough others had continued from there"
"""Why a paused trial did not continue."""


class PausedTrials:
    """The trials of one study that wait: at a rung, or where the end of a run's hours cut them off.

    What Optuna is told and what our tables say is one transaction, as for the ends of trials.

    Args:
        checkpoints: the folder of the study's checkpoints.
        note: is called with one line that the user should read.

    Attributes:
        rungs: which trial reached which rung, and with which value.
        cut_off: the uids of those that were cut off. They continue first.
    """

    def __init__(
        self, sweep: Sweep, study: Study, store: Store, checkpoints: Path, note: Callable[[str], object]
    ) -> None:
        self._sweep, self._study, self._store = sweep, study, store
        self._checkpoints, self._note = checkpoints, note
        epochs = levels_of(sweep)[:-1] if sweep.search.strategy == "promote" else []
        self.rungs = Rungs(epochs, sweep.search.factor)
        self.cut_off: list[str] = []
        self._removed = 0
        self._paces: dict[str, float] = {}
        self._beside: dict[str, int] = {}
        self._sizes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.rungs.paused) + len(self.cut_off)

    def recall(self) -> None:
        """Reads from the database which trials reached which rung, and which of them are paused."""
        name, reached = self._sweep.study, dict[str, int]()
        seeds = {job.uid: job.seed for job in self._store.jobs.of(name, "search")} if self.rungs.rungs else {}
        for row in self._store.epochs.all(name) if self.rungs.rungs else []:
            value = rung_value(row, self._sweep.objective, self._sweep.search.compare)
            if row.job in seeds and not math.isnan(value):
                self.rungs.record(row.job, row.epoch, value, seeds[row.job])
                self._paces[row.job] = row.seconds
            reached[row.job] = max(row.epoch, reached.get(row.job, 0))
        for job in self._store.jobs.unfinished(name):
            if job.kind != "search" or job.state != "paused":
                continue
            if job.until is None or reached.get(job.uid, job.until) < job.until:
                self.cut_off.append(job.uid)
                self.rungs.cut(job.uid, job.until)
            else:
                self.rungs.pause(job.uid, job.last_epoch)
                self._sizes[job.uid] = _size(checkpoint_path(self._checkpoints, job.uid))

    def heard(self, job: Job, epoch: int, value: float) -> None:
        """Records what rungs compare of a running trial's epoch; see `rung_value`."""
        if not math.isnan(value):
            self.rungs.record(job.uid, epoch, value, job.seed)

    def add(self, job: Job, ended: Ended, running: int) -> None:
        """Records that a trial has paused, and makes room for its checkpoint.

        Args:
            running: how many trials trained, with this one.
        """
        self._record(job, ended, job.last_epoch)
        self.rungs.pause(job.uid, job.last_epoch)
        self._paces[job.uid], self._beside[job.uid] = ended.seconds / max(1, ended.epochs), running
        self._sizes[job.uid] = _size(checkpoint_path(self._checkpoints, job.uid))
        self._make_room()

    def cut(self, job: Job, ended: Ended) -> None:
        """Records that a running trial is paused where the end of the run's hours cut it off."""
        self._record(job, ended, None)
        self.cut_off.append(job.uid)

    def _record(self, job: Job, ended: Ended, epoch: int | None) -> None:
        """Writes that a trial is paused, at the rung of an epoch or at none."""
        assert job.number is not None
        self._study.pause(job.number, epoch, ended.facts)
        self._store.jobs.set_state(job.uid, "paused", ended.reason, ended.value)

    def forget(self, uid: str) -> None:
        """Forgets that a trial is paused, because another program ended it."""
        if uid in self.rungs.paused or uid in self.cut_off:
            self._leave(uid)
            remove_checkpoint(checkpoint_path(self._checkpoints, uid))

    def best(self, closing: bool) -> str | None:
        """Returns the uid of the trial that should continue now, or None.

        Args:
            closing: see `Rungs.promotable`.
        """
        return next(self.rungs.promotable(closing), None)

    def finishing(self, left: float, most: float) -> str | None:
        """Returns the uid of the trial that should be trained to its end now, or None.

        Args:
            left: seconds until the run must end; infinite without a limit.
            most: how many trials will train at the same time, at most. If more did before, an epoch
                will take less time.
        """
        paces = self._paces
        if math.isfinite(most):
            paces = {uid: pace * min(1.0, most / self._beside.get(uid, 1)) for uid, pace in paces.items()}
        return self.rungs.fitting(left, self._sweep.budget.epochs, paces)

    def spent(self) -> dict[str, float]:
        """Returns the device-seconds of the study's trials, by what became of them."""
        name, spent = self._sweep.study, dict[str, float]()
        trained, rungs = self._store.epochs.trained(name, "search"), [rung.epoch for rung in self.rungs.rungs]
        states = self._store.jobs.states(name, "search")
        for uid, state in states.items():
            epochs, seconds = trained.get(uid, (0, 0.0))
            what = fate(state, epochs, rungs)
            spent[what] = spent.get(what, 0.0) + seconds
        if (again := self._trained_again(states)) > 0:
            spent[AGAIN] = again
        return spent

    def _trained_again(self, uids: Container[str]) -> float:
        """Returns the device-seconds of the jobs' epochs that were trained more than once."""
        trained: dict[tuple[str, int], list[float]] = {}
        for (uid, _), rows in trained_by_attempt(self._store.epochs.all(self._sweep.study)).items():
            for row in rows if uid in uids else ():
                trained.setdefault((uid, row.epoch), []).append(row.device_seconds)
        # The last one counts as the trial's own.
        return sum(sum(each[:-1]) for each in trained.values())

    def promote(self, uid: str) -> tuple[Proposal, int | None]:
        """Records that a trial continues to its next rung, or to the one before which it was cut.

        Returns:
            The trial, and the epoch of that rung; None if it continues to its end.
        """
        known = self._store.jobs.get(uid)
        assert known.number is not None
        proposal = self._study.promote(known.number, known.params)
        if uid in self.cut_off:
            self.cut_off.remove(uid)
            return proposal, None if known.until is None else self.rungs.next_after(known.until - 1)
        until = self.rungs.next_after(self.rungs.paused[uid])
        self.rungs.promote(uid)
        return proposal, until

    def end_all(self) -> int:
        """Tells Optuna that all paused trials are pruned, because the study ends.

        Returns:
            The number of these trials.
        """
        after = transition("paused", Event.NOT_PROMOTED).after
        best = set(self.rungs.among_the_best())
        reasons = {
            uid: f"{PRUNED_IN} {epoch}, {FULL if uid in best else NOT_AMONG_THE_BEST}"
            for uid, epoch in self.rungs.paused.items()
        }
        reasons |= dict.fromkeys(self.cut_off, OUT_OF_TIME)
        for uid, reason in reasons.items():
            job = self._store.jobs.get(uid)
            assert job.number is not None
            with self._store.batch():
                self._study.prune(job.number, reason, {PAUSED: False})
                self._store.jobs.set_state(uid, after, reason, job.value)
            remove_checkpoint(checkpoint_path(self._checkpoints, uid))
            self._leave(uid)
        return len(reasons)

    def _leave(self, uid: str) -> None:
        self.rungs.leave(uid)
        if uid in self.cut_off:
            self.cut_off.remove(uid)

    def _make_room(self) -> None:
        """Removes checkpoints of paused trials until the rest fits into `search.keep_gb`.

        The least promising go first. If such a trial is promoted after all, it begins again from
        nothing. That costs time, and its numbers stay the same.
        """
        excess = sum(self._sizes.get(uid, 0) for uid in self.rungs.paused) - self._sweep.search.keep_gb * GB
        for uid in self.rungs.worst() if excess > 0 else ():
            if excess <= 0:
                break
            if size := self._sizes.pop(uid, 0):
                remove_checkpoint(checkpoint_path(self._checkpoints, uid))
                excess -= size
                self._removed += 1
                if self._removed == 1:
                    self._note(
                        f"{self._sweep.study}: the checkpoints of paused trials need more than the sweep's "
                        f"search.keep_gb of {self._sweep.search.keep_gb:g}. Those of the worst trials are removed. "
                        "Such a trial begins again from nothing if it is promoted after all."
                    )


def _size(path: Path) -> int:
    """Returns the size of a file in bytes; 0 if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
