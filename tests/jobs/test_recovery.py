"""Tests of lost, hung and interrupted trials, and of runs in which everything fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.errors import TrainingError
from fer_tune.job import EpochRow, Job
from fer_tune.jobs import limits
from fer_tune.jobs.checkpoints import checkpoint_path, remove_checkpoint
from fer_tune.jobs.limits import FIRST_FACTOR
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.study import Counts, trials
from fer_tune.sweep.schema import Budget
from tests.jobs.helpers import (
    INLINE,
    LOCAL,
    Notebook,
    attempts_of,
    bearing,
    once,
    real_sweep,
    rows_of,
    stop_at,
    value_of,
)
from tests.pool.trainers import obedient
from tests.searches import make_sweep


def test_an_interrupted_trial_goes_on_and_ends_as_an_undisturbed_one(settings: Settings, tmp_path: Path) -> None:
    calm = replace(settings, root=tmp_path / "calm", url=f"sqlite:///{tmp_path}/calm/fer_tune.db")
    run_sweeps([real_sweep(4)], calm, INLINE)
    interrupt = Notebook(on_epoch=once(2, lambda: signal.raise_signal(signal.SIGINT)))
    assert run_sweeps([real_sweep(4)], settings, INLINE, interrupt).interrupted
    assert len(list(settings.checkpoints.rglob("*.safetensors"))) == 1
    outcome = run_sweeps([real_sweep(4)], settings, INLINE)
    assert outcome.studies[0].counts.finished == 1
    assert value_of(settings) == value_of(calm)
    assert [epoch for epoch, _ in value_of(settings)[1]] == [1, 2, 3, 4]
    with Store.of(settings) as store:
        assert any("continued after epoch" in note for note in attempts_of(store, "s", 1)[1].notes)
    assert not list(settings.checkpoints.rglob("*.safetensors"))


def test_a_hung_worker_is_ended_and_its_trial_tried_once_more(settings: Settings) -> None:
    watch = Notebook()
    sweep = bearing(make_sweep(seconds=60.0, deaf=True, budget=1), hang_timeout=1 / FIRST_FACTOR)
    outcome = run_sweeps([sweep], settings, replace(LOCAL, workers=1), watch, obedient)
    assert [attempt for _, _, attempt in watch.started] == [0, 1]
    assert watch.states() == ["failed"]
    assert "sent nothing for" in watch.ended[0].reason
    assert outcome.studies[0].counts.failed == 1


# -- several lanes ------------------------------------------------------------------------------------------------


FOUR_LANES = replace(LOCAL, workers=1, lanes=4)


def test_a_lost_worker_loses_no_job_of_its_lanes(settings: Settings) -> None:
    """Each trial kills the worker once, and no trial pays for its neighbours."""
    watch = Notebook()
    sweep = make_sweep(seconds=0.02, epochs=6, budget=4, die=3, deaths=1, retries=1)
    run_sweeps([sweep], settings, FOUR_LANES, watch, obedient)
    assert watch.states() == ["complete"] * 4
    assert watch.lost
    with Store.of(settings) as store:
        attempts = [one for job in store.jobs.of("s") for one in store.jobs.attempts("s", job.uid)]
    assert {one.lane for one in attempts} == {0, 1, 2, 3}
    assert {one.worker for one in attempts} == {0}


def test_a_job_that_kills_its_worker_again_and_again_fails_in_the_end(settings: Settings, monkeypatch) -> None:
    monkeypatch.setattr("fer_tune.pool.member.DEATHS", 1000)
    watch = Notebook()
    run_sweeps([make_sweep(seconds=0.01, die=1, budget=2)], settings, FOUR_LANES, watch, obedient)
    assert watch.states() == ["failed"] * 2
    assert all(attempt <= 3 for _, _, attempt in watch.started)


def test_ctrl_c_leaves_a_checkpoint_of_every_lane(settings: Settings) -> None:
    sweep = replace(real_sweep(6), budget=Budget(trials=3, epochs=6))
    interrupt = Notebook(on_epoch=once(2, lambda: signal.raise_signal(signal.SIGINT)))
    lanes = replace(INLINE, lanes=3)
    assert run_sweeps([sweep], settings, lanes, interrupt).interrupted
    assert len(list(settings.checkpoints.rglob("*.safetensors"))) == 3
    assert run_sweeps([sweep], settings, lanes).studies[0].counts.complete == 3


def test_a_timeout_ends_one_lane(settings: Settings) -> None:
    watch = Notebook()
    sweep = bearing(make_sweep(seconds=0.02, epochs=10_000, budget=3), trial_timeout=0.6)
    run_sweeps([sweep], settings, FOUR_LANES, watch, obedient)
    assert (watch.states(), watch.lost) == (["pruned"] * 3, [])


def test_a_slow_epoch_is_no_hang(settings: Settings, monkeypatch) -> None:
    monkeypatch.setattr(limits, "HANG_FACTOR", 1000.0)
    watch = Notebook()
    sweep = bearing(make_sweep(seconds=0.2, budget=1, epochs=2), hang_timeout=0.05)
    run_sweeps([sweep], settings, replace(LOCAL, workers=1), watch, obedient)
    assert (watch.lost, watch.states()) == ([], ["complete"])


@pytest.mark.parametrize("options", [INLINE, LOCAL], ids=["inline", "local"])
def test_a_trial_that_takes_too_long_is_stopped(options: RunOptions, settings: Settings) -> None:
    watch = Notebook()
    sweep = bearing(make_sweep(seconds=0.05, epochs=10_000, budget=1), trial_timeout=0.4)
    outcome = run_sweeps([sweep], settings, options, watch, obedient)
    assert (watch.states(), watch.lost) == (["pruned"], [])
    assert "trial_timeout of 0.4 s" in watch.ended[0].reason
    assert watch.ended[0].value is not None
    assert outcome.studies[0].reason == "budget"


def test_a_worker_that_does_not_stop_in_time_is_ended(settings: Settings, monkeypatch) -> None:
    monkeypatch.setattr("fer_tune.jobs.supervisor.STOP_GRACE", 0.3)
    watch = Notebook()
    sweep = bearing(make_sweep(seconds=60.0, deaf=True, budget=1), trial_timeout=0.5)
    run_sweeps([sweep], settings, replace(LOCAL, workers=1), watch, obedient)
    assert [attempt for _, _, attempt in watch.started] == [0]
    assert watch.states() == ["failed"]
    assert "trial_timeout of 0.5 s" in watch.ended[0].reason
    assert ["after it was asked to stop" in reason for reason in watch.lost] == [True]


def test_the_timeout_counts_all_tries_of_a_trial(settings: Settings, monkeypatch) -> None:
    monkeypatch.setattr("fer_tune.pool.member.DEATHS", 1000)
    watch = Notebook()
    sweep = bearing(make_sweep(seconds=0.3, die=1, budget=1, retries=100), trial_timeout=2.5)
    run_sweeps([sweep], settings, replace(LOCAL, workers=1), watch, obedient)
    assert len(watch.started) > 1
    assert watch.states() == ["failed"]
    assert "trial_timeout of 2.5 s" in watch.ended[0].reason


@dataclass
class Impatient(Notebook):
    """Sends a second Ctrl-C as soon as a note says that the run was interrupted."""

    def note(self, text: str) -> None:
        super().note(text)
        if text.startswith("Interrupted: 1"):
            signal.raise_signal(signal.SIGINT)


def test_the_current_epoch_is_finished_on_ctrl_c(settings: Settings) -> None:
    watch = stop_at(1)
    sweep = make_sweep(seconds=1.0, epochs=50, budget=1)
    assert run_sweeps([sweep], settings, replace(LOCAL, workers=1), watch, obedient).interrupted
    assert any("same command" in note for note in watch.notes)
    with Store.of(settings) as store:
        assert [row.epoch for row in store.epochs.all("s")] == [1, 2]
        assert [trial.state for trial in trials(store, "s")] == ["requeued", "waiting"]


def test_a_second_ctrl_c_ends_the_run_at_once(settings: Settings) -> None:
    watch = Impatient(on_epoch=once(1, lambda: signal.raise_signal(signal.SIGINT)))
    sweep = make_sweep(seconds=1.0, epochs=50, budget=1)
    assert run_sweeps([sweep], settings, replace(LOCAL, workers=1), watch, obedient).interrupted
    assert "ended at once. The same command continues" in watch.notes[-1]
    with Store.of(settings) as store:
        assert [row.epoch for row in store.epochs.all("s")] == [1]
        assert [trial.state for trial in trials(store, "s")] == ["interrupted"]
    outcome = run_sweeps([sweep], settings, INLINE, stop_at(1), obedient)
    assert outcome.studies[0].counts.waiting == 1  # the next run queued the trial again


def test_a_run_in_which_everything_fails_stops(settings: Settings) -> None:
    sweep = replace(real_sweep(2), family="none", budget=make_sweep(budget=300).budget)
    watch = Notebook()
    with pytest.raises(TrainingError, match=r"5 trials in a row failed\. The last .* with: Unknown family 'none'"):
        run_sweeps([sweep], settings, INLINE, watch)
    assert watch.states() == ["failed"] * 5 + ["requeued"]
    with Store.of(settings) as store:
        assert {trial.state for trial in trials(store, "s")} == {"failed", "requeued", "waiting"}


def test_the_stop_command_ends_a_run_and_failed_trials_say_why(settings: Settings, monkeypatch) -> None:
    monkeypatch.setenv("FER_TUNE_DIR", str(settings.root))
    monkeypatch.setenv("FER_TUNE_STORAGE", settings.url)
    said: list[int] = []
    watch = Notebook(on_epoch=once(2, lambda: said.append(CliRunner().invoke(app, ["stop", "--study", "s"]).exit_code)))
    assert run_sweeps([make_sweep()], settings, INLINE, watch, obedient).interrupted
    assert said == [0]
    idle = CliRunner().invoke(app, ["stop", "--study", "s"])
    assert (idle.exit_code, "is not being run" in idle.output) == (2, True)
    with pytest.raises(TrainingError):
        run_sweeps(
            [
                replace(
                    real_sweep(2), study="f", family="none", budget=make_sweep().budget.model_copy(update={"trials": 9})
                )
            ],
            settings,
            INLINE,
        )
    shown = CliRunner().invoke(app, ["trials", "--failed", "--study", "f"])
    assert "Unknown family" in shown.output.replace("\n", " ")
    assert "waiting" not in shown.output


@pytest.mark.slow  # the short campaign of kills does the same
def test_a_killed_worker_goes_on_from_its_checkpoint(settings: Settings) -> None:
    watch = Notebook()
    watch.on_epoch = once(4, lambda: os.kill(watch.workers[-1].pid or 0, signal.SIGKILL))
    sweep = bearing(real_sweep(15), checkpoint_interval=0)
    outcome = run_sweeps([sweep], settings, replace(LOCAL, workers=1), watch)
    assert outcome.studies[0].counts.complete == 1
    assert [attempt for _, _, attempt in watch.started] == [0, 1]
    assert [epoch for epoch, _ in value_of(settings)[1]] == list(range(1, 16))
    with Store.of(settings) as store:
        assert "continued after epoch" in attempts_of(store, "s", 0)[1].notes[0]


REAL = """
import sys
from pathlib import Path
from dataclasses import replace
from fer_tune.sources.run import run_sweeps
from fer_tune.settings import Settings
from tests.jobs.helpers import LOCAL, Notebook, bearing, real_sweep

