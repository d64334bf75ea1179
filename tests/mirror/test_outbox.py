"""Which runs are brought, what they say, and what the cursors remember; wandb is a list here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

import fer_tune.mirror
from fer_tune.mirror.outbox import Outbox
from fer_tune.mirror.tracker import Run
from fer_tune.store import Store
from fer_tune.study import Study
from tests.studies import add_trial, epoch_row


class Listed:
    """Keeps the runs that it is brought, and may fail with those of some ids' ends."""

    def __init__(self, live: bool = False, fails: tuple[str, ...] = (), lies_there: tuple[str, ...] = ()) -> None:
        self.live = live
        self.fails = fails
        self.lies_there = lies_there
        self.runs: list[Run] = []
        self.closed = False

    def bring(self, run: Run) -> None:
        if run.id.endswith(self.fails):
            raise ConnectionError("the network is down")
        self.runs.append(run)

    def left(self, prefix: str) -> set[str]:
        return {f"{prefix}-{end}" for end in self.lies_there}

    def close(self) -> None:
        self.closed = True

    @property
    def numbers(self) -> list[int]:
        return [run.number for run in self.runs]


def copy(store: Store, everything: bool = False, **moods: object) -> Listed:
    listed = Listed(**moods)  # type: ignore[arg-type]
    Outbox(store, "tiny", listed).copy(everything)
    return listed


def test_one_run_for_each_trial(store: Store) -> None:
    runs = copy(store).runs
    uid = store.studies.get("tiny").uid
    assert [run.id for run in runs] == [f"{uid}-{number:05d}" for number in range(5)]
    assert [run.tags for run in runs] == [
        ("simple_cnn",),
        ("simple_cnn", "best"),
        ("simple_cnn", "pruned"),
        ("simple_cnn", "failed"),
        ("simple_cnn",),
    ]
    assert [run.failed for run in runs] == [False, False, False, True, False]
    first = runs[0]
    assert first.group == "tiny"
    assert first.job_type == "trial"
    assert first.config["lr"] == 1e-3
    assert first.config["width"] == 8
    assert first.config["data_signature"] == "d" * 64
    assert first.config["sweep_signature"] == store.studies.get("tiny").sweep_signature
    assert first.config["split_hash"] == "5" * 64
    assert first.summary["objective_value"] == 0.5
    assert first.summary["best_epoch"] == 2
    assert first.summary["best_val_accuracy"] == 0.5
    assert first.summary["trial_seconds"] == 0.75  # of the trial, where `seconds` is the last epoch's
    assert runs[3].summary["reason"] == "RuntimeError: made to fail"
    assert runs[3].history == ()


def test_nothing_is_brought_twice(store: Store) -> None:
    copy(store)
    assert copy(store).runs == []
    assert all(cursor.finished for cursor in store.mirror_cursors("tiny"))


def test_a_look_reads_the_trials_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    once = optuna.study.Study.get_trials
    monkeypatch.setattr(
        optuna.study.Study, "get_trials", lambda *given, **named: read.append(1) or once(*given, **named)
    )
    outbox = Outbox(store, "tiny", Listed())
    for looks in (1, 2):
        outbox.copy()
        assert len(read) == looks


def test_a_run_that_fails_leaves_the_others_alone_and_comes_again(store: Store) -> None:
    listed = Listed(fails=("00001",))
    with pytest.raises(ConnectionError):
        Outbox(store, "tiny", listed).copy()
    assert listed.numbers == [0, 2, 3, 4]
    assert [cursor.finished for cursor in store.mirror_cursors("tiny")] == [True, False, True, True, True]
    assert 1 in copy(store).numbers


def test_where_every_run_fails_the_look_is_given_up(store: Store) -> None:
    listed = Listed(fails=("0", "1", "2", "3", "4"))
    with pytest.raises(ConnectionError):
        Outbox(store, "tiny", listed).copy()
    assert len(store.mirror_cursors("tiny")) == 3  # of five


def test_a_running_trial_is_followed_where_runs_are_live(store: Store, study: Study) -> None:
    number = study.ask().number
    store.start_attempt("tiny", number, 0, 0, "cpu", 0)
    listed = Listed(live=True)
    outbox = Outbox(store, "tiny", listed)
    outbox.copy()
    assert number not in listed.numbers  # it has no row yet
    for epoch in (1, 2):
        listed.runs.clear()
        store.add_epoch("tiny", epoch_row(number, epoch, 0.1 * epoch))
        outbox.copy()
        outbox.copy()  # nothing new
        [run] = listed.runs
        assert not run.over
        assert [row["epoch"] for row in run.history] == list(range(1, epoch + 1))
        cursor = store.mirror_cursor("tiny", number)
        assert cursor is not None
        assert (cursor.epoch, cursor.finished) == (epoch, False)
    listed.runs.clear()
    study.prune(number, "median")
    outbox.copy()
    assert [(run.over, run.tags) for run in listed.runs] == [(True, ("simple_cnn", "pruned"))]


