"""What a run of wandb says of a trial: read from the database, and the same whenever it is read.

A run is named by the study's uid and the trial's number. A trial that was interrupted lives on as another one: both
are one run, named by the first, and so are the attempts of a trial. Of an epoch that was trained twice the run keeps
the row that was recorded first, as Optuna does: a row that wandb has cannot be taken back, and whether the mirror had
sent it must not decide what a run says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.job import EpochRow
from fer_tune.mirror.tracker import Run
from fer_tune.store import Store, StudyRecord
from fer_tune.store.epochs import MEASURES
from fer_tune.study import TrialSummary
from fer_tune.study.trial_states import RETRY_OF, State

TOLD: tuple[State, ...] = ("complete", "pruned", "failed")
"""States of a trial that is over; a requeued one lives on as another."""

QUALITY = tuple(name for name in MEASURES if name.endswith(("loss", "accuracy", "f1")))
"""Measures of how good a network is, and not of how it was trained."""


Chain = Sequence[TrialSummary]
"""A trial and, where it was interrupted, the trials it lived on as."""


def chains(trials: Iterable[TrialSummary]) -> dict[int, Chain]:
    """Trials by the number of the first that each goes on from; given, and found, by number."""
    found: dict[int, list[TrialSummary]] = {}
    first: dict[int, int] = {}
    for trial in trials:
        root = first.get(trial.attrs.get(RETRY_OF, trial.number), trial.number)
        first[trial.number] = root
        found.setdefault(root, []).append(trial)
    return dict(found)


def is_told(chain: Chain) -> bool:
    """Whether the study was told how it ended."""
    return chain[-1].state in TOLD


def trial_run(store: Store, record: StudyRecord, chain: Chain, best: bool) -> Run:
    """The run of a trial; `best` says whether it is the study's best."""
    first, last = chain[0].number, chain[-1]
    rows = _curve(store, record.name, chain)
    told = is_told(chain)
    summary: dict[str, Any] = {"state": last.state}
    if told:
        summary |= {
            f"trial_{key}" if key in MEASURES else key: value  # `seconds` is an epoch's, `trial_seconds` of them all
            for key, value in last.attrs.items()
            if isinstance(value, str | int | float)
        }
        summary |= {"objective_value": last.value, "epochs": len(rows), **best_values(rows, record.objective)}
    tags = [record.family, *(state for state in ("pruned", "failed") if last.state == state)]
    return Run(
        job=job_of(chain) or "",
        id=f"{record.uid}-{first:05d}",
        name=f"{record.name}-{last.number:05d}",
        group=record.name,
        job_type="trial",
        tags=(*tags, *(["best"] if best else [])),
        config=dict(last.params) | origin(record) | {"trial": last.number},
        history=tuple(map(history_row, rows)),
        summary={key: value for key, value in summary.items() if value is not None},
        at=(rows[-1].attempt, rows[-1].epoch) if rows else (0, 0),
        over=told,
        failed=last.state == "failed",
    )


def _curve(store: Store, study: str, chain: Chain) -> list[EpochRow]:
    """Returns the epochs that count, as `store.curves` has them, of a trial and those it lived on as."""
    job = job_of(chain)
    return store.epochs.curve(study, job) if job else []


def job_of(chain: Chain) -> str | None:
    """Returns the uid of the job that these trials are, or None if no worker was ever given it."""
    return next((trial.job for trial in reversed(chain) if trial.job), None)


def origin(record: StudyRecord) -> dict[str, Any]:
    """Where a study's figures come from: what it searched for, in which space, on which data."""
    return {
        "family": record.family,
        "study": record.name,
        "objective": record.objective,
        "sweep_signature": record.sweep_signature,
        "data_signature": record.data_signature,
        "split_hash": record.split.hash,
    }


def history_row(row: EpochRow) -> dict[str, float]:
    """An epoch as wandb keeps it; what was not measured (nan) is left out."""
    values: dict[str, float] = {name: float(getattr(row, name)) for name in MEASURES}
    values |= {f"recall/{name}": value for name, value in zip(EMOTIONS, row.recall, strict=True)}
    return {"epoch": row.epoch} | {name: value for name, value in values.items() if not math.isnan(value)}


def best_values(rows: Iterable[EpochRow], objective: str) -> dict[str, float]:
    """The epoch with the highest objective and what was measured in it; the final values wandb keeps by itself."""
    finite = [row for row in rows if math.isfinite(getattr(row, objective))]
    if not finite:
        return {}
    best = max(finite, key=lambda row: float(getattr(row, objective)))  # the first of equal ones
    row = history_row(best)
    return {f"best_{name}": row[name] for name in ("epoch", *QUALITY) if name in row}


def record_holders(told: Iterable[TrialSummary]) -> list[int]:
    """Numbers of the trials that were the best of their study when they ended, in that order."""
    holders, highest = [], -math.inf
    complete = [trial for trial in told if trial.state == "complete" and trial.ended is not None]
    for trial in sorted(complete, key=lambda trial: (trial.ended, trial.number)):
        if trial.value is not None and trial.value > highest:
            holders.append(trial.number)
            highest = trial.value
    return holders
