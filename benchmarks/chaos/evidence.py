"""What a campaign left: its database, its files and wandb's files."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
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
"""The hyperparameters of a job, in the order of their names."""


@dataclass(frozen=True)
class Try:
    """One attempt at a job and its rows."""

    record: AttemptRecord
    rows: tuple[EpochRow, ...]


@dataclass(frozen=True)
class Fit:
    """A final fit.

    Attributes:
        config: its hyperparameters.
        batch: of the request that it belongs to.
        curve: the epochs that count.
        openings: entries of the ledger of test openings.
        evaluated: whether its figures on test are recorded.
        model: hash of its weights; empty if there are none.
    """

    job: str
    seed: int
    config: Config
    batch: str
    state: str
    tries: tuple[Try, ...]
    curve: tuple[EpochRow, ...]
    openings: int
    evaluated: bool
    model: str


@dataclass(frozen=True)
class Evidence:
    """A finished study and its final fits.

    Attributes:
        trials: all of them, also the requeued ones.
        ranked: the complete ones, the best first.
        tries: of the trials, by seed, in the order in which they began. The trials of one
            configuration share a seed.
        fits: the final fits.
        integrity: what SQLite says of its file; `ok` if it is sound.
        foreign: rows that refer to a missing row.
        doctor: what `fer-tune doctor` calls a problem.
        left: checkpoints, and drafts of files, that nobody needs any more.
        mirrored: the rows of each offline run of wandb, by its folder.
    """

    trials: tuple[TrialSummary, ...]
    ranked: tuple[TrialSummary, ...]
    tries: dict[int, tuple[Try, ...]]
    fits: tuple[Fit, ...]
    integrity: str
    foreign: int
    doctor: tuple[str, ...]
    left: tuple[str, ...]
    mirrored: dict[str, list[dict[str, Any]]]

    @property
    def finished(self) -> list[TrialSummary]:
        """The trials that the budget counts."""
        return [trial for trial in self.trials if trial.state in ("complete", "pruned", "failed")]

    def seed_of(self, trial: TrialSummary) -> int | None:
        """Returns the seed with which the trial was trained, or None if it was not."""
        for seed, tries in self.tries.items():
            if any(one.record.number == trial.number for one in tries):
                return seed
        return None

    def curve(self, number: int) -> list[EpochRow]:
        """Returns the rows of a trial's last attempt."""
        own = [one for tries in self.tries.values() for one in tries if one.record.number == number]
        return list(max(own, key=lambda one: one.record.attempt).rows) if own else []


def config_of(trial: TrialSummary) -> Config:
    """Returns the hyperparameters of a trial."""
    return tuple(sorted(trial.params.items()))


def read(subject: Subject) -> Evidence:
    """Reads everything. The subject's processes have ended."""
    integrity, foreign = _sqlite(subject.database)
    with Store.of(subject.settings, create=False) as store:
        return Evidence(
            trials=tuple(trials(store, STUDY)),
            ranked=tuple(ranking(store, STUDY, top=None)),
            tries=_tries(store),
            fits=tuple(_fits(store)),
            integrity=integrity,
            foreign=foreign,
            doctor=tuple(_problems(subject)),
            left=tuple(_left(subject.storage)),
            mirrored=_mirrored(subject.settings.wandb),
        )


def _tries(store: Store) -> dict[int, tuple[Try, ...]]:
    """Returns the attempts at the search's jobs, by seed."""
    by_job = _tries_of_jobs(store)
    found: dict[int, tuple[Try, ...]] = {}
    for job in store.jobs.of(STUDY, "search"):
        found[job.seed] = (*found.get(job.seed, ()), *by_job.get(job.uid, ()))
    return {seed: tries for seed, tries in found.items() if tries}


def _tries_of_jobs(store: Store) -> dict[str, tuple[Try, ...]]:
    rows: dict[tuple[str, int], list[EpochRow]] = {}
    for row in store.epochs.all(STUDY):
        rows.setdefault((row.job, row.attempt), []).append(row)
    found: dict[str, list[Try]] = {}
    for record in store.jobs.attempts(STUDY):
        found.setdefault(record.job, []).append(Try(record, tuple(rows.get((record.job, record.attempt), ()))))
    return {job: tuple(tries) for job, tries in found.items()}


def _fits(store: Store) -> Iterator[Fit]:
    tries, ledger = _tries_of_jobs(store), store.ledger.of_study(STUDY)
    for job in store.jobs.of(STUDY, "final"):
        files = {file.kind: file for file in store.artifacts.of(STUDY, job.uid)}
        yield Fit(
            job=job.uid,
            seed=job.seed,
            config=tuple(sorted(job.params.items())),
            batch=job.origin["batch"],
            state=job.state,
            tries=tries.get(job.uid, ()),
            curve=tuple(store.epochs.curve(STUDY, job.uid)),
            openings=sum(entry.job == job.uid for entry in ledger),
            evaluated="metrics" in files,
            model=files["model"].sha256 if "model" in files else "",
        )


def _sqlite(database: Path) -> tuple[str, int]:
    with closing(sqlite3.connect(database)) as connection:
        integrity = "; ".join(row[0] for row in connection.execute("PRAGMA integrity_check"))
        return integrity, len(connection.execute("PRAGMA foreign_key_check").fetchall())


def _problems(subject: Subject) -> list[str]:
    """Returns the problems that `fer-tune doctor` finds in the storage, not in this machine."""
    found = [*storage(subject.settings), *studies(subject.settings)]
    problems = (finding for finding in found if finding.state == "problem")
    # A campaign gives the storage a small disk on purpose.
    return [f"{finding.what}: {finding.found}" for finding in problems if finding.what != "free space"]


def _left(storage: Path) -> list[str]:
    """Returns checkpoints of jobs that are over, and files whose writer was killed."""
    files = [path for path in storage.rglob("*") if path.is_file() and storage / "wandb" not in path.parents]
    checkpoints = set((storage / "checkpoints").rglob("*.safetensors"))
    left = [path for path in files if path in checkpoints or path.name.startswith(".")]
    return sorted(str(path.relative_to(storage)) for path in left)


def _mirrored(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {path.parent.name: _history(path) for path in sorted(folder.glob("offline-run-*/run-*.wandb"))}


def _history(file: Path) -> list[dict[str, Any]]:
    """Returns the rows of an offline run as wandb's own reader prints them."""
    found = find_spec("wandb")
    assert found is not None
    assert found.origin is not None
    core = Path(found.origin).parent / "bin" / "wandb-core"
    words = ["leet", "inspect", "--json", "-no-observability", "-run-file", str(file), str(file.parent)]
    printed = subprocess.run([str(core), *words], capture_output=True, text=True, check=True).stdout
    records = map(json.loads, printed.splitlines())
    return [record["history"]["item"] for record in records if record["type"] == "history"]
