"""Tests of when attempts began and ended, and of the epochs that each trained."""

from __future__ import annotations

from datetime import timedelta

from fer_tune.job import trained_by_attempt
from fer_tune.settings import Settings
from fer_tune.study.attempt_spans import attempt_spans
from tests.studies import epoch_row, job_of, make_study, uid_of


def test_epochs_that_came_from_a_checkpoint_belong_to_the_attempt_that_trained_them() -> None:
    first = [epoch_row(0, epoch, 0.1) for epoch in (1, 2)]
    second = [epoch_row(0, epoch, 0.1, attempt=1) for epoch in (1, 2, 3)]
    other = [epoch_row(1, 1, 0.1)]
    own = trained_by_attempt([*second, *first, *other])
    assert {key: [row.epoch for row in rows] for key, rows in own.items()} == {
        (uid_of(0), 0): [1, 2],
        (uid_of(0), 1): [3],
        (uid_of(1), 0): [1],
    }


def test_an_attempt_whose_end_nobody_recorded_lasts_as_long_as_its_own_epochs(settings: Settings) -> None:
    with make_study(settings, (("complete", [0.3, 0.4]),)) as store:
        data = store.studies.get("tiny").data_ref(store.root)
        store.jobs.start_attempt(job_of(0, data, attempt=1), 0, "cpu")
        for epoch, value in ((1, 0.3), (2, 0.4), (3, 0.5)):
            store.epochs.add(epoch_row(0, epoch, value, attempt=1))
        ended, killed = attempt_spans(store, "tiny")
    assert (ended.job, ended.kind, ended.worker) == (uid_of(0), "search", 0)
    assert ended.end >= ended.start
    assert killed.end - killed.start == timedelta(seconds=0.25)
