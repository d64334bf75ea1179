"""The benchmark of the orchestrator: its simulated workers, its copied trials, and its tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import orchestration_tables
from benchmarks.cloned_trials import clone_trials
from benchmarks.orchestration_arms import EPOCHS, sweep_of
from benchmarks.simulated_pool import Enough, SimulatedPool, curve
from fer_tune.data.spec import DataRef
from fer_tune.job import Job
from fer_tune.pool import EndEvent, RowEvent
from fer_tune.pool.port import Event, Slot
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import ranking, summaries, trials
from fer_tune.study.summaries import TrialSummary
from tests.studies import make_study

ROOT = Path(__file__).parents[1]


def a_job(seed: int) -> Job:
    data = DataRef(Path("cache"), "d", Path("split"), "s")
    return Job(f"{seed:012x}", "s", "search", "simple_cnn", {}, EPOCHS, seed, data, number=seed)


def until(pool: SimulatedPool, enough: int) -> list[Event]:
    found: list[Event] = []
    while len(found) < enough:
        found += pool.events(0.2)
    return found


def test_a_simulated_trial_sends_its_curve_and_takes_no_time() -> None:
    pool = SimulatedPool(2, 600.0)
    assert pool.idle() == []  # not before they are ready
    pool.events(0.2)
    assert pool.idle() == [Slot(0, 0), Slot(1, 0)]
    pool.submit(Slot(1, 0), a_job(3))
    found = until(pool, EPOCHS + 1)
    assert [event.row.val_accuracy for event in found if isinstance(event, RowEvent)] == curve(0, 3, EPOCHS)
    assert isinstance(found[-1], EndEvent)
    assert found[-1].end.status == "completed"
    assert pool.idle() == [Slot(0, 0), Slot(1, 0)]
    pool.close()
    assert pool.measured.elapsed > 0.9 * 600 * EPOCHS  # five hours
    assert pool.measured.processor < 60


def test_a_stopped_trial_ends_at_once_and_its_slot_waits_for_the_next() -> None:
    pool = SimulatedPool(1, 10.0)
    pool.events(0.2)
    pool.submit(Slot(0, 0), a_job(1))
    until(pool, 2)
    pool.stop_job(Slot(0, 0))
    [ended] = until(pool, 1)
    assert isinstance(ended, EndEvent)
    assert ended.end.status == "stopped"
    pool.events(0.2)  # nothing happens for so long
    pool.submit(Slot(0, 0), a_job(2))
    [gap] = pool.measured.gaps
    assert 0.2 <= gap < 5


def test_a_run_is_cut_short_when_it_has_had_its_processor_time() -> None:
    pool = SimulatedPool(1, 1.0, limit=0.0)
    pool.events(0.2)
    sum(range(100_000))  # the orchestrator works
    with pytest.raises(Enough):
        pool.events(0.2)


def test_copied_trials_read_as_real_ones_do(settings: Settings) -> None:
    def plain(trial: TrialSummary) -> dict[str, Any]:
        return trial.as_dict() | {"number": trial.number % 5, "job": None}

    with make_study(settings) as store:
        first, [before] = trials(store, "tiny"), summaries(store)
        epochs = [len(store.epochs.curve("tiny", trial.job)) for trial in first if trial.job]
    clone_trials(settings.root / "fer_tune.db", 20)
    with Store.of(settings, create=False) as store:
        found, [after] = trials(store, "tiny"), summaries(store)
        assert [trial.number for trial in found] == list(range(20))
        assert [plain(trial) for trial in found] == 4 * [plain(trial) for trial in first]
        assert len({trial.job for trial in found}) == 20
        assert [len(store.epochs.curve("tiny", trial.job)) for trial in found if trial.job] == 4 * epochs
        assert after.counts.complete == 4 * before.counts.complete
        assert ranking(store, "tiny", None)[3].value == 0.6


def test_a_number_that_is_no_multiple_is_refused(settings: Settings) -> None:
    make_study(settings).close()
    with pytest.raises(ValueError, match="21 is not a multiple of the 5 trials"):
        clone_trials(settings.root / "fer_tune.db", 21)


@pytest.mark.parametrize(("space", "searched"), [("flat12", 12), ("resnet", 20)])
def test_the_spaces_are_those_that_the_tables_name(space: str, searched: int) -> None:
    sweep = sweep_of(space, 7)
    assert sum(parameter.domain.plain() is not None for parameter in sweep.space.values()) > searched
    assert (sweep.budget.trials, sweep.budget.epochs, sweep.start) == (7, EPOCHS, ())
    assert sweep.sampler.name == "tpe"
    assert (sweep.pruner.name, sweep.pruner.options["n_warmup_steps"]) == ("median", 5)


def record(spaces: dict[str, Any], growth: list[dict[str, Any]]) -> dict[str, Any]:
    return {"spaces": spaces, "growth": growth, "ray": []}


def side(ms: float, slots: int, trials: int = 100) -> dict[str, Any]:
    spread = {"median": 4.04, "p99": 1234.0, "of": 9}
    return {
        "slots": slots, "trials": trials, "rows": 1000, "cpu_ms_a_trial": ms, "cpu_ms_a_row": ms / 10,
        "wait_ms": spread, "row_read_late_ms": {}, "share_of_a_core": 0.123, "opening_cpu_seconds": 1.0,
    }  # fmt: skip


def test_the_tables_compare_with_optuna_and_with_the_record_before(monkeypatch: pytest.MonkeyPatch) -> None:
    optuna = {"trials": 100, "rows": 1000, "cpu_ms_a_trial": 80.0, "cpu_ms_a_row": 8.0}
    then = {"optuna": optuna, "optuna_wal": optuna, "ours": [side(100, 2), side(900, 64, trials=0)]}
    before = record({"flat12": then}, [side(200, 8) | {"finished": 100, "commands": {"best": {"cpu": 0.9}}}])
    monkeypatch.setattr(orchestration_tables, "record", lambda name: before)
    ours = [side(20, 2), side(40, 64), side(50, 512, trials=0)]
    now = record(
        {"flat12": then | {"ours": ours}}, [side(30, 8) | {"finished": 100, "commands": {"best": {"cpu": 0.4}}}]
    )
    cost = orchestration_tables.orchestration_cost(now).splitlines()
    assert cost[-3] == "| fer-tune | 2 | 20.0 | 10.0 | 2.00 | 0.25 | 1.25 |"
    assert cost[-2] == "| fer-tune | 64 | 40.0 | 10.0 | 4.00 | 0.50 | – |"  # no trial ended before
    assert cost[-1] == "| fer-tune | 512 | – | – | 5.00 | – | – |"  # cut short
    assert "| flat12 | 2 | 4.0 | 1,234 | – | 12 % | 4.0, 1,234 |" in orchestration_tables.orchestration_waits(now)
    assert orchestration_tables.orchestration_growth(now).endswith("| 100 | 30 (200) | 1.0 (1.0) | 0.40 (0.90) |")


@pytest.mark.slow
def test_the_benchmark_runs(tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    command = [sys.executable, "-m", "benchmarks.orchestration", "--quick", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    [ours] = found["spaces"]["flat12"]["ours"]
    assert (ours["slots"], ours["trials"], ours["cut_short"]) == (2, 6, False)
    assert 0 < ours["share_of_a_core"] < 1
    [grown] = found["growth"]
    assert (grown["finished"], grown["trials"]) == (20, 4)
    assert grown["commands"]["best"]["cpu"] > 0
    assert "| fer-tune | 2 |" in done.stdout
