"""Tests of the plan of a run: from a probe, from earlier trials, and compared at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from fer_tune.display.plan import comparison, lines_of
from fer_tune.errors import TrainingError
from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.selection.cost import Shape, TrialPace
from fer_tune.settings import Settings
from fer_tune.sources.plan import ONLY_CONTINUES, SweepPlan, placed, plan_sweeps, shape_of
from fer_tune.sources.probed_pace import PROBES
from fer_tune.sources.recorded_pace import ENOUGH
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.spending import COMPARED
from fer_tune.store import Store
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.schema import SearchSpec, Sweep
from tests.jobs.helpers import INLINE, run, stop_at
from tests.pool.trainers import Obedient, obedient
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


@pytest.mark.parametrize("entry", [{"value": "abc"}, {"value": None}, {"nosuch": 1}])
def test_a_plan_bears_an_entry_of_the_queue_that_is_not_valid(
    searching: Settings, sweep: Sweep, entry: dict[str, object]
) -> None:
    run(replace(sweep, budget=sweep.budget.model_copy(update={"trials": 1})), searching)
    optuna.load_study(study_name="s", storage=searching.url).enqueue_trial(entry)
    (plan,) = plan_sweeps([sweep], searching, INLINE, print, obedient)
    assert plan.forecast.started.middle > 0


def test_a_plan_probes_too_if_there_are_few_earlier_trials(searching: Settings, sweep: Sweep) -> None:
    run(make_sweep("before", epochs=9, budget=3, seconds=0.0), searching)
    (plan,) = plan_sweeps([sweep], searching, INLINE, print, obedient)
    assert plan.pace.source == f"3 earlier trials and a probe of {PROBES} configurations"
    assert len(plan.pace.epochs) == 3 + PROBES


def test_a_plan_probes_if_the_sweep_could_draw_none_of_the_earlier_trials(searching: Settings, sweep: Sweep) -> None:
    run(make_sweep("before", epochs=9, budget=ENOUGH, seconds=0.001), searching)
    (plan,) = plan_sweeps([sweep], searching, INLINE, print, obedient)
    assert plan.pace.source == f"a probe of {PROBES} configurations"
    assert len(plan.pace.epochs) == PROBES


@pytest.mark.parametrize(
    ("pruner", "said"), [("median", "the plan supposes that none ends early"), ("none", "4 reach epoch 9")]
)
def test_a_plan_says_if_it_does_not_know_when_a_pruner_ends_trials(searching: Settings, pruner: str, said: str) -> None:
    options = loads_sweep(f"family: simple_cnn\nparams: {{lr: 0.1}}\npruner: {pruner}\n", Path("a.yaml")).pruner
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


def test_a_plan_for_another_budget_is_not_compared(searching: Settings, sweep: Sweep) -> None:
    few = replace(sweep, budget=sweep.budget.model_copy(update={"trials": 4}))
    plan_sweeps([few], searching, INLINE, print, obedient)
    outcome, watch = run(sweep, searching)
    assert outcome.studies[0].plan is None
    assert "s: the last plan was for another budget, so it is not compared with this run." in watch.notes
    assert COMPARED not in optuna.load_study(study_name="s", storage=searching.url).user_attrs


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


def test_a_plan_says_that_the_patience_of_the_study_is_over(
    searching: Settings, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_tune.sources.patience.PatienceRule.is_over", lambda self: True)
    (plan,) = plan_sweeps([sweep], searching, INLINE, print, obedient)
    assert lines_of(plan) == ["s: its patience is over (budget.patience), so no further trial starts"]


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
