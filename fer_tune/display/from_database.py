"""What the database says of one study, as a board shows it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fer_tune.display import terminal
from fer_tune.display.run_state import Finished, Place, Point, RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fer_tune.job import EpochRow
    from fer_tune.store import AttemptRecord, Store, StudyRecord
    from fer_tune.study import TrialSummary

PAUSE = timedelta(seconds=60)
"""After so long without any attempt, another run began."""
MOMENT = timedelta(seconds=5)
"""So long a run may be between two trials."""
SILENCE = timedelta(seconds=60)
"""After so long without news, and ten epochs, something may be wrong."""

Rows = dict[str, list["EpochRow"]]
"""Epochs by job."""
Names = dict[str, str | None]

OVER = ("complete", "pruned", "failed", "requeued")


@dataclass
class History:
    """Reads one study as often as it is asked to; the epochs of a trial that has ended are read once."""

    store: Store
    record: StudyRecord
    _kept: Rows = field(default_factory=dict)
    """Epochs of trials that have ended, of all their attempts."""

    def recall(self, board: RunState) -> None:
        """Puts the trials that have ended on a board that has counted them."""
        found = self._trials()
        self._put(board, found, self._rows(found))

    def board(self) -> RunState:
        """The study as it is now.

        Three things the database does not know, and a run does. When a run began: that is when its first trial
        started. Whether a worker is idle or only starting: it is idle. Whether the run still lives: an attempt that
        its orchestrator left open, by being killed, looks as if it ran, until the next run ends it; so after a while
        without news that is remarked.
        """
        from fer_tune.study import last_budget

        record, budget = self.record, last_budget(self.store, self.record.name)
        found, now = self._trials(), datetime.now(UTC)
        attempts = [one for one in self.store.jobs.attempts(record.name) if one.kind == "search"]
        attempts = _last_run(attempts, now)
        rows = self._rows(found, attempts)
        states = Counter[str](trial.state for trial in found)
        board = RunState(
            study=record.name,
            family=record.family,
            data=record.data_source,
            objective=record.objective,
            budget=int(budget["trials"]),
            epochs=self._planned,
            hours=budget["hours"],
            done=states["complete"],
            pruned=states["pruned"],
            failed=states["failed"],
        )
        self._put(board, found, rows)
        self._put_turn(board, attempts, {trial.job: trial.name for trial in found if trial.job}, rows)
        _put_times(board, attempts, rows, now)
        return board

    @property
    def _planned(self) -> int:
        return int(self.record.sweep_json["epochs"])

    def _put(self, board: RunState, found: Iterable[TrialSummary], rows: Rows) -> None:
        spent = sum(row.seconds for trial in rows.values() for row in trial)
        board.recall([self._finished(trial, rows) for trial in _in_order(found)], spent)

    def _put_turn(self, board: RunState, attempts: Sequence[AttemptRecord], names: Names, rows: Rows) -> None:
        """What the last run has trained, and what its workers do."""
        for attempt in attempts:
            of_trial = rows.get(attempt.job, [])
            board.trained += sum(row.attempt == attempt.attempt for row in of_trial)
            place = board.places[attempt.worker] = Place(attempt.device, "idle")
            if attempt.ended is None:
                place.doing, place.trial, place.name = "training", attempt.number or 0, names.get(attempt.job)
                place.epochs, place.curve = self._planned, list(self._curve(of_trial))
                place.rate = of_trial[-1].images_per_second if of_trial else None

    # trials and epochs --------------------------------------------------------------------------------------------

    def _trials(self) -> list[TrialSummary]:
        from fer_tune.study import trials

        return trials(self.store, self.record.name)

    def _rows(self, found: Iterable[TrialSummary], attempts: Iterable[AttemptRecord] = ()) -> Rows:
        """Epochs by trial, of all attempts in their order; of trials, and of those that were asked for meanwhile."""
        over = {trial.job for trial in found if trial.state in OVER and trial.job}
        running = {trial.job for trial in found if trial.state == "running" and trial.job}
        wanted = (over | running | {attempt.job for attempt in attempts}) - self._kept.keys()
        rows: Rows = {number: [] for number in wanted}
        for row in self._each(wanted) if self._kept else self.store.epochs.all(self.record.name):
            rows.setdefault(row.job, []).append(row)
        self._kept |= {number: rows[number] for number in wanted & over}
        return self._kept | rows

    def _each(self, numbers: Iterable[str]) -> Iterable[EpochRow]:
        for number in numbers:
            yield from self.store.epochs.all(self.record.name, number)

    def _finished(self, trial: TrialSummary, rows: Rows) -> Finished:
        return Finished(
            trial.number,
            trial.state,
            trial.value,
            self._planned,
            self._curve(rows.get(trial.job or "", [])),
            trial.name,
            str(trial.attrs.get("reason", "")),
        )

    def _curve(self, rows: Iterable[EpochRow]) -> tuple[Point, ...]:
        """Each epoch once: what an attempt trained again replaces what earlier ones recorded."""
        curve: list[Point] = []
        for row in rows:
            while curve and curve[-1].epoch >= row.epoch:
                curve.pop()
            curve.append(Point(row.epoch, float(getattr(row, self.record.objective)), row.seconds))
        return tuple(curve)


def _in_order(found: Iterable[TrialSummary]) -> list[TrialSummary]:
    """Those that have ended, in the order in which they did."""
    early = datetime.min.replace(tzinfo=UTC)
    return sorted((trial for trial in found if trial.state in OVER), key=lambda one: (one.ended or early, one.number))


def _last_run(attempts: Iterable[AttemptRecord], now: datetime) -> list[AttemptRecord]:
    """The attempts since the last pause, in the order in which they started."""
    run: list[AttemptRecord] = []
    busy = datetime.min.replace(tzinfo=UTC)
    for attempt in sorted(attempts, key=lambda one: one.started):
        if run and attempt.started - busy > PAUSE:
            run.clear()
        run.append(attempt)
        busy = max(busy, attempt.ended or now)
    return run


def _put_times(board: RunState, attempts: Sequence[AttemptRecord], rows: Rows, now: datetime) -> None:
    """When the last run began, whether it is over, and what is odd about that."""
    clock = time.monotonic()

    def ago(moment: datetime) -> float:
        return clock - (now - moment).total_seconds()

    if not attempts:
        board.began = board.over = clock
        board.remark = "no trial has started yet"
        return
    board.began = board.first = ago(attempts[0].started)
    running = [attempt for attempt in attempts if attempt.ended is None]
    if running:
        silence = now - max(_heard(attempt, rows) for attempt in running)
        slowest = max((row.seconds for attempt in running for row in rows.get(attempt.job, [])), default=0.0)
        if silence > max(SILENCE, timedelta(seconds=10 * slowest)):
            board.remark = f"no news for {terminal.clock(silence.total_seconds())}: was the run killed?"
        return
    ended = max(attempt.ended for attempt in attempts if attempt.ended)
    if now - ended > MOMENT:
        board.over = ago(ended)
        board.remark = f"not running; the last trial ended {ended.astimezone():%Y-%m-%d %H:%M:%S}"


def _heard(attempt: AttemptRecord, rows: Rows) -> datetime:
    """About when an attempt's last epoch was over."""
    mine = [row.seconds for row in rows.get(attempt.job, []) if row.attempt == attempt.attempt]
    return attempt.started + timedelta(seconds=sum(mine))
