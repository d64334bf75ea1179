"""The cache of images was emptied: what trains again loads them again."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from fer_tune.errors import DataError
from fer_tune.settings import Settings
from fer_tune.sources.confirm import run_confirmations
from fer_tune.sources.final import Request
from fer_tune.sources.images import keep_images
from fer_tune.sources.retrain import run_final_fits
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store, StudyRecord
from tests.jobs.helpers import INLINE, Notebook, real_sweep
from tests.sources.conftest import Once


@pytest.fixture
def emptied(once: Once) -> Settings:
    """Returns the settings of a study with one complete trial, whose cache was removed."""
    settings = once("one trial", lambda settings: run_sweeps([real_sweep(2)], settings, INLINE))
    shutil.rmtree(settings.cache)
    return settings


def record(settings: Settings) -> StudyRecord:
    with Store.of(settings) as store:
        return store.studies.get("s")


def test_a_final_fit_and_a_confirmation_load_the_images_again(emptied: Settings) -> None:
    heard = Notebook()
    found = run_confirmations("s", emptied, INLINE, top=1, seeds=2, observer=heard)
    assert found is not None
    assert found.confirmations is not None
    assert found.confirmations.trainings == 2
    assert heard.notes[0] == "s: its images are not in the cache any more. They are loaded again."
    shutil.rmtree(emptied.cache)
    fits = run_final_fits("s", Request(epochs=1), emptied, INLINE)
    assert fits is not None
    assert fits[0].tested is not None


def test_what_is_in_the_cache_is_left_alone(emptied: Settings) -> None:
    notes: list[str] = []
    for _ in range(2):
        keep_images(record(emptied), emptied, notes.append)
    assert notes == ["s: its images are not in the cache any more. They are loaded again."]


def test_other_images_are_refused(emptied: Settings) -> None:
    other = replace(record(emptied), data_signature="0" * 64)
    with pytest.raises(DataError, match="has other images now than those that the study s was made from"):
        keep_images(other, emptied, lambda text: None)
    moved = replace(record(emptied), data_source="/nowhere/faces.zip")
    with pytest.raises(DataError, match="nowhere"):
        keep_images(moved, emptied, lambda text: None)


def test_a_split_that_cannot_be_made_again_is_said(emptied: Settings) -> None:
    known = record(emptied)
    other = replace(known, split=replace(known.split, policy=known.split.policy | {"seed": 7}))
    with pytest.raises(DataError, match="The split of the study s was removed") as found:
        keep_images(other, emptied, lambda text: None)
    assert "Restore the cache from a backup" in str(found.value.hint)