def test_elsewhere_it_is_brought_when_it_is_over_or_nothing_else_comes(store: Store, study: Study) -> None:
    number = study.ask().number
    store.start_attempt("tiny", number, 0, 0, "cpu", 0)
    store.add_epoch("tiny", epoch_row(number, 1, 0.3))
    assert number not in copy(store).numbers
    assert copy(store, everything=True).numbers == [number]
    assert copy(store, everything=True).numbers == []
    study.complete(number, 0.3)
    assert copy(store).numbers == [number]


def test_an_interrupted_trial_continues_in_its_run(store: Store, study: Study) -> None:
    number = study.ask().number
    store.start_attempt("tiny", number, 0, 0, "cpu", 0)
    for epoch in (1, 2):
        store.add_epoch("tiny", epoch_row(number, epoch, 0.3))
    study.requeue(number, "interrupted")
    again = study.ask().number
    assert again != number
    store.start_attempt("tiny", again, 0, 0, "cpu", 0)
    for epoch in (2, 3):  # it continues from a checkpoint of the first epoch
        store.add_epoch("tiny", epoch_row(again, epoch, 0.4))
    study.complete(again, 0.4)
    [run] = [run for run in copy(store).runs if run.number >= number]
    assert (run.number, run.config["trial"], run.over) == (number, again, True)
    assert [(row["epoch"], row["val_accuracy"]) for row in run.history] == [(1, 0.3), (2, 0.4), (3, 0.4)]


def test_after_a_retry_the_run_has_the_rows_that_the_report_has(store: Store) -> None:
    store.start_attempt("tiny", 0, 1, 0, "cpu", 0)
    for epoch in (2, 3, 4):
        store.add_epoch("tiny", epoch_row(0, epoch, 0.9, attempt=1))
    run = copy(store).runs[0]
    assert [row["val_accuracy"] for row in run.history] == [0.3, 0.9, 0.9, 0.9]
    assert [row["val_accuracy"] for row in run.history] == [row.val_accuracy for row in store.epochs.curves("tiny")[0]]
    assert run.at == (1, 4)


def test_the_tag_of_the_best_goes_where_the_best_is(store: Store, study: Study) -> None:
    copy(store)
    better = add_trial(store, study, "complete", [0.7])
    runs = {run.number: run.tags for run in copy(store).runs}
    assert runs == {1: ("simple_cnn",), better: ("simple_cnn", "best")}  # the old one was reopened for its tag
    assert copy(store).runs == []


def test_what_lies_elsewhere_is_brought_again(store: Store) -> None:
    copy(store)
    assert copy(store, lies_there=("00002",)).numbers == [2]
    assert copy(store).numbers == []


def test_a_retrain_is_a_run_with_its_model_and_its_confusion_matrix(
    store: Store, retrained: Callable[[], None]
) -> None:
    copy(store)
    retrained()
    retrained()
    one, two = copy(store).runs
    uid = store.studies.get("tiny").uid
    assert [one.id, two.id] == [f"{uid}-retrain-001", f"{uid}-retrain-002"]
    assert (one.job_type, one.group, one.tags, one.over) == ("retrain", "tiny", ("simple_cnn",), True)
    assert one.name == "tiny-retrain-0001-1"
    assert one.config["trial"] == 1
    assert one.config["data_signature"] == "d" * 64
    assert one.summary["test/plain/accuracy"] == 0.5
    assert [row["epoch"] for row in one.history] == [1, 2]
    assert "val_accuracy" not in one.history[0]
    files = {bundle.type: [file.name for file in bundle.files] for bundle in one.bundles}
    assert files == {
        "model": ["model.safetensors", "config.json"],
        "confusion-matrix": ["confusion.json", "confusion.png"],
    }
    assert copy(store).runs == []


def test_a_retrain_whose_files_are_gone_stops_nothing(store: Store, retrained: Callable[[], None]) -> None:
    retrained()
    [metrics] = [one for one in store.artifacts.of("tiny") if one.kind == "retrain metrics"]
    store.artifacts.path(metrics).write_text("torn {")
    assert copy(store).numbers == [0, 1, 2, 3, 4]


def test_the_core_knows_no_tracker() -> None:
    """wandb is one adapter among others: only its folder imports it, and only the list names it."""
    room = Path(fer_tune.mirror.__file__).parent
    naming = {file.name for file in room.glob("*.py") if re.search(r"wandb_tracker|import wandb", file.read_text())}
    assert naming == {"__init__.py", "trackers.py"}  # the first in its docstring
