"""What a run left: its database and wandb's files, read back through the doors that a user has, and some others."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fer_tune.doctor.storage import storage
from fer_tune.doctor.studies import studies
from fer_tune.job import EpochRow
from fer_tune.store import AttemptRecord, Store
from fer_tune.study import TrialSummary, ranking, trials

from .subject import STUDY, Subject

Config = tuple[tuple[str, Any], ...]
"""The hyperparameters of a trial, in order of their names."""


@dataclass(frozen=True)
class Try:
    """One attempt of a trial and its rows."""

    record: AttemptRecord
    rows: tuple[EpochRow, ...]


@dataclass(frozen=True)
class Evidence:
    """A finished study.

    Attributes:
        trials: all of them, requeued ones too.
        ranked: the complete ones, the best first.
        tries: by seed, which all trials of one configuration share, in the order in which they were begun.
        integrity: what SQLite says of its file; `ok` if it is sound.
        foreign: rows that point nowhere.
        doctor: what `fer-tune doctor` calls a problem.
        left: checkpoints, and drafts of files, that nobody needs any more.
        mirrored: the rows of each offline run of wandb, by its folder.
    """

    trials: tuple[TrialSummary, ...]
    ranked: tuple[TrialSummary, ...]
    tries: dict[int, tuple[Try, ...]]
    integrity: str
    foreign: int
    doctor: tuple[str, ...]
    left: tuple[str, ...]
    mirrored: dict[str, list[dict[str, Any]]]

    @property
    def finished(self) -> list[TrialSummary]:
        """What the budget counts."""
        return [trial for trial in self.trials if trial.state in ("complete", "pruned", "failed")]

    def seed_of(self, trial: TrialSummary) -> int | None:
        """The seed with which the trial was trained; None if it never was."""
        for seed, tries in self.tries.items():
            if any(one.record.number == trial.number for one in tries):
                return seed
        return None

    def curve(self, number: int) -> list[EpochRow]:
        """The rows of a trial's last attempt."""
        own = [one for tries in self.tries.values() for one in tries if one.record.number == number]
        return list(max(own, key=lambda one: one.record.attempt).rows) if own else []


def config_of(trial: TrialSummary) -> Config:
    """What was tried."""
    return tuple(sorted(trial.params.items()))


def read(subject: Subject) -> Evidence:
    """Reads everything; the subject's processes have ended."""
    integrity, foreign = _sqlite(subject.database)
    with Store.of(subject.settings, create=False) as store:
        return Evidence(
            trials=tuple(trials(store, STUDY)),
            ranked=tuple(ranking(store, STUDY, top=None)),
            tries=_tries(store),
            integrity=integrity,
            foreign=foreign,
            doctor=tuple(_problems(subject)),
            left=tuple(_left(subject.storage)),
            mirrored=_mirrored(subject.settings.wandb),
        )


def _tries(store: Store) -> dict[int, tuple[Try, ...]]:
    rows: dict[tuple[str, int], list[EpochRow]] = {}
    seeds = {job.uid: job.seed for job in store.jobs.of(STUDY, "search")}
    for row in store.epochs.all(STUDY):
        rows.setdefault((row.job, row.attempt), []).append(row)
    found: dict[int, list[Try]] = {}
    for record in sorted(store.jobs.attempts(STUDY), key=_begun):
        if record.job in seeds:
            tried = Try(record, tuple(rows.get((record.job, record.attempt), ())))
            found.setdefault(seeds[record.job], []).append(tried)
    return {seed: tuple(tries) for seed, tries in found.items()}


def _begun(record: AttemptRecord) -> tuple[datetime, str, int]:
    return record.started, record.job, record.attempt


def _sqlite(database: Path) -> tuple[str, int]:
    with closing(sqlite3.connect(database)) as connection:
        integrity = "; ".join(row[0] for row in connection.execute("PRAGMA integrity_check"))
        return integrity, len(connection.execute("PRAGMA foreign_key_check").fetchall())


def _problems(subject: Subject) -> list[str]:
    """What `fer-tune doctor` says of the storage; not of this machine, which is not what is tested."""
    found = [*storage(subject.settings), *studies(subject.settings)]
    return [f"{finding.what}: {finding.found}" for finding in found if finding.state == "problem"]


def _left(storage: Path) -> list[str]:
    """Checkpoints of trials that are over, and files that were being written when their writer was killed."""
    files = [path for path in storage.rglob("*") if path.is_file() and storage / "wandb" not in path.parents]
    left = [path for path in files if path.suffix == ".safetensors" or path.name.startswith(".")]
    return sorted(str(path.relative_to(storage)) for path in left)


def _mirrored(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {path.parent.name: _history(path) for path in sorted(folder.glob("offline-run-*/run-*.wandb"))}


def _history(file: Path) -> list[dict[str, Any]]:
    """The rows of an offline run as wandb's own reader prints them."""
    found = find_spec("wandb")
    assert found is not None
    assert found.origin is not None
    core = Path(found.origin).parent / "bin" / "wandb-core"
    words = ["leet", "inspect", "--json", "-no-observability", "-run-file", str(file), str(file.parent)]
    printed = subprocess.run([str(core), *words], capture_output=True, text=True, check=True).stdout
    records = map(json.loads, printed.splitlines())
    return [record["history"]["item"] for record in records if record["type"] == "history"]
