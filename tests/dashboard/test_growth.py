"""The work of the database for one more trial does not grow with the study."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from sqlalchemy import event

from benchmarks.cloned_trials import clone_trials
from fer_tune.dashboard.writer import NoteWriter
from fer_tune.data.spec import DataRef
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Study
from fer_tune.sweep.load import loads_sweep
from tests.studies import SWEEP, add_trial, make_study

EVERY = 10
"""SQLite counts its work in so many steps."""


def steps_of_one_more(settings: Settings, trials: int) -> int:
    """Returns SQLite's steps for a trial that is drawn, reports, ends and gets its note."""
    make_study(settings).close()
    clone_trials(settings.root / "fer_tune.db", trials)
    with Store.of(settings) as store:
        data = DataRef(settings.cache / "faces", "d" * 64, settings.cache / "split.npz", "5" * 64)
        study = Study.open(loads_sweep(SWEEP, Path("tiny.yaml")), store, data)
        writer = NoteWriter(store, settings, "tiny")
        counted: Counter[str] = Counter()

        def count() -> None:
            counted["steps"] += 1

        def watch(connection: Any, *_: Any) -> None:
            connection.set_progress_handler(count, EVERY)

        event.listen(store.engine, "checkout", watch)
        for _ in range(2):  # the first one also finds out what the tables are like
            counted.clear()
            writer.write(add_trial(store, study, "complete", [0.3, 0.4]))
            assert not study.taken()
        return EVERY * counted["steps"]


def test_one_more_trial_is_no_more_work_in_a_long_study(tmp_path: Path) -> None:
    short, long = (
        steps_of_one_more(Settings(tmp_path / str(trials), f"sqlite:///{tmp_path}/{trials}/fer_tune.db"), trials)
        for trials in (10, 1000)
    )
    assert long < 1.2 * short + 200
