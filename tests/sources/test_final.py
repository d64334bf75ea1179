"""Tests of the last epoch of a final fit; `cli/test_whole.py` tests what it trains and leaves."""

from __future__ import annotations

import dataclasses

import pytest

from fer_tune.job import Part
from fer_tune.settings import Settings
from fer_tune.sources.final import FinalFits, Request
from fer_tune.sources.final_job import last_epoch
from fer_tune.study.summaries import ranking
from tests.studies import SWEEP, make_study, uid_of


@pytest.mark.parametrize(
    ("curve", "last"),
    [
        ([0.30, 0.90, 0.40], 40),  # best in the second of three epochs, then far worse
        ([0.90, 0.40], 20),  # stopped early
        ([0.50, 0.60, 0.55], 60),  # of 21 images, 0.6 has a standard error of 0.107
        ([0.50, 0.60, 0.48], 40),
        ([0.30, 0.40, 0.50], 60),
    ],
)
def test_it_ends_where_the_trial_was_best_if_it_overfitted_afterwards(settings: Settings, curve, last):
    with make_study(settings, (("complete", curve),)) as store:
        (chosen,) = ranking(store, "tiny")
        assert last_epoch(store, store.studies.get("tiny"), chosen, 60, "train") == last


@pytest.mark.parametrize(("on", "last"), [("train", 40), ("train+val", 33), ("all", 28)])
def test_the_best_epoch_is_scaled_to_the_larger_set(settings: Settings, on: Part, last: int):
    """There are 98 images for training, 21 for validation and 21 for test."""
    with make_study(settings, (("complete", [0.30, 0.90, 0.40]),)) as store:
        (chosen,) = ranking(store, "tiny")
        record = store.studies.get("tiny")
        split = dataclasses.replace(record.split, counts={"train": 98, "val": 21, "test": 21})
        assert last_epoch(store, dataclasses.replace(record, split=split), chosen, 60, on) == last


def test_it_goes_to_the_end_where_nothing_is_known_of_the_trial(settings: Settings):
    with make_study(settings) as store:
        (chosen,) = ranking(store, "tiny")
        record = store.studies.get("tiny")
        assert last_epoch(store, record, dataclasses.replace(chosen, job=uid_of(3)), 60) == 60, (
            "failed without an epoch"
        )
        unknown = dataclasses.replace(record, split=dataclasses.replace(record.split, counts={}))
        assert last_epoch(store, unknown, chosen, 60) == 60


@pytest.mark.parametrize(("line", "seconds"), [("checkpoint_interval: 0.5\n", 0.5), ("", 30.0)])
def test_its_checkpoints_are_as_far_apart_as_the_sweep_says(settings: Settings, line: str, seconds: float) -> None:
    with make_study(settings, sweep=SWEEP + line) as store:
        fits = FinalFits(store, settings, "tiny", Request())
        assert [job.checkpoint_seconds for job in fits.jobs] == [seconds]
        fits.lock.release()
