"""Searches in virtual time: our own through its real runner, and rivals beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search.cases import OURS, Case
from benchmarks.search.clock import VirtualClock
from benchmarks.search.lanes import slowness
from benchmarks.search.measure import Results, factory, play_case
from benchmarks.search.play import play
from benchmarks.search.pool import SimulatedPool
from benchmarks.search.rivals.plain_optuna import FACTORIES
from benchmarks.search.simulator import SECONDS
from benchmarks.search.slots import Play, Task
from benchmarks.search.trace import Trace
from fer_tune.data.spec import DataRef
from fer_tune.errors import SettingsError, TrainingError
from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.pool import EndEvent, ReadyEvent, RowEvent, Slot
from tests.benchmarks.simulated import simulator, small

PARAMS = dict(small().start[0].params)
NOWHERE = DataRef(Path("cache"), "s", Path("split"), "h")


def job(uid: str = "a", **changes: object) -> Job:
    made = Job(uid, "small", "search", "simple_cnn", PARAMS, schedule=8, seed=3, data=NOWHERE)
    return replace(made, **changes)  # type: ignore[arg-type]


def pool(slots: int = 1, slowness: float = 1.0) -> SimulatedPool:
    made = SimulatedPool(simulator(), VirtualClock(own=False), slots, slowness)
    assert made.idle() == []
    assert made.events(1.0) == [ReadyEvent(0)]
    return made


def rows_of(made: SimulatedPool, most: int = 100) -> tuple[list[EpochRow], JobEnd | None]:
    """Returns the rows of the first job to end, and its end."""
    rows: list[EpochRow] = []
    for _ in range(most):
        for event in made.events(60.0):
            if isinstance(event, RowEvent):
                rows.append(event.row)
            if isinstance(event, EndEvent):
                return rows, event.end
    return rows, None


def test_a_job_takes_the_seconds_of_its_epochs_and_no_more() -> None:
    made = pool(slowness=2.0)
    made.submit(Slot(0), job())
    rows, end = rows_of(made)
    assert [row.epoch for row in rows] == list(range(1, 9))
    assert end == JobEnd("a", 0, "completed")
    assert made.clock() == pytest.approx(2.0 * simulator().overhead + sum(row.seconds for row in rows))
    assert made.trained == pytest.approx(made.clock())
    assert made.idle() == [Slot(0)]


def test_waiting_is_never_longer_than_asked() -> None:
    made = pool()
    made.submit(Slot(0), job())
    assert made.events(0.001) == []
    assert made.clock() == pytest.approx(0.001)


def test_lanes_train_at_the_same_time() -> None:
    made = pool(slots=3)
    for index, uid in enumerate("abc"):
        made.submit(Slot(0, index), job(uid, seed=index))
    ends = []
    while len(ends) < 3:
        ends += [event for event in made.events(60.0) if isinstance(event, EndEvent)]
    assert {end.end.job for end in ends} == {"a", "b", "c"}
    assert made.clock() == pytest.approx(made.trained / 3)


def test_a_stopped_job_ends_at_once_and_its_lane_is_idle() -> None:
    made = pool()
    made.submit(Slot(0), job())
    [event] = made.events(60.0)
    assert isinstance(event, RowEvent)
    before = made.clock()
    made.stop_job(Slot(0))
    assert made.events(60.0) == [EndEvent(Slot(0), JobEnd("a", 0, "stopped", "asked to stop in epoch 2"))]
    assert made.clock() == before
    assert made.trained == pytest.approx(before)


def test_a_job_that_left_a_checkpoint_continues_on_the_same_curve(tmp_path: Path) -> None:
    whole = pool()
    whole.submit(Slot(0), job())
    undisturbed, _ = rows_of(whole)
    made = pool()
    made.submit(Slot(0), job(checkpoint=tmp_path / "a"))
    made.events(60.0)
    made.stop_job(Slot(0), keep=True)
    rows, end = rows_of(made)
    assert end == JobEnd("a", 0, "stopped", "asked to stop after epoch 2")
    assert [row.epoch for row in rows] == [2]
    before = made.clock()
    made.submit(Slot(0), job(checkpoint=tmp_path / "a", attempt=1))
    rows, end = rows_of(made)
    assert [row.epoch for row in rows] == list(range(1, 9))
    assert [row.val_accuracy for row in rows] == [row.val_accuracy for row in undisturbed]
    later = sum(row.seconds for row in rows[2:])
    assert made.clock() - before == pytest.approx(simulator().overhead + later)


def test_a_job_with_an_earlier_last_epoch_leaves_a_checkpoint_there(tmp_path: Path) -> None:
    made = pool()
    made.submit(Slot(0), job(checkpoint=tmp_path / "a", until=3))
    rows, end = rows_of(made)
    assert (len(rows), end) == (3, JobEnd("a", 0, "paused"))
    made.submit(Slot(0), job(checkpoint=tmp_path / "a", attempt=1))
    before = made.clock()
    rows, _ = rows_of(made)
    assert made.clock() - before == pytest.approx(simulator().overhead + sum(row.seconds for row in rows[3:]))


def test_patience_ends_a_job_early() -> None:
    made = pool()
    made.submit(Slot(0), job(patience=1))
    rows, end = rows_of(made)
    values = [row.val_accuracy for row in rows]
    assert end is not None
    assert end.status == "completed"
    assert len(rows) == 8 or values[-1] <= max(values[:-1])


def test_another_schedule_than_that_of_the_curves_is_refused() -> None:
    with pytest.raises(TrainingError, match="have 8 epochs, not 9"):
        pool().submit(Slot(0), job(schedule=9))


def test_the_clock_leaves_out_what_the_simulation_itself_takes() -> None:
    clock = VirtualClock()
    before = clock()
    with clock.excluded():
        sum(index * index for index in range(300_000))
    excluded = clock() - before
    sum(index * index for index in range(300_000))
    assert clock() - before > 3 * excluded
    clock.jump(100.0)
    assert clock() > 100.0


def test_our_search_fills_its_seconds_on_its_real_runner() -> None:
    trace = play(small("sampler=random"), simulator(), seed=1, seconds=8.0, own=False)
    assert trace.jobs > 3
    assert trace.epochs >= 8 * (trace.jobs - 1)
    assert trace.facts["trained_seconds"] == pytest.approx(8.0, rel=0.05)


def test_the_orchestrators_processor_time_counts_unless_it_is_left_out() -> None:
    assert play(small(), simulator(), seed=1, seconds=1.0).own_seconds > 0
    assert play(small(), simulator(), seed=1, seconds=1.0, own=False).own_seconds == 0


def test_one_seed_plays_the_same_search_again() -> None:
    options = {"seed": 4, "seconds": 3.0, "own": False, "slots": 3}
    one = play(small(), simulator(), **options)  # type: ignore[arg-type]
    assert play(small(), simulator(), **options).as_dict() == one.as_dict()  # type: ignore[arg-type]
    assert play(small(), simulator(), **options | {"seed": 5}).true != one.true  # type: ignore[arg-type]


def test_a_start_configuration_is_tried_first() -> None:
    trace = play(small(), simulator(), seed=1, seconds=1.0, own=False)
    assert trace.true[0] == simulator().true_value(PARAMS)


class Halves:
    """A rival that pauses each training at half and continues it."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, float | None, bool]] = []
        self.heard: list[tuple[int, int]] = []

    def next(self) -> Task | None:
        count = len(self.ends)
        return Task(count // 2, PARAMS, 4 if count % 2 == 0 else 8, count)

    def report(self, task: Task, epoch: int, value: float) -> bool:
        self.heard.append((task.key, epoch))
        return task.key == 1 and epoch == 6

    def ended(self, task: Task, value: float | None, stopped: bool) -> None:
        self.ends.append((task.key, value, stopped))


def test_a_rival_continues_a_training_and_pays_for_an_epoch_once() -> None:
    rival = Halves()
    rows = simulator().train(PARAMS, 1).rows
    seconds = 2 * (8 * rows[0, SECONDS] + 3 * simulator().overhead)
    trace = Play(rival, simulator(), 0, seconds, clock=VirtualClock(own=False)).run()
    assert rival.heard[:8] == [(0, epoch) for epoch in range(1, 9)]
    assert [(key, stopped) for key, _, stopped in rival.ends[:4]] == [(0, False), (0, False), (1, False), (1, True)]
    assert rival.ends[1][1] is not None
    assert trace.epochs == len(rival.heard)


@pytest.mark.parametrize("name", FACTORIES)
def test_plain_optuna_plays_with_every_pruner(name: str) -> None:
    rival = factory(name)(small("sampler=random"), 1, 2)
    trace = Play(rival, simulator(), 1, 5.0, 2, clock=VirtualClock(own=False)).run()
    assert trace.jobs > 4
    assert trace.times == sorted(trace.times)
    assert trace.times[-1] <= 5.0
    assert trace.observed == sorted(trace.observed)


def test_plain_optuna_begins_with_the_start_configuration() -> None:
    assert factory("random")(small(), 1, 1).next().params == PARAMS  # type: ignore[union-attr]


def test_a_rival_that_is_unknown_or_not_installed_is_refused() -> None:
    with pytest.raises(SettingsError, match="no rival chance"):
        factory("chance")


def test_a_case_is_played_by_us_or_by_a_rival() -> None:
    sweeps = {OURS: small()}
    ours = play_case(Case(OURS, 1, 0, 1.0, own=False), sweeps, simulator())
    other = play_case(Case("random", 8, 0, 2.0), sweeps, simulator())
    assert ours["jobs"] >= 1
    assert len(other["true"]) == len(other["times"]) >= 1


def test_slots_share_a_device() -> None:
    assert slowness("deep_cnn", 1) == 1.0
    assert slowness("deep_cnn", 8) == pytest.approx(8 / 2.19)
    assert 1.0 < slowness("deep_cnn", 2) < slowness("deep_cnn", 4) < slowness("deep_cnn", 8)


def test_results_are_kept_and_grow(tmp_path: Path) -> None:
    results = Results(tmp_path / "search.json")
    results.content["commit"] = "abc"
    results.family("deep_cnn")["budget_seconds"] = 180.0
    results.family("deep_cnn")["runs"]["random/1/0"] = {"times": [1.0], "true": [0.5]}
    results.save()
    again = Results(tmp_path / "search.json")
    assert again.content == json.loads((tmp_path / "search.json").read_text()) == results.content
    again.family("resnet")["runs"]["random/1/0"] = {"times": [], "true": []}
    again.save()
    assert set(Results(tmp_path / "search.json").content["families"]) == {"deep_cnn", "resnet"}


def test_a_file_that_another_machine_continues_says_which_searches_that_played(tmp_path: Path) -> None:
    results, first, second = Results(tmp_path / "search.json"), {"machine": "64 cores"}, {"machine": "16 cores"}
    case = Case("random", 8, 0, 180.0, family="deep_cnn")
    results.describe(first, [case])
    results.family(case.part)["runs"][case.key] = {"times": [], "true": []}
    results.describe(first, [case])
    assert results.content["machine"] == "64 cores"
    assert "continued" not in results.content
    results.describe(second, [])
    assert "continued" not in results.content
    results.describe(second, [case])
    assert results.content["machine"] == "64 cores"
    assert results.content["continued"] == [{"searches": ["deep_cnn, random/8"], "machine": "16 cores"}]


def test_runs_on_another_simulation_are_dropped(tmp_path: Path) -> None:
    results = Results(tmp_path / "search.json")
    part = results.family("deep_cnn")
    results.begin(part, {"curves": 91})
    part["runs"]["random/1/0"] = {"times": [1.0], "true": [0.5]}
    results.begin(part, {"curves": 91})
    assert list(part["runs"]) == ["random/1/0"]
    results.begin(part, {"curves": 91, "quality_of_others": {"boosted trees": 0.77}})
    assert list(part["runs"]) == ["random/1/0"], "the model that plays is the same"
    results.begin(part, {"curves": 400})
    assert part["runs"] == {}


def test_missing_and_longer_runs_of_another_file_are_taken_over(tmp_path: Path) -> None:
    about = {"machine": "64 cores", "versions": {}, "commit": "abc", "date": "2026-11-27"}
    there, here = Results(tmp_path / "there.json"), Results(tmp_path / "here.json")
    for results, curves, seconds in ((there, 2, 40.0), (here, 2, 10.0)):
        results.content |= about | {"machine": f"{seconds:.0f} cores"}
        for family in ("deep_cnn", "resnet"):
            part = results.family(family)
            results.begin(part, {"curves": curves if family == "deep_cnn" else seconds})
            part["runs"] = {f"random/1/{seed}": {"seconds": seconds} for seed in (0, 1)}
    there.family("deep_cnn")["runs"] |= {"random/8/0": {"seconds": 10.0}, "random/1/1": {"seconds": 10.0}}
    there.save()

    assert here.take(there.path) == 2
    taken = {key: run["seconds"] for key, run in here.family("deep_cnn")["runs"].items()}
    assert taken == {"random/1/0": 40.0, "random/1/1": 10.0, "random/8/0": 10.0}
    assert here.family("resnet")["runs"]["random/1/0"]["seconds"] == 10.0, "of another simulation"
    assert here.content["machine"] == "10 cores"
    searches = ["deep_cnn, random/1", "deep_cnn, random/8"]
    assert here.content["continued"] == [about | {"searches": searches, "machine": "40 cores"}]
    assert here.take(there.path) == 0
    assert len(here.content["continued"]) == 1


def test_a_trace_knows_the_incumbent_of_any_time() -> None:
    trace = Trace(times=[1.0, 2.0, 3.0], observed=[0.4, 0.5, 0.6], true=[0.5, 0.5, 0.45])
    assert [trace.at(time) for time in (0.5, 1.0, 2.5, 9.0)] == [None, 0.5, 0.5, 0.45]
    assert trace.steps() == [(1.0, 0.5), (3.0, 0.45)]
    assert np.isfinite(trace.as_dict()["true"]).all()
