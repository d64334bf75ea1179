"""What is killed before each of its operations: a search, final fits, a first load, and more.

A scenario does its work in this process, with one small network and a hundred images. So a try
takes about a second.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_tune.doctor.storage import storage
from fer_tune.doctor.studies import studies
from fer_tune.errors import StorageError
from fer_tune.mirror.outbox import Outbox
from fer_tune.mirror.trackers import adapter
from fer_tune.settings import Settings, sqlite_url
from fer_tune.sources.final import Request
from fer_tune.sources.retrain import run_final_fits
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.store.backup import back_up
from fer_tune.store.restore import restore
from fer_tune.study import trials
from fer_tune.study.deleting import delete_study
from fer_tune.sweep.load import loads_sweep

from .checks import measured
from .subject import ROOT

STUDY = "killed"

SWEEP = f"""\
study: {STUDY}
family: simple_cnn
data: FACES
split: {{val: 0.2, test: 0.4}}
sampler: random
pruner: none
budget: {{trials: TRIALS, epochs: EPOCHS}}
checkpoint_interval: 0.001
params:
  lr: {{low: 1e-4, high: 1e-2, log: true}}
  width: 8
  batch_size: 32
"""

PROMOTING = "search: {strategy: promote, factor: 2, first: 1}\n"
"""Lets trials pause and continue."""

INLINE = RunOptions(engine="inline", devices="cpu", wandb="disabled")

OLD = ROOT / "tests" / "store" / "format-1.db"
"""A database of the first format."""


@dataclass(frozen=True)
class Scenario:
    """Work that is killed.

    Attributes:
        name: what the tables call it.
        work: is given twice: killed the first time, to its end the second time. It takes a storage
            folder.
        base: what is done before, undisturbed.
        mirrored: whether wandb's files are part of the result.
        small: the same work in less time, of whose operations the tests take a tenth. None leaves
            the scenario out of the tests.
    """

    name: str
    work: Callable[[Settings], object]
    base: Callable[[Settings], object] = lambda settings: None
    mirrored: bool = False
    small: Callable[[Settings], object] | None = None


def settings_of(root: Path) -> Settings:
    """Returns the settings of a storage folder."""
    return Settings(root, sqlite_url(root / "fer_tune.db"))


def _search(settings: Settings, trials_: int = 8, epochs: int = 4, more: str = "") -> None:
    text = SWEEP.replace("FACES", str(settings.root.parent / "faces.csv")) + more
    text = text.replace("TRIALS", str(trials_)).replace("EPOCHS", str(epochs))
    outcome = run_sweeps([loads_sweep(text, Path("killed.yaml"))], settings, INLINE)
    assert outcome.studies[0].counts.finished == trials_, outcome


def _promote(settings: Settings) -> None:
    _search(settings, trials_=10, epochs=4, more=PROMOTING)


def _short_search(settings: Settings) -> None:
    _search(settings, trials_=2, epochs=2)


def _final_fits(settings: Settings, seeds: int = 4, epochs: int = 4) -> None:
    """Trains fits, unless all were finished before: the same command would train others then.

    The study's next run then removes what the killed command left.
    """
    with Store.of(settings) as store:
        finished = sum(file.kind == "metrics" for file in store.artifacts.of(STUDY)) == seeds
    if finished:
        _short_search(settings)
        return
    found = run_final_fits(STUDY, Request(trial=0, epochs=epochs, seeds=seeds), settings, INLINE)
    assert found is not None
    assert len(found) == seeds


def _one_fit(settings: Settings) -> None:
    _final_fits(settings, seeds=1, epochs=2)


def _load_and_search(settings: Settings) -> None:
    _search(settings, trials_=1, epochs=1)


def _old_database(settings: Settings) -> None:
    settings.root.mkdir(parents=True, exist_ok=True)
    shutil.copy(OLD, settings.root / "fer_tune.db")


def _migrate(settings: Settings) -> None:
    Store.of(settings, create=False).close()


def _sync(settings: Settings) -> None:
    """Copies as `fer-tune sync` does in its own process."""
    os.environ |= {"FER_TUNE_DIR": str(settings.root), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    os.environ |= {f"WANDB_{name}_DIR": str(settings.root / "wandb") for name in ("CONFIG", "CACHE", "DATA")}
    to = adapter("wandb")
    with Store.of(settings, create=False) as store:
        tracker = to.connect(settings, "offline")
        Outbox(store, STUDY, tracker, to.name, include_disabled=True).copy(everything=True)
        tracker.close()


def _back_up(settings: Settings) -> None:
    to = settings.root / "backups" / "copy.tar"
    there = to.exists()
    with Store.of(settings, create=False) as store:
        try:
            back_up(store, to, artifacts=True)
        except StorageError:
            if not there:  # a file that exists is not replaced
                raise


def _search_and_back_up(settings: Settings) -> None:
    _short_search(settings)
    _back_up(settings)


def _restore(settings: Settings) -> None:
    restore(settings.root / "backups" / "copy.tar", settings, replace=True)


def _delete(settings: Settings) -> None:
    with Store.of(settings, create=False) as store:
        if store.studies.find(STUDY) is not None:
            delete_study(store, settings, STUDY)


SCENARIOS = (
    Scenario("a search", _search, small=_short_search),
    Scenario("a search that promotes", _promote),
    Scenario("final fits", _final_fits, _short_search, small=_one_fit),
    Scenario("a first load", _load_and_search),  # the small search begins with a first load, too
    Scenario("a migration", _migrate, _old_database, small=_migrate),
    Scenario("a sync", _sync, _short_search, mirrored=True, small=_sync),
    Scenario("a backup", _back_up, _short_search, small=_back_up),
    Scenario("a restore", _restore, _search_and_back_up, small=_restore),
    Scenario("a deletion", _delete, _short_search, small=_delete),
)


# what is left ---------------------------------------------------------------------------------------------------------


def look(settings: Settings, mirrored: bool) -> dict[str, Any]:
    """Returns what must equal an undisturbed result, and what must be empty."""
    with Store.of(settings, create=False) as store:
        found = {record.name: _study(store, record.name) for record in store.studies.all()}
    return {"studies": found, "wrong": _wrong(settings), "mirrored": _mirrored(settings) if mirrored else []}


def _study(store: Store, name: str) -> dict[str, Any]:
    seeds = {job.uid: (job.kind, job.seed) for job in store.jobs.of(name)}
    curves = {seeds[uid]: [measured(row) for row in rows] for uid, rows in store.epochs.curves(name).items()}
    attempts = store.jobs.attempts(name)
    return {
        "trials": sorted(
            [trial.state, trial.value, sorted(trial.params.items())]
            for trial in trials(store, name)
            if trial.state != "requeued"
        ),
        "jobs": sorted([job.kind, job.seed, job.state, job.value or 0.0] for job in store.jobs.of(name)),
        "curves": sorted([*key, rows] for key, rows in curves.items()),
        "open attempts": sum(attempt.ended is None for attempt in attempts),
        "openings": sorted(Counter(seeds[entry.job or ""][1] for entry in store.ledger.of_study(name)).items()),
        "files": sorted(
            [*(seeds[file.job] if file.job else ("", 0)), file.kind, _content(store.root / file.path, file.kind)]
            for file in store.artifacts.of(name)
        ),
        "cursors": sorted([*seeds[uid], cursor.finished] for uid, cursor in store.cursors.of(name, "wandb").items()),
    }


SAME = ("model", "val_logits")
"""Kinds of artifacts whose bytes are the same in each run. Others have times or uids."""


def _content(path: Path, kind: str) -> int:
    if kind not in SAME or not path.is_file():
        return int(path.is_file())
    return zlib.crc32(path.read_bytes())


def _wrong(settings: Settings) -> list[str]:
    """Returns what no run may leave: drafts, checkpoints, unrecorded files, damage."""
    root = settings.root
    hidden = [path for path in root.rglob(".*") if "wandb" not in path.relative_to(root).parts]
    wrong = [f"{path.relative_to(root)} is left" for path in (*hidden, *settings.checkpoints.rglob("*.*"))]
    with closing(sqlite3.connect(root / "fer_tune.db")) as connection:
        recorded = {row[0] for row in connection.execute("SELECT path FROM fer_artifacts")}
        wrong += [f"integrity: {row[0]}" for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
    for path in settings.artifacts.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not path.is_relative_to(settings.pictures) and name not in recorded:
            wrong.append(f"{name} is not recorded")
    problems = [*storage(settings), *studies(settings)]
    wrong += [f"{one.what}: {one.found}" for one in problems if one.state == "problem" and one.what != "free space"]
    return sorted(wrong)


def _mirrored(settings: Settings) -> list[Any]:
    from .evidence import _mirrored as read

    return sorted([[row["_step"], row.get("train_loss")] for row in rows] for rows in read(settings.wandb).values())
