"""Which runs are brought, what they say, and what the cursors remember. wandb is a list here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fer_tune.mirror
from fer_tune.mirror.outbox import Outbox
from fer_tune.mirror.tracker import Run
from fer_tune.settings import Settings
from fer_tune.store import Cursor, Store
from tests.mirror.jobs import begin, end, evaluate, train
from tests.studies import uid_of


class Listed:
    """A tracker that keeps the runs that it is brought, and fails with some of them."""

    def __init__(self, live: bool = False, fails: tuple[str, ...] = (), elsewhere: tuple[str, ...] = ()) -> None:
        self.live, self.fails, self.elsewhere = live, fails, elsewhere
        self.runs: list[Run] = []

    def bring(self, run: Run) -> None:
        if run.job in self.fails:
            raise ConnectionError("the network is down")
        self.runs.append(run)

    def left(self, ids: set[str]) -> set[str]:
        return ids & set(self.elsewhere)

    def close(self) -> None:
        """Nothing is open."""

    @property
    def jobs(self) -> list[str]:
        return [run.job for run in self.runs]


def copy(store: Store, everything: bool = False, include_disabled: bool = False, **moods: object) -> Listed:
    listed = Listed(**moods)  # type: ignore[arg-type]
    Outbox(store, "tiny", listed, include_disabled=include_disabled).copy(everything)
    return listed


def cursors(store: Store) -> dict[str, Cursor]:
    return store.cursors.of("tiny", "wandb")


def uids(*numbers: int) -> list[str]:
    return [uid_of(number) for number in numbers]


def test_one_run_for_each_job(store: Store) -> None:
    runs = copy(store).runs
    assert [run.id for run in runs] == [run.job for run in runs] == uids(0, 1, 2, 3, 4)
    assert [run.tags for run in runs] == [
        ("simple_cnn",),
        ("simple_cnn", "best"),
        ("simple_cnn", "pruned"),
        ("simple_cnn", "failed"),
        ("simple_cnn",),
    ]
    assert [run.failed for run in runs] == [False, False, False, True, False]
    first = runs[0]
    assert (first.group, first.job_type, first.name) == ("tiny", "search", "tiny-00000")
    assert {name: first.config[name] for name in ("lr", "width", "trial", "start")} == {
        "lr": 1e-3,
        "width": 8,
        "trial": 0,
        "start": "by hand",
    }
    assert first.config["data_signature"] == "d" * 64
    assert first.config["sweep_signature"] == store.studies.get("tiny").sweep_signature
    assert first.config["split_hash"] == "5" * 64
    assert first.summary["objective_value"] == 0.5
    assert first.summary["best_epoch"] == 2
    assert first.summary["best_val_accuracy"] == 0.5
    assert first.summary["training_seconds"] == 0.75  # of the job; `seconds` is the last epoch's
    assert (first.summary["device"], first.summary["parameters"]) == ("cpu", 1234)
    assert runs[3].summary["reason"] == "RuntimeError: made to fail"
    assert runs[3].history == ()


def test_nothing_is_brought_twice(store: Store) -> None:
    copy(store)
    assert copy(store).runs == []
    assert all(cursor.finished for cursor in cursors(store).values())


def test_a_run_of_an_older_database_keeps_its_id(store: Store) -> None:
    store.cursors.set(Cursor(uid_of(2), "wandb", "0123abcd-00002"))
    assert [run.id for run in copy(store).runs] == [*uids(0, 1), "0123abcd-00002", *uids(3, 4)]


def test_each_tracker_has_cursors_of_its_own(store: Store) -> None:
    copy(store)
    other = Listed()
    Outbox(store, "tiny", other, "other").copy()
    assert other.jobs == uids(0, 1, 2, 3, 4)


def test_a_run_that_fails_leaves_the_others_alone_and_comes_again(store: Store) -> None:
    listed = Listed(fails=(uid_of(1),))
    with pytest.raises(ConnectionError):
        Outbox(store, "tiny", listed).copy()
    assert listed.jobs == uids(0, 2, 3, 4)
    assert [cursors(store)[job].finished for job in uids(0, 1, 2, 3, 4)] == [True, False, True, True, True]
    assert uid_of(1) in copy(store).jobs


def test_where_every_run_fails_the_look_is_given_up(store: Store) -> None:
    listed = Listed(fails=tuple(uids(0, 1, 2, 3, 4)))
    with pytest.raises(ConnectionError):
        Outbox(store, "tiny", listed).copy()
    assert len(cursors(store)) == 3  # of five


def test_a_running_job_is_followed_by_a_live_tracker(store: Store) -> None:
    job = begin(store, 5)
    listed = Listed(live=True)
    outbox = Outbox(store, "tiny", listed)
    outbox.copy()
    assert job.uid not in listed.jobs  # it has no row yet
    for epoch in (1, 2):
        listed.runs.clear()
        train(store, job, {epoch: 0.1 * epoch})
        outbox.copy()
        outbox.copy()  # nothing new
        [run] = listed.runs
        assert not run.over
        assert [row["epoch"] for row in run.history] == list(range(1, epoch + 1))
        assert (cursors(store)[job.uid].epoch, cursors(store)[job.uid].finished) == (epoch, False)
    listed.runs.clear()
    end(store, job, "pruned", 0.2, "median")
    outbox.copy()
    assert [(run.over, run.tags) for run in listed.runs] == [(True, ("simple_cnn", "pruned"))]


def test_another_tracker_gets_it_when_it_is_over_or_nothing_else_comes(store: Store) -> None:
    job = begin(store, 5)
    train(store, job, {1: 0.3})
    assert job.uid not in copy(store).jobs
    assert copy(store, everything=True).jobs == [job.uid]
    assert copy(store, everything=True).jobs == []
    end(store, job, value=0.3)
    assert copy(store).jobs == [job.uid]


def test_an_interrupted_trial_is_one_run_under_its_last_number(store: Store) -> None:
    job = begin(store, 5)
    train(store, job, {1: 0.3, 2: 0.3})
    store.jobs.renumber("tiny", 5, 6, "interrupted")
    again = begin(store, 5, attempt=1)  # the same job, from a checkpoint of the first epoch
    store.jobs.renumber("tiny", 5, 6, "interrupted")
    train(store, again, {2: 0.4, 3: 0.4})
    end(store, again, value=0.4)
    [run] = [run for run in copy(store).runs if run.job == job.uid]
    assert (run.name, run.config["trial"], run.over) == ("tiny-00006", 6, True)
    assert [(row["epoch"], row["val_accuracy"]) for row in run.history] == [(1, 0.3), (2, 0.4), (3, 0.4)]


def test_after_a_retry_the_run_has_the_rows_that_the_report_has(store: Store) -> None:
    job = begin(store, 5)
    train(store, job, {1: 0.3, 2: 0.5, 3: 0.45})
    again = begin(store, 5, attempt=1)
    train(store, again, {2: 0.9, 3: 0.9, 4: 0.9})
    end(store, again, value=0.9)
    [run] = [run for run in copy(store).runs if run.job == job.uid]
    assert [row["val_accuracy"] for row in run.history] == [0.3, 0.9, 0.9, 0.9]
    report = store.epochs.curves("tiny")[job.uid]
    assert [row["val_accuracy"] for row in run.history] == [row.val_accuracy for row in report]
    assert run.at == (1, 4)


def test_the_tag_of_the_best_goes_where_the_best_is(store: Store) -> None:
    copy(store)
    better = begin(store, 5)
    train(store, better, {1: 0.7})
    end(store, better, value=0.7)
    runs = {run.job: run.tags for run in copy(store).runs}
    assert runs == {uid_of(1): ("simple_cnn",), better.uid: ("simple_cnn", "best")}  # the old one lost its tag
    assert copy(store).runs == []


def test_what_was_written_elsewhere_is_brought_again(store: Store) -> None:
    copy(store)
    assert copy(store, elsewhere=(uid_of(2),)).jobs == [uid_of(2)]
    assert copy(store).jobs == []


def test_a_job_that_ran_with_wandb_disabled_is_left_alone_unless_it_is_asked_for(store: Store) -> None:
    copy(store)
    hidden = begin(store, 5, mirrored=False)
    train(store, hidden, {1: 0.99})
    end(store, hidden, value=0.99)
    assert copy(store, everything=True).runs == []  # nor does the best lose its tag to it
    assert copy(store, live=True).runs == []
    assert hidden.uid in copy(store, include_disabled=True).jobs
    assert copy(store).runs == []


def test_a_final_fit_is_followed_like_a_trial_and_over_when_it_is_evaluated(store: Store, settings: Settings) -> None:
    copy(store)
    fit = begin(store, 100, kind="final")
    train(store, fit, {1: float("nan"), 2: float("nan")})
    [running] = copy(store, live=True).runs
    assert ([row["epoch"] for row in running.history], running.over) == ([1, 2], False)
    end(store, fit)
    assert copy(store).runs == []  # it is trained, and not evaluated yet
    evaluate(store, settings, fit)
    [run] = copy(store).runs
    assert (run.id, run.name) == (fit.uid, f"tiny-final-{fit.uid}")
    assert (run.job_type, run.group, run.tags, run.over) == ("final", "tiny", ("simple_cnn",), True)
    assert run.config["trial"] == 1
    assert run.config["data_signature"] == "d" * 64
    assert run.summary["test/plain/accuracy"] == 0.5
    assert "val_accuracy" not in run.history[0]
    files = {bundle.type: [file.name for file in bundle.files] for bundle in run.bundles}
    assert files == {
        "model": ["model.safetensors", "config.json"],
        "confusion-matrix": ["confusion.json", "confusion.png"],
    }
    assert copy(store).runs == []


def test_a_final_fit_whose_files_are_damaged_or_gone_is_a_run_without_them(store: Store, settings: Settings) -> None:
    copy(store)
    fit = begin(store, 100, kind="final")
    train(store, fit, {1: float("nan")})
    end(store, fit)
    folder = evaluate(store, settings, fit)
    (folder / "metrics.json").write_text("torn {")
    (folder / "model.safetensors").unlink()
    [run] = copy(store).runs
    assert not [name for name in run.summary if name.startswith("test/")]
    assert [file.name for bundle in run.bundles for file in bundle.files] == [
        "config.json",
        "confusion.json",
        "confusion.png",
    ]


def test_the_core_knows_no_tracker() -> None:
    """wandb is one adapter among others: only its folder imports it, and only the list names it."""
    room = Path(fer_tune.mirror.__file__).parent
    naming = {file.name for file in room.glob("*.py") if re.search(r"wandb_tracker|import wandb", file.read_text())}
    assert naming == {"__init__.py", "trackers.py"}  # the first in its docstring
