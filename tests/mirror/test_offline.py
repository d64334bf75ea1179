"""Real offline runs, written by the real process and read back by wandb's own reader, beside the database."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fer_tune.mirror import start
from fer_tune.mirror.sync import sync
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Study, trials
from tests.mirror.reading import in_database, offline, online
from tests.mirror.server import KEY, Wandb
from tests.studies import add_trial, epoch_row


def mirror(settings: Settings) -> None:
    handle = start(settings, "tiny", "offline", priority="normal")
    assert handle.stop(timeout=60), handle.log.read_text()


def test_offline_files_say_what_the_database_says(  # noqa: PLR0917 - fixtures
    settings: Settings,
    store: Store,
    study: Study,
    retrained: Callable[[], None],
    server: Wandb,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = study.ask().number
    store.jobs.start_attempt("tiny", running, 0, 0, "cpu", 0)
    store.epochs.add("tiny", epoch_row(running, 1, 0.3))
    retrained()
    uid = store.studies.get("tiny").uid
    torn = settings.wandb / f"offline-run-20260101_000000-{uid}-00000"  # left by a mirror that was killed
    torn.mkdir(parents=True)
    (torn / f"run-{uid}-00000.wandb").write_bytes(b"torn")

    mirror(settings)
    runs = offline(settings)
    assert sorted(runs) == [*(f"{uid}-{number:05d}" for number in range(6)), f"{uid}-retrain-001"]
    for trial in trials(store, "tiny"):
        run = runs[f"{uid}-{trial.number:05d}"]
        assert run.rows == in_database(store, "tiny", trial.number)
        assert (run.group, run.job_type) == ("tiny", "trial")
        assert {name: run.config[name] for name in trial.params} == trial.params
        assert run.config["data_signature"] == "d" * 64
        assert run.summary["state"] == trial.state
        assert run.summary.get("objective_value") == trial.value
        assert run.exit_code == int(trial.state == "failed")
    assert runs[f"{uid}-00001"].tags == ["simple_cnn", "best"]
    assert runs[f"{uid}-00001"].summary["best_val_accuracy"] == 0.6
    assert runs[f"{uid}-00001"].summary["val_accuracy"] == 0.6  # the final one, which wandb keeps by itself
    assert runs[f"{uid}-00002"].tags == ["simple_cnn", "pruned"]
    final = runs[f"{uid}-retrain-001"]
    assert (final.job_type, final.group, len(final.rows)) == ("retrain", "tiny", 2)
    assert sorted(final.artifacts) == ["tiny-confusion", "tiny-model"]

    # The study goes on: the run of the trial that was running is replaced, the best changes, the rest is left alone.
    before = {path.name for path in settings.wandb.iterdir()}
    store.epochs.add("tiny", epoch_row(running, 2, 0.4))
    study.prune(running, "median")
    better = add_trial(store, study, "complete", [0.5, 0.7])
    mirror(settings)
    runs = offline(settings)
    assert runs[f"{uid}-{running:05d}"].rows == in_database(store, "tiny", running)
    assert runs[f"{uid}-{better:05d}"].tags == ["simple_cnn", "best"]
    assert runs[f"{uid}-00001"].tags == ["simple_cnn"]
    assert len(runs) == 8
    kept = [name for name in before if not name.endswith(("00001", f"{running:05d}"))]
    assert {name for name in kept if (settings.wandb / name).exists()} == set(kept)

    # A key is there at last: all of it reaches the server, and wandb's own commands leave the files alone.
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    synced = sync(settings, store, "tiny")
    assert (synced.mode, synced.runs) == ("online", 8)
    there = online(server)
    assert {run: told.rows for run, told in there.items()} == {run: told.rows for run, told in runs.items()}
    assert {run: told.tags for run, told in there.items()} == {run: told.tags for run, told in runs.items()}
    assert all((folder / f"run-{folder.name[28:]}.wandb.synced").exists() for folder in settings.wandb.iterdir())
    assert server.unknown == []


@pytest.fixture
def small(settings: Settings, store: Store) -> Iterator[Path]:
    """wandb's folder, on a disk of 1 MB of its own; the test is skipped where none may be mounted."""
    settings.wandb.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(settings.wandb)]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield settings.wandb
    subprocess.run(["umount", "-l", str(settings.wandb)], check=True)


@pytest.mark.parametrize("free", [8, 16, 32])
def test_a_run_that_a_full_disk_cut_off_is_written_again(
    settings: Settings, store: Store, small: Path, free: int
) -> None:
    """wandb says nothing of what it could not write, and ends the run as if all were there."""
    ballast = small / "ballast"
    ballast.write_bytes(bytes(2**20 - 1024 * free))
    handle = start(settings, "tiny", "offline", priority="normal")
    assert not handle.stop(timeout=60), "some runs are missing"
    finished = [cursor.run for cursor in store.mirror_cursors("tiny") if cursor.finished]
    assert len(finished) < 5
    for number, run in enumerate(finished):
        assert offline(settings)[run].rows == in_database(store, "tiny", number)
    ballast.unlink()
    mirror(settings)
    runs = offline(settings)
    assert [runs[f"{store.studies.get('tiny').uid}-{number:05d}"].rows for number in range(5)] == [
        in_database(store, "tiny", number) for number in range(5)
    ]
