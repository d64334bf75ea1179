"""Tests that one study is run by one process from one storage folder, however both are spelt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fer_tune.errors import StorageError, StudyError
from fer_tune.job import EpochRow, Job
from fer_tune.settings import Settings, sqlite_url
from fer_tune.sources.run import run_sweeps
from tests.jobs.helpers import INLINE, Notebook, run
from tests.pool.trainers import obedient
from tests.searches import make_sweep


def during(settings: Settings, other: Settings) -> list[StudyError]:
    """Runs a study, and during it the same study again with other settings. Returns the errors."""
    found: list[StudyError] = []

    def again(job: Job, row: EpochRow) -> None:
        with pytest.raises(StudyError) as caught:
            run_sweeps([make_sweep()], other, INLINE, None, obedient)
        found.append(caught.value)

    run_sweeps([make_sweep(budget=1, epochs=1)], settings, INLINE, Notebook(on_epoch=again), obedient)
    return found


def test_a_link_to_the_storage_folder_is_no_second_owner(settings: Settings, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(settings.root)
    [error] = during(settings, replace(settings, root=link, url=sqlite_url(link / "fer_tune.db")))
    assert "is being run by process" in error.message


def test_two_storage_folders_are_no_two_owners(settings: Settings, tmp_path: Path) -> None:
    shared = replace(settings, url=sqlite_url(tmp_path / "shared.db"))
    run(make_sweep("other", budget=1), shared)
    with pytest.raises(StorageError, match=f"belongs to the storage folder {settings.root}"):
        run(make_sweep(budget=1), replace(shared, root=tmp_path / "b"))
    assert not list((tmp_path / "b").glob("artifacts/*"))