settings = Settings(Path(sys.argv[1]), *sys.argv[2:])
watch = Notebook(on_epoch=lambda spec, row: print(row.epoch, watch.workers[-1].pid, flush=True))
run_sweeps([bearing(real_sweep(8), checkpoint_interval=0)], settings, replace(LOCAL, workers=1), watch)
"""


@pytest.mark.slow  # the short campaign of kills does the same
def test_a_killed_orchestrator_s_trial_goes_on_from_its_checkpoint(settings: Settings) -> None:
    """With the real trainer, the worker ends by itself. The next run continues the trial, once."""
    process = subprocess.Popen(
        [sys.executable, "-c", REAL, str(settings.root), settings.url, str(settings.data_source)],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path)),
    )
    assert process.stdout is not None
    with process:
        pid = next(int(line.split()[1]) for line in process.stdout if line.startswith("3 "))
        process.kill()
    assert not psutil.pid_exists(pid) or not psutil.wait_procs([psutil.Process(pid)], timeout=5)[1]
    with Store.of(settings) as store:
        before = len(rows_of(store, "s", 0))
    assert before >= 3
    sweep = bearing(real_sweep(8), checkpoint_interval=0)
    trained: list[int] = []
    outcome = run_sweeps([sweep], settings, INLINE, Notebook(on_epoch=lambda spec, row: trained.append(row.epoch)))
    assert outcome.studies[0].counts == Counts(complete=1)
    assert trained == list(range(1, 9))
    with Store.of(settings) as store:
        (note,) = attempts_of(store, "s", 1)[1].notes
        continued = int(re.findall(r"continued after epoch (\d+)", note)[0])
        assert 1 <= continued <= 8
        assert continued >= before - 2, "more than one checkpoint interval is trained again"
        assert [trial.state for trial in trials(store, "s")] == ["requeued", "complete"]
        assert [row.epoch for (curve,) in [store.epochs.curves("s").values()] for row in curve] == list(range(1, 9))


def test_replayed_rows_count_once(settings: Settings) -> None:
    """Two attempts have the epochs of a killed worker, but curves and tables count each once."""
    from fer_tune import load_epochs

    sweep = make_sweep(budget=1, epochs=6, die=4, deaths=1)
    outcome = run_sweeps([sweep], settings, replace(LOCAL, workers=1), None, obedient)
    with Store.of(settings) as store:
        rows = store.epochs.all("s")
        assert len({(row.job, row.attempt, row.epoch) for row in rows}) == len(rows) == 9
        store.epochs.add(rows[0])
        assert store.epochs.all("s") == rows, "a second call changed something"
        assert [row.epoch for row in store.epochs.curve("s", rows[0].job)] == [1, 2, 3, 4, 5, 6]
        (trial,) = trials(store, "s")
        assert (trial.epochs, trial.best_epoch) == (6, 6)
        assert trial.attrs["epochs"] == 6
        assert outcome.studies[0].value == trial.value
    assert list(load_epochs("s", storage=settings.url)["epoch"]) == [1, 2, 3, 4, 5, 6]


def test_what_a_killed_try_wrote_and_nobody_recorded_is_deleted(settings: Settings) -> None:
    def die() -> None:
        raise KeyboardInterrupt  # like a second Ctrl-C, after which nothing is recorded

    run_sweeps([real_sweep(2)], settings, INLINE, Notebook(on_epoch=once(1, die)))
    with Store.of(settings) as store:
        (job,) = store.jobs.of("s")
        left = settings.job_folder("s", store.studies.get("s").uid, job.uid) / "val_logits.npy"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"written just before the end")
    again = Notebook(on_epoch=lambda job, row: gone.append(left.exists()))
    gone: list[bool] = []
    run_sweeps([real_sweep(2)], settings, INLINE, again)
    assert gone == [False, False]
    with Store.of(settings) as store:
        assert [record.job for record in store.artifacts.of("s") if record.kind == "val_logits"] == [job.uid]


def test_what_a_killed_worker_half_wrote_goes_when_its_trial_is_told(settings: Settings) -> None:
    folder = Path()

    def leave(job: Job, row: EpochRow) -> None:
        nonlocal folder
        assert job.artifacts is not None
        folder = job.artifacts
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".val_logits.npy.x1y2z3").write_bytes(b"half")

    run_sweeps([real_sweep(2)], settings, INLINE, Notebook(on_epoch=leave))
    assert [path.name for path in folder.iterdir()] == ["val_logits.npy"]


def test_what_a_worker_killed_while_writing_left_goes_with_its_job(tmp_path: Path) -> None:
    for name in ("7.safetensors", ".7.safetensors.abc", "17.safetensors", ".17.safetensors.abc"):
        (tmp_path / name).touch()
    remove_checkpoint(checkpoint_path(tmp_path, "7"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".17.safetensors.abc", "17.safetensors"]
