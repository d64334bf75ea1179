"""The mirror against the database: every row, once, whatever interrupts it. Offline files are read by wandb itself."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fer_tune.mirror import choose_mode, start
from fer_tune.mirror.copying import FINISHED, Run, copy_study
from fer_tune.mirror.mode import redact
from fer_tune.mirror.runs import WandbRuns
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.store.store import MEASURES
from fer_tune.study import trials
from fer_tune.trial import EMOTIONS
from tests.studies import epoch_row, make_study

WANDB = Path(sys.executable).with_name("wandb")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with make_study(settings) as store:
        yield store


class Listed:
    """A null wandb, which may fail at its nth run."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.runs: list[Run] = []
        self.fails_at = fails_at

    def write(self, run: Run) -> None:
        if self.fails_at is not None and len(self.runs) == self.fails_at:
            raise ConnectionError("the network is down")
        self.runs.append(run)


def offline_runs(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Records of each offline run, by run id, as wandb's own reader prints them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in settings.wandb.glob("offline-run-*/run-*.wandb"):
        command = [str(WANDB), "leet", "inspect", "--json", str(file)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        run = file.stem.removeprefix("run-")
        assert run not in found, f"{run} lies there twice"
        found[run] = [json.loads(line) for line in printed.splitlines()]
    return found


def test_one_run_for_each_finished_trial(store: Store) -> None:
    listed = Listed()
    assert copy_study(store, "tiny", listed) == 5
    uid = store.study("tiny").uid
    assert [run.id for run in listed.runs] == [f"{uid}-{number:05d}" for number in range(5)]
    assert [run.tags for run in listed.runs] == [
        ("simple_cnn", "complete", "best"),
        ("simple_cnn", "complete", "best"),
        ("simple_cnn", "pruned"),
        ("simple_cnn", "failed"),
        ("simple_cnn", "complete"),
    ]
    first = listed.runs[0]
    assert first.group == "tiny"
    assert first.config["lr"] == 1e-3
    assert first.config["width"] == 8
    assert first.config["data_signature"] == "d" * 64
    assert first.summary["objective_value"] == 0.5
    assert first.summary["best_epoch"] == 2
    assert listed.runs[3].summary["reason"] == "RuntimeError: made to fail"
    assert listed.runs[3].history == ()


def test_nothing_is_copied_twice(store: Store) -> None:
    copy_study(store, "tiny", Listed())
    assert copy_study(store, "tiny", Listed()) == 0
    assert all(cursor.finished for cursor in store.mirror_cursors("tiny"))


def test_a_failure_leaves_the_rest_for_the_next_time(store: Store) -> None:
    before, after = Listed(fails_at=2), Listed()
    with pytest.raises(ConnectionError):
        copy_study(store, "tiny", before)
    copy_study(store, "tiny", after)
    assert [run.name[-1] for run in before.runs + after.runs] == ["0", "1", "2", "3", "4"]


def test_a_lost_attempt_leaves_no_rows(store: Store) -> None:
    store.start_attempt("tiny", 0, 1, 0, "cpu", 0)
    kept = [epoch_row(0, epoch, 0.3, attempt=1) for epoch in (1, 2)]
    for row in kept:
        store.add_epoch("tiny", row)
    assert [(row.attempt, row.epoch) for row in store.curves("tiny", 0)[0]] == [(1, 1), (1, 2)]
    runs = Listed()
    copy_study(store, "tiny", runs)
    assert [row["val_accuracy"] for row in runs.runs[0].history] == [0.3, 0.3]


def test_an_attempt_that_went_on_follows_the_earlier_one(store: Store) -> None:
    store.start_attempt("tiny", 0, 1, 0, "cpu", 0)
    store.add_epoch("tiny", epoch_row(0, 3, 0.7, attempt=1))
    assert [(row.attempt, row.epoch) for row in store.curves("tiny", 0)[0]] == [(0, 1), (0, 2), (1, 3)]


def test_offline_files_say_what_the_database_says(settings: Settings, store: Store) -> None:
    handle = start(settings, "tiny", "offline")
    assert handle.stop(timeout=60), handle.log.read_text()
    runs = offline_runs(settings)
    uid = store.study("tiny").uid
    assert sorted(runs) == [f"{uid}-{number:05d}" for number in range(5)]
    for trial in trials(store, "tiny", states=FINISHED):
        records = runs[f"{uid}-{trial.number:05d}"]
        history = [item for item in records if item["type"] == "history"]
        rows = store.epochs("tiny", trial.number)
        assert [metrics(item) for item in history] == [expected(row) for row in rows]
        run = next(item["run"] for item in records if item["type"] == "run")
        assert run["run_group"] == "tiny"
        assert run["job_type"] == "trial"
        assert {name: run["config"]["update"][name] for name in trial.params} == trial.params
        final: dict[str, Any] = {}
        for item in records:
            final |= item["summary"].get("update", {}) if item["type"] == "summary" else {}
        assert final["state"] == trial.state
        assert final.get("objective_value") == trial.value


def expected(row: Any) -> dict[str, float]:
    values = {"epoch": row.epoch} | {name: getattr(row, name) for name in MEASURES}
    values |= {f"recall/{name}": value for name, value in zip(EMOTIONS, row.recall, strict=True)}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def metrics(record: dict[str, Any]) -> dict[str, float]:
    """A history record without wandb's own columns; the step must be the epoch."""
    item = record["history"]["item"]
    assert item["_step"] == item["epoch"]
    return {name: value for name, value in item.items() if not name.startswith("_")}


def test_a_run_that_was_cut_short_is_written_anew(settings: Settings, store: Store) -> None:
    uid = store.study("tiny").uid
    torn = settings.wandb / f"offline-run-20260101_000000-{uid}-00000"
    torn.mkdir(parents=True)
    (torn / f"run-{uid}-00000.wandb").write_bytes(b"torn")
    listed = Listed()
    copy_study(store, "tiny", listed)
    WandbRuns(settings.root, online=False).write(listed.runs[0])
    assert not torn.exists()
    assert list(offline_runs(settings)) == [f"{uid}-00000"]


def test_no_server_delays_nobody(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens on the discard port
    handle = start(settings, "tiny")
    patience = time.monotonic() + 30
    while not store.mirror_cursors("tiny") and time.monotonic() < patience:
        time.sleep(0.1)  # the cursor is set just before wandb is asked
    assert handle.running
    before = time.monotonic()
    assert not handle.stop(timeout=1)
    assert time.monotonic() - before < 4
    assert not handle.running
    assert not any(cursor.finished for cursor in store.mirror_cursors("tiny"))
    for file in settings.root.rglob("*"):
        assert not file.is_file() or b"k" * 40 not in file.read_bytes(), f"the key lies in {file}"


def test_disabled_starts_nothing(settings: Settings) -> None:
    handle = start(settings, "tiny", "disabled")
    assert not handle.running
    assert handle.stop()
    assert not settings.logs.exists()


def test_the_mode_follows_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert choose_mode() == "offline"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.wandb.ai login user password " + "s" * 40)
    monkeypatch.setenv("NETRC", str(netrc))
    assert choose_mode() == "online"
    assert redact("key " + "s" * 40) == "key ***"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert choose_mode() == "disabled"
    assert choose_mode("offline") == "offline"
