"""Tests of the plan of a run: from a probe, from earlier trials, and compared at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import cast

import optuna
import pytest

from fer_tune.data.spec import DataRef
from fer_tune.display.plan import comparison, lines_of
from fer_tune.errors import TrainingError
from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.pool import EndEvent, Event, Pool, RowEvent, Slot, WorkerInfo
from fer_tune.selection.cost import Shape, TrialPace
from fer_tune.settings import Settings
from fer_tune.sources.pace import ENOUGH, PROBES, lane_epochs, probed_pace, recorded_pace
from fer_tune.sources.plan import ONLY_CONTINUES, SweepPlan, placed, plan_sweeps, shape_of
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.spending import COMPARED
from fer_tune.store import Store
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.schema import SearchSpec, Sweep
from tests.jobs.helpers import INLINE, run, stop_at
from tests.pool.trainers import Obedient, obedient, row
from tests.searches import make_sweep


@pytest.fixture
def sweep() -> Sweep:
    return make_sweep(epochs=9, budget=12, seconds=0.0, search=SearchSpec(strategy="promote", factor=3, rungs=[1, 3]))


def test_a_plan_probes_when_there_are_no_earlier_trials_and_records_no_trial(searching: Settings, sweep: Sweep) -> None:
    (plan,) = plan_sweeps([sweep], searching, INLINE, print, obedient)
    assert "probe" in plan.pace.source
    assert set(plan.pace.epochs) == {0.01}  # the row that the fake trainer sends
    assert plan.forecast.started.middle == 12
    assert plan.forecast.reached[1].middle == 12
    with Store.of(searching) as store:
        assert store.jobs.of("s") == []


def test_a_plan_uses_earlier_trials_of_the_family(searching: Settings, sweep: Sweep) -> None:
    run(make_sweep("before", epochs=9, budget=ENOUGH, seconds=0.0), searching)
    (plan,) = plan_sweeps([sweep], searching, INLINE, print, obedient)
    assert plan.pace.source == f"{ENOUGH} earlier trials"
    assert len(plan.pace.epochs) == ENOUGH
    assert plan.pace.lengths == []


def test_a_plan_probes_too_if_there_are_few_earlier_trials(searching: Settings, sweep: Sweep) -> None:
    run(make_sweep("before", epochs=9, budget=3, seconds=0.0), searching)
    (plan,) = plan_sweeps([sweep], searching, INLINE, print, obedient)
    assert plan.pace.source == f"3 earlier trials and a probe of {PROBES} configurations"
    assert len(plan.pace.epochs) == 3 + PROBES


def test_earlier_trials_that_the_sweep_could_draw_have_curves(searching: Settings, sweep: Sweep) -> None:
    run(make_sweep("before", epochs=9, budget=2, seconds=0.0), searching)
    run(make_sweep("other", epochs=9, budget=2, seconds=0.001), searching)
    with Store.of(searching) as store:
        pace = recorded_pace(store, sweep, store.studies.get("before"), ["cpu"])
    assert pace is not None
    assert all(trial.params["value"] for trial in pace.trials)
    known = [trial for trial in pace.trials if trial.curve]
    assert (len(pace.trials), len(known), pace.lanes) == (4, 2, 1)
    assert all(set(trial.curve) == {1, 2, 3, 9} for trial in known)


class Together(Obedient):
    """Its epochs are said to last a second and to have an eighth of the device."""

    def train(self, spec: Job, stop_requested: Callable[[], int]) -> Iterator[EpochRow | JobEnd]:
        for message in super().train(spec, stop_requested):
            yield replace(message, seconds=1.0, device_seconds=0.125) if isinstance(message, EpochRow) else message


def test_what_trials_in_lanes_cost_is_their_share_of_the_time(searching: Settings) -> None:
    """All of them end within a moment. So they were trained side by side, 30 epochs in 30 s."""
    before = make_sweep("before", epochs=30, budget=ENOUGH, seconds=0.0)
    beside = replace(make_sweep("beside", epochs=30, budget=ENOUGH, seconds=0.0), family="deep_cnn")
    shares = []
    for sweep, lanes in ((before, ENOUGH), (beside, 2 * ENOUGH)):
        run_sweeps([sweep], searching, INLINE, trainer=Together)
        with Store.of(searching) as store:
            pace = recorded_pace(store, before, store.studies.get("before"), ["cpu"])
        assert pace is not None
        assert pace.lanes == pytest.approx(lanes, rel=0.1)
        shares.append(fmean(pace.epochs))
    assert shares == pytest.approx([1 / ENOUGH, 1 / (2 * ENOUGH)], rel=0.15)


def test_epochs_that_an_attempt_has_from_a_checkpoint_are_counted_once(searching: Settings) -> None:
    """One trial at a time: each of its three attempts has the rows of those before it."""
    rungs = SearchSpec(strategy="promote", factor=2, rungs=[2, 4])
    before = make_sweep("before", epochs=8, budget=4, seconds=0.02, search=rungs)
    run(before, searching)
    with Store.of(searching) as store:
        pace = recorded_pace(store, before, store.studies.get("before"), ["cpu"])
        rows = store.epochs.all("before")
    assert len(rows) > len({(row.job, row.epoch) for row in rows}), "some attempts have rows of others"
    assert pace is not None
    assert pace.epochs == pytest.approx([0.01] * 4), "what each row says"


def text(rules: str) -> str:
    """Returns the text of a sweep whose trials end by these rules."""
    return f"family: simple_cnn\nparams: {{lr: 0.1}}\n{rules}\n"


PROMOTE = "search: {strategy: promote, rungs: [3]}"


@pytest.mark.parametrize(
    ("before", "pruner", "known"),
    [
        (PROMOTE, "none", False),
        (f"{PROMOTE}\npruner: median", "median", False),
        ("pruner: median", "none", False),
        ("pruner: {name: median, n_warmup_steps: 3}", "median", False),
        ("pruner: median", "median", True),
        ("family: ./nowhere.py:Net", "median", False),
    ],
)
def test_trials_are_as_long_as_those_that_ended_by_the_same_rules(
    searching: Settings, before: str, pruner: str, known: bool
) -> None:
    options = loads_sweep(text("pruner: median"), Path("a.yaml")).pruner
    made = make_sweep("before", epochs=9, budget=4, seconds=0.0, pruner=options)
    run(replace(made, text=text(before)), searching)
    other = make_sweep(epochs=9, seconds=0.0, pruner=options if pruner == "median" else None)
    with Store.of(searching) as store:
        pace = recorded_pace(store, other, store.studies.get("before"), ["cpu"])
    assert pace is not None
    assert pace.lengths == ([1.0] * 4 if known else [])


@pytest.mark.parametrize(
    ("changed", "count"),
    [
        ("seed: 7\nbudget: {trials: 60, epochs: 9}", 2),
        ("budget: {trials: 60, epochs: 9}\nsearch: {strategy: promote, rungs: [3]}", 0),
        ("budget: {trials: 60, epochs: 9}\nsampler: random", 0),
        ("budget: {trials: 60, epochs: 12}", 0),
        ("objective: val_macro_f1\nbudget: {trials: 60, epochs: 9}", 0),
    ],
    ids=["another seed and length", "rungs", "sampler", "epochs", "objective"],
)
def test_trials_that_the_same_search_proposed_are_known(searching: Settings, changed: str, count: int) -> None:
    """Those of another seed or length are. A start configuration is nothing that it proposed."""
    made = make_sweep("before", epochs=9, budget=3, seconds=0.0, start=[{"value": 0.5}])
    run(replace(made, text=text("budget: {trials: 3, epochs: 9}")), searching)
    later = loads_sweep(text(changed), Path("later.yaml"))
    with Store.of(searching) as store:
        pace = recorded_pace(store, later, store.studies.get("before"), ["cpu"])
    assert pace is not None
    assert (len(pace.trials), sum(trial.searched for trial in pace.trials)) == (3, count)


@pytest.mark.parametrize(
    ("pruner", "said"), [("median", "the plan supposes that none ends early"), ("none", "4 reach epoch 9")]
)
def test_a_plan_says_if_it_does_not_know_when_a_pruner_ends_trials(searching: Settings, pruner: str, said: str) -> None:
    options = loads_sweep(text(f"pruner: {pruner}"), Path("a.yaml")).pruner
    (plan,) = plan_sweeps([make_sweep(epochs=9, pruner=options)], searching, INLINE, print, obedient)
    assert lines_of(plan)[2] == f"  4 trials start; {said}"


def test_the_end_of_the_run_says_how_right_the_plan_was(searching: Settings, sweep: Sweep) -> None:
    (plan,) = plan_sweeps([sweep], searching, INLINE, print, obedient)
    outcome, _ = run(sweep, searching)
    found = outcome.studies[0].plan
    assert found is not None
    assert found["took"]["started"] == 12
    assert found["expected"]["device_seconds"]["middle"] == pytest.approx(plan.forecast.device_seconds.middle)
    assert found["took"]["device_seconds"] > 0
    assert "12 trials, and 12 started" in comparison(found)


def test_a_plan_is_compared_once(searching: Settings, sweep: Sweep) -> None:
    def with_trials(trials: int) -> Sweep:
        return replace(sweep, budget=sweep.budget.model_copy(update={"trials": trials}))

    plan_sweeps([with_trials(4)], searching, INLINE, print, obedient)
    first = run(with_trials(4), searching)[0].studies[0].plan
    assert first is not None
    assert run(with_trials(8), searching)[0].studies[0].plan is None, "it was the plan of the run before"
    kept = optuna.load_study(study_name="s", storage=searching.url).user_attrs[COMPARED]
    assert kept == first
    plan_sweeps([with_trials(12)], searching, INLINE, print, obedient)
    second = run(with_trials(12), searching)[0].studies[0].plan
    assert second is not None
    assert second["took"]["started"] == 4


def test_a_plan_is_compared_when_a_run_that_was_interrupted_is_continued(searching: Settings, sweep: Sweep) -> None:
    plan_sweeps([sweep], searching, INLINE, print, obedient)
    outcome = run_sweeps([sweep], searching, INLINE, stop_at(3), obedient)
    assert outcome.interrupted
    assert outcome.studies[0].plan is None
    found = run(sweep, searching)[0].studies[0].plan
    assert found is not None
    assert found["took"]["started"] == 12, "both runs together"


def refuse(*args: object) -> TrialPace:
    raise AssertionError("nothing should be probed")


@pytest.mark.parametrize("limit", ["trials", "gpu_hours"])
def test_a_study_with_nothing_left_to_train_is_not_probed(
    searching: Settings, sweep: Sweep, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    plan_sweeps([sweep], searching, INLINE, print, obedient)
    run(sweep, searching)
    monkeypatch.setattr("fer_tune.sources.plan.probed_pace", refuse)
    changed = {} if limit == "trials" else {"trials": 100, "gpu_hours": 1e-9}
    spent = replace(sweep, budget=sweep.budget.model_copy(update=changed))
    (plan,) = plan_sweeps([spent], searching, INLINE, print, obedient)
    assert plan.forecast.started.high == plan.seconds.high == 0
    assert lines_of(plan) == ["s: its budget is used up, so nothing is left to train"]
    assert run(spent, searching)[0].studies[0].plan is None, "there is nothing to compare"


def test_a_study_whose_trials_have_all_begun_is_not_called_used_up(searching: Settings, sweep: Sweep) -> None:
    plan_sweeps([sweep], searching, INLINE, print, obedient)
    run_sweeps([sweep], searching, INLINE, stop_at(3), obedient)
    begun = replace(sweep, budget=sweep.budget.model_copy(update={"trials": 2}))
    (plan,) = plan_sweeps([begun], searching, INLINE, print, obedient)
    assert plan.nothing == ONLY_CONTINUES


def test_a_plan_says_that_patience_may_end_the_study_earlier(searching: Settings, sweep: Sweep) -> None:
    patient = replace(sweep, budget=sweep.budget.model_copy(update={"patience": 20}))
    (plan,) = plan_sweeps([patient], searching, INLINE, print, obedient)
    assert lines_of(plan)[-1] == "  budget.patience: 20 may end the study earlier"


def test_a_lone_trial_takes_no_less_time_with_more_workers(searching: Settings) -> None:
    lone = make_sweep(epochs=9, budget=1, seconds=0.0)
    (plan,) = plan_sweeps([lone], searching, replace(INLINE, workers=2), print, obedient)
    assert len(plan.devices) == 2
    assert plan.seconds == plan.forecast.device_seconds


def test_a_plan_of_a_study_that_was_begun_is_of_the_rest(sweep: Sweep) -> None:
    shape = shape_of(sweep, {"device_seconds": 100.0, "started": 5}, devices=2)
    assert (shape.trials, shape.rungs) == (7, (1, 3))
    hours = replace(sweep, budget=sweep.budget.model_copy(update={"hours": 1.0, "gpu_hours": 0.5}))
    assert shape_of(hours, {"device_seconds": 100.0, "started": 5}, devices=2).capacity == 1700


def test_a_plan_is_shown_in_four_lines(searching: Settings, sweep: Sweep) -> None:
    (plan,) = plan_sweeps([sweep], searching, INLINE, print, obedient)
    first, pace, trials, cost = lines_of(plan)
    assert first == "s: 1 worker"
    assert "an epoch takes 0.01 s" in pace
    assert trials.startswith("  12 trials start; 12 reach epoch 1, ")
    assert "of CPU time" in cost


class Picky(Obedient):
    """A trainer that can train one study only."""

    def train(self, spec: Job, stop_requested: Callable[[], int]) -> Iterator[EpochRow | JobEnd]:
        if spec.study != "s":
            yield JobEnd(spec.uid, spec.attempt, "failed", "it is too large")
            return
        yield from super().train(spec, stop_requested)


def picky(device: str, threads: int | None) -> Picky:
    return Picky(device, threads)


def test_a_plan_is_shown_even_if_the_next_sweep_cannot_be_planned(searching: Settings, sweep: Sweep) -> None:
    planned: list[SweepPlan] = []
    other = replace(sweep, study="other")
    with pytest.raises(TrainingError, match="other: no configuration"):
        plan_sweeps([sweep, other], searching, INLINE, print, picky, planned=planned.append)
    assert [plan.study for plan in planned] == ["s"]


class Sharing:
    """A pool with lanes of one device. Each epoch takes 1 s, and 2 s pass before the first.

    Its first jobs take four times as long, like those of a new process.
    """

    def __init__(self, lanes: int) -> None:
        self.now = 0.0
        self.lanes = lanes
        self.trained = 0
        self.remembered: Path | None = None
        self._jobs: list[Job] = []

    def monotonic(self) -> float:
        return self.now

    @property
    def workers(self) -> list[WorkerInfo]:
        return [WorkerInfo(0, "cuda:0", None, lanes=self.lanes)]

    def use_lanes(self, lanes: object, remembered: Path | None = None) -> None:
        self.remembered = remembered

    def idle(self) -> list[Slot]:
        return [Slot(0, lane) for lane in range(self.lanes - len(self._jobs))]

    def submit(self, slot: Slot, job: Job) -> None:
        self._jobs.append(job)

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        """Does nothing: each job has ended before the time is over, or does not hear."""

    def events(self, timeout: float) -> list[Event]:
        seconds = 4.0 if self.trained < PROBES else 1.0
        self.now += 2.0 + seconds
        found: list[Event] = []
        for lane, job in enumerate(self._jobs):
            sent = replace(row(job, 1, 0.5), seconds=seconds, device_seconds=seconds / self.lanes)
            found += [RowEvent(Slot(0, lane), sent), EndEvent(Slot(0, lane), JobEnd(job.uid, 0, "paused"))]
        self.trained += len(self._jobs)
        self._jobs = []
        return found


class Instant(Sharing):
    """The same, but no clock is fine enough for its epochs."""

    def events(self, timeout: float) -> list[Event]:
        found = super().events(timeout)
        return [
            replace(event, row=replace(event.row, seconds=0.0, device_seconds=0.0))
            if isinstance(event, RowEvent)
            else event
            for event in found
        ]


class Compiling(Sharing):
    """The same, but its first jobs compile their kernels for ten minutes."""

    def events(self, timeout: float) -> list[Event]:
        if self.now == 0:
            self.now = 600.0
            return []
        return super().events(timeout)


class Slow(Sharing):
    """The same with one lane. Its first job ends only 40 s after it was asked to stop."""

    def __init__(self) -> None:
        super().__init__(lanes=1)
        self.stopped = math.inf

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        self.stopped = min(self.stopped, self.now)

    def events(self, timeout: float) -> list[Event]:
        if self.now > self.stopped + 40.0:
            return super().events(timeout)
        self.now += 1.0
        if self.now <= self.stopped + 40.0:
            return []
        return [EndEvent(Slot(0), JobEnd(self._jobs.pop().uid, 0, "stopped"))]


def test_a_probe_stops_its_jobs_and_the_next_one_waits_for_their_end(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, data = Slow(), DataRef(Path("cache"), "s", Path("split"), "h")
    monkeypatch.setattr("fer_tune.sources.pace.time", pool)
    assert probed_pace(sweep, cast(Pool, pool), data, 1) is None
    assert pool.stopped == 30.0
    pace = probed_pace(sweep, cast(Pool, pool), data, 1)
    assert pace is not None
    assert len(pace.epochs) == 5, "it has all of its 30 s"


@pytest.mark.parametrize(("lanes", "expected"), [(1, (4.0, 2.0, 5)), (4, (0.25, 0.0, 2 * PROBES))])
def test_several_lanes_are_probed_twice_and_their_preparations_cost_the_device_nothing(
    searching: Settings, sweep: Sweep, monkeypatch: pytest.MonkeyPatch, lanes: int, expected: tuple[float, float, int]
) -> None:
    """One lane is probed for 30 s, in which five configurations of 6 s are trained."""
    pool, remembered = Sharing(lanes), Path("lanes.json")
    monkeypatch.setattr("fer_tune.sources.pace.time", pool)
    pace = probed_pace(sweep, cast(Pool, pool), DataRef(Path("cache"), "s", Path("split"), "h"), "auto", remembered)
    assert pace is not None
    epoch, overhead, trained = expected
    assert (set(pace.epochs), pace.overhead, pace.lanes) == ({epoch}, pytest.approx(overhead), lanes)
    assert (pool.trained, pool.remembered) == (trained, remembered)
    assert all("value" in trial.params and set(trial.curve) == {1} for trial in pace.trials)


@pytest.mark.parametrize(
    ("search", "epochs", "probed"),
    [
        (SearchSpec(strategy="promote", first=9), 30, 9),
        (SearchSpec(strategy="promote"), 40, 4),
        (SearchSpec(strategy="promote"), 200, 4),  # a rung at 20 takes too long
        (SearchSpec(strategy="promote", rungs=[1, 3]), 9, 4),
        (SearchSpec(), 30, 4),
    ],
)
def test_lanes_are_probed_with_trials_as_long_as_those_that_pause_first(
    search: SearchSpec, epochs: int, probed: int
) -> None:
    assert lane_epochs(make_sweep(epochs=epochs, search=search)) == probed


def test_several_lanes_are_measured_even_if_preparing_them_took_all_the_time(
    searching: Settings, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Compiling(8)
    monkeypatch.setattr("fer_tune.sources.pace.time", pool)
    pace = probed_pace(sweep, cast(Pool, pool), DataRef(Path("cache"), "s", Path("split"), "h"), "auto")
    assert pace is not None
    assert pace.epochs == pytest.approx([4 / 8] * 8 + [1 / 4] * 4), "the last four share the device"
    assert (pace.lanes, pace.overhead) == (8, 0.0)
    assert pool.trained == 8 + PROBES


def test_epochs_that_take_no_time_are_probed(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Instant(1)
    monkeypatch.setattr("fer_tune.sources.pace.time", pool)
    pace = probed_pace(sweep, cast(Pool, pool), DataRef(Path("cache"), "s", Path("split"), "h"), 1)
    assert pace is not None
    assert (set(pace.epochs), pace.lanes) == ({0.0}, 1)


@pytest.mark.parametrize(
    ("devices", "lanes", "auto", "start", "overlap"),
    [
        (("cpu",), 4, True, 0.0, 0.0),
        (("cuda:0",), 1, True, 2.2, 0.2),
        (("cuda:0",), 8, False, 2.2, 0.2),
        (("cuda:0", "cuda:1"), 8, True, 2 * (2.2 + 0.6), 0.2),
    ],
)
def test_a_plan_counts_the_start_of_a_gpu_and_the_head_start_of_lanes_that_open_by_themselves(
    devices: tuple[str, ...], lanes: int, auto: bool, start: float, overlap: float
) -> None:
    shape = Shape(30, (4,), 4, 60, math.inf, slots=lanes * len(devices))
    found = placed(devices, shape, head_start=auto, probed=False)
    assert (found.start, found.overlap, found.devices) == (pytest.approx(start), overlap, len(devices))


@pytest.mark.parametrize(("lanes", "probed", "drift"), [(8, True, 0.2), (8, False, 0.1), (1, True, 0.1)])
def test_a_plan_from_a_probe_of_several_lanes_has_a_wider_range(lanes: int, probed: bool, drift: float) -> None:
    shape = Shape(30, (4,), 4, 60, math.inf, slots=lanes)
    assert placed(("cuda:0",), shape, head_start=True, probed=probed).drift == drift
