"""The start of a run's workers: they import torch while the run reads its sweeps."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fer_tune
from fer_tune.api import searches
from fer_tune.cli.app import app
from fer_tune.errors import SettingsError, StudyError, SweepError
from fer_tune.pool import local
from fer_tune.settings import Settings
from fer_tune.sources.workers import RunOptions, started
from tests.jobs.helpers import run
from tests.searches import make_sweep


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run did, in order: `worker` for the start of one, `read` for reading sweeps."""
    did: list[str] = []
    start, read = local.start_process, searches.check

    def starting(*given: object) -> object:
        did.append("worker")
        return start(*given)  # type: ignore[arg-type]

    def reading(*given: object) -> object:
        did.append("read")
        return read(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(local, "start_process", starting)
    monkeypatch.setattr(searches, "check", reading)
    return did


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    file = tmp_path / "wrong.yaml"
    file.write_text("family: simple_cn\n")
    return file


def test_workers_start_before_the_sweeps_are_read(order: list[str], wrong: Path, settings: Settings) -> None:
    with pytest.raises(SweepError, match="simple_cnn"):
        fer_tune.run(wrong, workers=2, devices="cpu")
    assert order == ["worker", "worker", "read"]


def test_a_sweep_that_is_not_valid_leaves_nothing_behind(wrong: Path, settings: Settings) -> None:
    shown = CliRunner().invoke(app, ["run", str(wrong), "--devices", "cpu"])
    assert shown.exit_code == 2
    assert not settings.root.exists()


def test_what_was_there_before_stays(wrong: Path, settings: Settings) -> None:
    settings.logs.mkdir(parents=True)
    (settings.logs / "observers.log").write_text("x")
    with pytest.raises(SweepError):
        fer_tune.run(wrong, devices="cpu")
    assert [file.name for file in settings.logs.iterdir()] == ["observers.log"]


def test_an_empty_storage_folder_stays(wrong: Path, settings: Settings) -> None:
    settings.root.mkdir()
    with pytest.raises(SweepError):
        fer_tune.run(wrong, devices="cpu")
    assert list(settings.root.iterdir()) == []


def test_the_workers_end_with_any_other_error(settings: Settings) -> None:
    pools: list[object] = []

    def run_fails() -> None:
        with started(settings, RunOptions(devices="cpu")) as pool:
            pools.append(pool)
            raise StudyError("another run has the study")

    with pytest.raises(StudyError):
        run_fails()
    (pool,) = pools
    assert isinstance(pool, local.LocalPool)
    assert all(worker.process.poll() is not None for worker in pool._workers)
    assert len(list(settings.logs.iterdir())) == 1


def test_a_device_that_does_not_exist_is_named(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="cuda:63"), started(settings, RunOptions(devices="cuda:63")):
        pass


def test_a_disk_that_refuses_logs_is_waited_for_later(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with started(Settings(tmp_path / "file", "sqlite://"), RunOptions(devices="cpu")) as pool:
        assert pool is None


@pytest.mark.parametrize("engine", ["inline", "ray"])
def test_other_engines_start_later(engine: str, settings: Settings) -> None:
    with started(settings, RunOptions(engine=engine)) as pool:  # type: ignore[arg-type]
        assert pool is None


def test_remarks_about_a_sweep_reach_the_observer(searching: Settings) -> None:
    """A run says them, so that callers of the API hear them too."""
    _, heard = run(replace(make_sweep(), notes=("the range is narrow",)), searching)
    assert f"{make_sweep().study}: the range is narrow" in heard.notes


def test_nothing_slow_is_imported_before_the_workers_start() -> None:
    code = (
        "import sys, fer_tune.cli.run, fer_tune.sources.workers\n"
        "print(*{'numpy', 'optuna', 'sqlalchemy', 'yaml', 'torch', 'fer_tune.sweep'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_a_run_without_patience_does_without_scipy() -> None:
    """Its import took a fifth of the time until a run is ready for its first trial."""
    modules = "fer_tune.sources.run, fer_tune.sources.search, fer_tune.study.study, fer_tune.dashboard.observer"
    code = f"import sys, {modules}; print(*{{'scipy', 'pandas', 'sklearn', 'matplotlib'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
