"""Real offline runs, written by the real process and read back by wandb's own reader."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fer_tune.mirror import start
from fer_tune.mirror.sync import sync
from fer_tune.settings import Settings
from fer_tune.store import Store
from tests.mirror.jobs import begin, end, evaluate, train
from tests.mirror.reading import in_database, offline, online
from tests.mirror.server import KEY, Wandb
from tests.studies import uid_of


def mirror(settings: Settings) -> None:
    handle = start(settings, "tiny", "offline", priority="normal")
    assert handle.stop(timeout=60), handle.log.read_text()


def test_offline_files_say_what_the_database_says(
    settings: Settings, store: Store, server: Wandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = begin(store, 5)
    train(store, running, {1: 0.3})
    fit = begin(store, 100, kind="final")
    train(store, fit, {1: float("nan"), 2: float("nan")})
    end(store, fit)
    evaluate(store, settings, fit)
    torn = settings.wandb / f"offline-run-20260101_000000-{uid_of(0)}"  # left by a mirror that was killed
    torn.mkdir(parents=True)
    (torn / f"run-{uid_of(0)}.wandb").write_bytes(b"torn")

    mirror(settings)
    runs = offline(settings)
    jobs = store.jobs.of("tiny")
    assert len(jobs) == 7
    assert set(runs) == {job.uid for job in jobs}
    for job in jobs:
        run = runs[job.uid]
        assert run.rows == in_database(store, job.uid)
        assert (run.group, run.job_type) == ("tiny", job.kind)
        assert {name: run.config[name] for name in job.params} == job.params
        assert run.config["data_signature"] == "d" * 64
        assert run.summary["state"] == job.state
        assert run.summary.get("objective_value") == job.value
        assert run.exit_code == int(job.state == "failed")
    assert runs[uid_of(1)].tags == ["simple_cnn", "best"]
    assert runs[uid_of(1)].summary["best_val_accuracy"] == 0.6
    assert runs[uid_of(1)].summary["val_accuracy"] == 0.6  # the last one, which wandb keeps by itself
    assert runs[uid_of(2)].tags == ["simple_cnn", "pruned"]
    assert len(runs[fit.uid].rows) == 2
    assert sorted(runs[fit.uid].artifacts) == ["tiny-confusion", "tiny-model"]

    # The study continues: the run of the running job is replaced, the best changes, the rest stays.
    before = {path.name for path in settings.wandb.iterdir()}
    train(store, running, {2: 0.4})
    end(store, running, "pruned", 0.4, "median")
    better = begin(store, 6)
    train(store, better, {1: 0.5, 2: 0.7})
    end(store, better, value=0.7)
    mirror(settings)
    runs = offline(settings)
    assert runs[running.uid].rows == in_database(store, running.uid)
    assert runs[better.uid].tags == ["simple_cnn", "best"]
    assert runs[uid_of(1)].tags == ["simple_cnn"]
    assert len(runs) == 8
    kept = {name for name in before if not name.endswith((uid_of(1), running.uid))}
    assert {name for name in kept if (settings.wandb / name).exists()} == kept

    # A key is configured at last: all reaches the server, and wandb's own commands leave the files
    # alone.
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    hidden = begin(store, 7, mirrored=False)  # with --wandb disabled
    end(store, hidden, value=0.1)
    synced = sync(settings, store, "tiny")
    assert (synced.mode, synced.runs, synced.left_out) == ("online", 8, 1)
    there = online(server)
    assert {run: told.rows for run, told in there.items()} == {run: told.rows for run, told in runs.items()}
    assert {run: told.tags for run, told in there.items()} == {run: told.tags for run, told in runs.items()}
    assert all((folder / f"run-{folder.name[28:]}.wandb.synced").exists() for folder in settings.wandb.iterdir())
    assert hidden.uid not in online(server)
    assert server.unknown == []


@pytest.fixture
def small(settings: Settings, store: Store) -> Iterator[Path]:
    """Yields wandb's folder, on a disk of 1 MB. Skips the test if it cannot be mounted."""
    settings.wandb.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(settings.wandb)]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield settings.wandb
    subprocess.run(["umount", "-l", str(settings.wandb)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("free", [8, 16, 32])
def test_a_run_that_a_full_disk_cut_off_is_written_again(
    settings: Settings, store: Store, small: Path, free: int
) -> None:
    """wandb does not report a full disk, and ends the run as if the disk had taken all."""
    ballast = small / "ballast"
    ballast.write_bytes(bytes(2**20 - 1024 * free))
    handle = start(settings, "tiny", "offline", priority="normal")
    assert not handle.stop(timeout=60), "some runs are missing"
    finished = [cursor.run for cursor in store.cursors.of("tiny", "wandb").values() if cursor.finished]
    assert len(finished) < 5
    runs = offline(settings)
    assert all(runs[run].rows == in_database(store, run) for run in finished)
    ballast.unlink()
    mirror(settings)
    runs = offline(settings)
    assert set(runs) == {uid_of(number) for number in range(5)}
    assert all(run.rows == in_database(store, job) for job, run in runs.items())
