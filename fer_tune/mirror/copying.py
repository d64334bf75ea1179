"""From the database to runs: which trials are still to be copied, and what a run of each says."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from fer_tune.store import MirrorCursor, Store, StudyRecord
from fer_tune.store.store import MEASURES
from fer_tune.study import TrialSummary, trials
from fer_tune.study.tally import State
from fer_tune.trial import EMOTIONS, EpochRow

FINISHED: tuple[State, ...] = ("complete", "pruned", "failed")
"""States of which a run is made; a requeued trial lives on as another, which gets its own."""


@dataclass(frozen=True)
class Run:
    """What wandb is to know of a trial.

    Attributes:
        id: unique in the project, the same whenever the trial is copied.
        history: one mapping an epoch, with `epoch` in it, rising.
    """

    id: str
    name: str
    group: str
    tags: tuple[str, ...]
    config: dict[str, Any]
    history: tuple[dict[str, float], ...]
    summary: dict[str, Any]


class Runs(Protocol):
    """Where runs go: wandb, or a test's list."""

    def write(self, run: Run) -> None:
        """Writes the run whole; writing one again that was written in part must not double its rows."""
        ...


def copy_study(store: Store, study: str, runs: Runs) -> int:
    """Copies every finished trial that has not been copied; returns how many.

    A trial's cursor is set before its run is begun and marked finished after it is written, so that a mirror that
    is killed in between writes that run, and no other, again.
    """
    record = store.study(study)
    copied = {cursor.number for cursor in store.mirror_cursors(study) if cursor.finished}
    finished = trials(store, study, states=FINISHED)
    best = best_when_ended(finished)
    waiting = [trial for trial in finished if trial.number not in copied]
    for trial in waiting:
        rows = store.curves(study, trial.number).get(trial.number, [])
        run = run_of(record, trial, rows, trial.number in best)
        last = rows[-1] if rows else None
        attempt, epoch = (last.attempt, last.epoch) if last else (0, 0)
        store.set_mirror_cursor(study, MirrorCursor(trial.number, run.id))
        runs.write(run)
        store.set_mirror_cursor(study, MirrorCursor(trial.number, run.id, attempt, epoch, finished=True))
    return len(waiting)


def run_of(record: StudyRecord, trial: TrialSummary, rows: Iterable[EpochRow], best: bool) -> Run:
    """The run of a finished trial; `best` says whether it was the study's best when it ended."""
    config: dict[str, Any] = dict(trial.params)
    config |= {
        "family": record.family,
        "study": record.name,
        "trial": trial.number,
        "objective": record.objective,
        "sweep_signature": record.sweep_signature,
        "data_signature": record.data_signature,
        "split_hash": record.split.hash,
    }
    summary: dict[str, Any] = {
        "state": trial.state,
        "objective_value": trial.value,
        "epochs": trial.epochs,
        "best_epoch": trial.best_epoch,
    }
    summary |= {key: value for key, value in trial.attrs.items() if isinstance(value, str | int | float)}
    return Run(
        id=f"{record.uid}-{trial.number:05d}",
        name=f"{record.name}-{trial.number:05d}",
        group=record.name,
        tags=(record.family, trial.state, *(["best"] if best else [])),
        config=config,
        history=tuple(history_row(row) for row in rows),
        summary={key: value for key, value in summary.items() if value is not None},
    )


def history_row(row: EpochRow) -> dict[str, float]:
    """An epoch as wandb keeps it; what was not measured (nan) is left out."""
    values: dict[str, float] = {name: float(getattr(row, name)) for name in MEASURES}
    values |= {f"recall/{name}": value for name, value in zip(EMOTIONS, row.recall, strict=True)}
    return {"epoch": row.epoch} | {name: value for name, value in values.items() if not math.isnan(value)}


def best_when_ended(finished: Iterable[TrialSummary]) -> set[int]:
    """Numbers of the trials that were the best of their study when they ended.

    The tag of a run that is written cannot change, so it says what will stay true.
    """
    best, highest = set(), -math.inf
    complete = [trial for trial in finished if trial.state == "complete" and trial.ended is not None]
    for trial in sorted(complete, key=lambda trial: (trial.ended, trial.number)):
        if trial.value is not None and trial.value > highest:
            best.add(trial.number)
            highest = trial.value
    return best
