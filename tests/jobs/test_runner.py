"""Tests of whole runs with a real store, a real study and real processes.

Most of them use a trainer that only pretends to train.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest

from fer_tune.errors import PoolError, StudyError, TrainingError
from fer_tune.job import EpochRow, Job, JobEnd, Value
from fer_tune.jobs import Ended
from fer_tune.pool import WorkerInfo
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.study import trials
from fer_tune.sweep.schema import PrunerSpec, SamplerSpec, Start
from fer_tune.sweep.space import Fixed, Parameter, Range
from tests.jobs.helpers import INLINE, LOCAL, Notebook, attempts_of, epochs, number_of, run
from tests.pool.trainers import Obedient, obedient, unwilling
from tests.searches import make_sweep


@pytest.mark.parametrize("options", [replace(INLINE, workers=2), LOCAL], ids=["inline", "local"])
class TestARun:
    def test_ends_with_its_budget_and_everything_recorded(self, options: RunOptions, settings: Settings) -> None:
        outcome, watch = run(make_sweep(), settings, options)
        (study,) = outcome.studies
        assert (study.counts.complete, study.reason, outcome.interrupted) == (4, "budget", False)
        assert outcome.completed == 4
        with Store.of(settings) as store:
            found = trials(store, "s")
            assert [trial.number for trial in found] == [0, 1, 2, 3]
            for trial in found:
                assert epochs(settings, "s", trial.number) == [(0, 1), (0, 2), (0, 3)]
                assert trial.value == pytest.approx(trial.params["value"] + 0.03)
                (attempt,) = attempts_of(store, "s", trial.number)
                assert (attempt.status, attempt.parameters, attempt.device) == ("completed", 7, "cpu")
        best = max(found, key=lambda trial: trial.value or 0)
        assert (study.best, study.value) == (best.number, best.value)
        assert watch.closed == [study]
        assert sorted(watch.rows) == [(n, 0, e) for n in range(4) for e in (1, 2, 3)]

    def test_goes_on_where_it_left_off(self, options: RunOptions, settings: Settings) -> None:
        run(make_sweep(budget=2), settings, options)
        outcome, watch = run(make_sweep(budget=5), settings, options)
        assert watch.opened[0][:2] == ("s", 2)
        assert sorted(number for _, number, _ in watch.started) == [2, 3, 4]
        assert outcome.studies[0].counts.complete == 5
        _, watch = run(make_sweep(budget=5), settings, options)
        assert watch.started == []

    def test_prunes_a_running_trial(self, options: RunOptions, settings: Settings) -> None:
        pruner = PrunerSpec("median", {"n_startup_trials": 2, "n_warmup_steps": 2, "interval_steps": 1})
        start: list[dict[str, Value]] = [{"value": value} for value in (0.8, 0.81, 0.82, 0.1, 0.85)]
        sweep = make_sweep(start=start, pruner=pruner, epochs=12, budget=5)
        outcome, watch = run(sweep, settings, options)
        assert watch.states() == ["complete", "complete", "complete", "pruned", "complete"]
        pruned = next(ended for ended in watch.ended if ended.number == 3)
        assert pruned.epochs < 10
        assert "pruned in epoch" in pruned.reason
        assert outcome.studies[0].counts.pruned == 1
        assert len(epochs(settings, "s", 3)) == pruned.epochs  # epochs after the decision were ignored
        with Store.of(settings) as store:
            (trial,) = [trial for trial in trials(store, "s") if trial.number == 3]
            assert trial.value == pytest.approx(0.1 + pruned.epochs / 100)

    def test_several_sweeps_share_the_workers(self, options: RunOptions, settings: Settings) -> None:
        watch = Notebook()
        outcome = run_sweeps([make_sweep("a"), make_sweep("b", budget=3)], settings, options, watch, obedient)
        assert [study.study for study in outcome.studies] == ["a", "b"]
        assert [study.counts.complete for study in outcome.studies] == [4, 3]
        (_, _, before), (_, _, after) = watch.opened
        assert before == after

    def test_a_sweep_with_one_lane_after_one_with_several_has_a_trial_at_a_time(
        self, options: RunOptions, settings: Settings
    ) -> None:
        training: set[str] = set()
        most: Counter[str] = Counter()

        class Counting(Notebook):
            def job_started(self, job: Job, worker: WorkerInfo, lane: int = 0) -> None:
                training.add(job.uid)
                most[job.study] = max(most[job.study], len(training))

            def job_ended(self, job: Job, ended: Ended) -> None:
                training.discard(job.uid)

        sweeps = [replace(make_sweep(name, seconds=0.01), lanes=lanes) for name, lanes in (("a", 4), ("b", 1))]
        run_sweeps(sweeps, settings, replace(options, workers=1), Counting(), obedient)
        assert most == {"a": 4, "b": 1}

    def test_stops_when_the_hours_are_over(self, options: RunOptions, settings: Settings) -> None:
        sweep = make_sweep(epochs=10_000, hours=2 / 3600, seconds=0.02, budget=100)
        began = time.monotonic()
        outcome, watch = run(sweep, settings, options)
        assert time.monotonic() - began < 20
        assert outcome.studies[0].reason == "hours"
        assert set(watch.states()) == {"pruned"}
        assert {ended.reason for ended in watch.ended} == {"time"}
        assert outcome.studies[0].counts.running == 0


@pytest.mark.parametrize(("rule", "value"), [("max", 0.53), ("last", 0.53), ("mean_last", 0.52)])
def test_the_objective_is_of_the_epochs_that_the_sweep_names(settings: Settings, rule: Any, value: float) -> None:
    """The trainer's objective rises by 0.01 in each of three epochs."""
    sweep = make_sweep(start=[{"value": 0.5}], budget=1)
    outcome, _ = run(replace(sweep, objective_of=rule), settings)
    assert outcome.studies[0].value == pytest.approx(value)


def test_what_had_no_epoch_at_the_deadline_is_queued_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_tune.jobs.supervisor.STOP_GRACE", 0.1)
    outcome, watch = run(make_sweep(seconds=30.0, hours=2 / 3600, budget=1), settings, LOCAL)
    assert watch.states() == ["requeued"]
    assert outcome.studies[0].counts.finished == 0
    assert outcome.studies[0].counts.waiting == 1


def test_a_study_is_run_once_at_a_time(settings: Settings) -> None:
    refusals: list[StudyError] = []

    def again(spec: Job, row: EpochRow) -> None:
        with pytest.raises(StudyError, match=str(os.getpid())) as caught:
            run_sweeps([make_sweep()], settings, INLINE, None, obedient)
        refusals.append(caught.value)

    run_sweeps([make_sweep(budget=1, epochs=1)], settings, INLINE, Notebook(on_epoch=again), obedient)
    assert len(refusals) == 1


def test_two_studies_run_side_by_side_in_one_file(settings: Settings) -> None:
    def other(spec: Job, row: EpochRow) -> None:
        run_sweeps([make_sweep(f"other{row.epoch}", budget=2)], settings, INLINE, None, obedient)

    run_sweeps([make_sweep("one", budget=1)], settings, INLINE, Notebook(on_epoch=other), obedient)
    with Store.of(settings) as store:
        assert {record.name: len(store.epochs.all(record.name)) for record in store.studies.all()} == {
            "one": 3,
            "other1": 6,
            "other2": 6,
            "other3": 6,
        }


def test_two_sweeps_of_one_study_are_refused(settings: Settings) -> None:
    with pytest.raises(StudyError, match=r"s\.yaml and s\.yaml both describe"):
        run_sweeps([make_sweep(), make_sweep()], settings, INLINE, None, obedient)


def test_a_bad_last_sweep_is_refused_before_the_first_trial(settings: Settings) -> None:
    run(make_sweep("b", budget=1), settings)
    watch = Notebook()
    with pytest.raises(StudyError, match="b"):
        run_sweeps([make_sweep("a"), make_sweep("b", epochs=9)], settings, INLINE, watch, obedient)
    assert watch.started == []


def test_a_killed_worker_costs_an_attempt(settings: Settings) -> None:
    start: list[dict[str, Value]] = [{"value": 0.5, "die": 3}, {"value": 0.6, "die": 0}, {"value": 0.7, "die": 0}]
    outcome, watch = run(make_sweep(start=start, budget=3, epochs=3, deaths=2), settings, LOCAL)
    assert outcome.studies[0].counts.complete == 3
    assert [started for started in watch.started if started[1] == 0] == [("s", 0, 0), ("s", 0, 1), ("s", 0, 2)]
    assert len(watch.lost) == 2
    assert epochs(settings, "s", 0) == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]
    with Store.of(settings) as store:
        attempts = attempts_of(store, "s", 0)
        assert [attempt.status for attempt in attempts] == ["failed", "failed", "completed"]
        assert "SIGKILL" in attempts[0].reason
        assert "trial 0, attempt 0" in attempts[0].detail


def test_a_trial_that_keeps_killing_its_worker_fails(settings: Settings) -> None:
    sweep = make_sweep(start=[{"value": 0.5, "die": 2}, {"value": 0.5, "die": 0}], budget=2, retries=2)
    outcome, watch = run(sweep, settings, LOCAL)
    assert watch.states() == ["failed", "complete"]
    assert len(watch.lost) == 3
    assert outcome.studies[0].counts.failed == 1
    with Store.of(settings) as store:
        failed = next(trial for trial in trials(store, "s") if trial.number == 0)
        assert "SIGKILL" in failed.attrs["reason"]


def test_observers_hear_of_an_end_when_it_is_recorded_and_the_slot_has_its_next_job(settings: Settings) -> None:
    seen: list[list[str]] = []

    class Looking(Notebook):
        def job_ended(self, job: Job, ended: Ended) -> None:
            with Store.of(settings) as store:
                seen.append([record.state for record in store.jobs.of("s")])
                assert trials(store, "s")[number_of(job)].state == "complete"

    run_sweeps([make_sweep(budget=3)], settings, INLINE, Looking(), obedient)
    assert seen == [["complete", "running"], ["complete", "complete", "running"], ["complete"] * 3]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_seed_repeats_a_run_with_trials_that_were_asked_for_ahead_of_time(settings: Settings, workers: int) -> None:
    drawn = []
    for name in ("a", "b"):
        sweep = replace(make_sweep(name, budget=9), sampler=SamplerSpec("tpe", options={"n_startup_trials": 3}))
        of = replace(settings, root=settings.root / name, url=f"sqlite:///{settings.root}/{name}/fer_tune.db")
        run(sweep, of, replace(INLINE, workers=workers))
        with Store.of(of) as store:
            found = trials(store, name)
        assert [trial.number for trial in found] == list(range(9)), "the budget is met exactly"
        drawn.append([trial.params for trial in found])
    assert drawn[0] == drawn[1]
    assert len({str(params) for params in drawn[0]}) == 9


class TooLarge(Obedient):
    """A trainer for which the first trials do not fit into memory."""

    many = 1

    def train(self, spec: Job, stop_requested: Callable[[], bool]) -> Iterator[EpochRow | JobEnd]:
        if (spec.number or 0) < self.many:
            yield JobEnd(spec.uid, spec.attempt, "failed", "needs more than 9.0 GiB", infeasible=0.25)
        else:
            yield from super().train(spec, stop_requested)


def test_a_trial_that_does_not_fit_fails_once_and_the_sampler_is_told(settings: Settings) -> None:
    watch = Notebook()
    outcome = run_sweeps([make_sweep(budget=2)], settings, INLINE, watch, TooLarge)
    assert watch.states() == ["failed", "complete"]
    assert watch.started == [("s", 0, 0), ("s", 1, 0)], "it was tried again"
    assert outcome.studies[0].counts.failed == 1
    with Store.of(settings) as store:
        failed = next(trial for trial in trials(store, "s") if trial.number == 0)
        assert failed.attrs["reason"] == "needs more than 9.0 GiB"
        assert failed.attrs["memory"] == 0.25
        assert [attempt.status for attempt in attempts_of(store, "s", 0)] == ["failed"]


class OftenTooLarge(TooLarge):
    many = 8


class AlwaysTooLarge(TooLarge):
    many = 1000


def test_more_trials_that_do_not_fit_than_may_fail_end_no_run(settings: Settings) -> None:
    watch = Notebook()
    run_sweeps([make_sweep(budget=9)], settings, INLINE, watch, OftenTooLarge)
    assert watch.states() == ["failed"] * 8 + ["complete"]


def test_a_run_in_which_nothing_fits_stops(settings: Settings) -> None:
    watch = Notebook()
    with pytest.raises(TrainingError, match=r"20 trials in a row did not fit into memory\. The last .* with: needs"):
        run_sweeps([make_sweep(budget=100)], settings, INLINE, watch, AlwaysTooLarge)
    assert watch.states().count("failed") == 20


def test_workers_that_cannot_start_end_the_run(settings: Settings) -> None:
    with pytest.raises(PoolError, match="the cpu is on fire"):
        run_sweeps([make_sweep()], settings, LOCAL, None, unwilling)


def test_a_queued_trial_does_not_start_if_the_budget_has_no_room_for_it_any_more(settings: Settings) -> None:
    def interrupt(job: Job, row: EpochRow) -> None:
        if (job.number, row.epoch) == (2, 2):
            signal.raise_signal(signal.SIGINT)

    run_sweeps([make_sweep()], settings, INLINE, Notebook(on_epoch=interrupt), obedient)
    watch = Notebook()
    outcome = run_sweeps([make_sweep(budget=2)], settings, INLINE, watch, obedient)
    assert watch.started == []
    assert (outcome.studies[0].reason, outcome.studies[0].counts.finished) == ("budget", 2)


def test_an_interrupted_run_requeues_what_ran(settings: Settings) -> None:
    def interrupt(spec: Job, row: EpochRow) -> None:
        if (spec.number, row.epoch) == (2, 2):
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    watch = Notebook(on_epoch=interrupt)
    outcome = run_sweeps([make_sweep(), make_sweep("later")], settings, INLINE, watch, obedient)
    assert signal.getsignal(signal.SIGINT) is before
    assert outcome.interrupted
    assert [(study.study, study.reason) for study in outcome.studies] == [("s", "interrupted")]
    assert watch.states() == ["complete", "complete", "requeued"]
    outcome, watch = run(make_sweep(), settings)
    assert outcome.studies[0].counts.complete == 4
    with Store.of(settings) as store:
        interrupted, again = (next(t for t in trials(store, "s") if t.number == number) for number in (2, 3))
        assert interrupted.params.items() <= again.params.items(), "what was searched"
        assert (interrupted.job, [one.attempt for one in attempts_of(store, "s", 3)]) == (None, [0, 1]), (
            "two trials, one job"
        )


SCRIPT = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from fer_tune.sources.run import run_sweeps
    from fer_tune.settings import Settings
    from tests.jobs.helpers import LOCAL, Notebook
    from tests.pool.trainers import obedient
    from tests.searches import make_sweep

    def tell(spec, row):
        if spec.number >= 1 and row.epoch == 2:
            print(*[worker.pid for worker in watch.workers], flush=True)

    settings = Settings(Path(sys.argv[1]), *sys.argv[2:])
    watch = Notebook(on_epoch=tell)
    outcome = run_sweeps([make_sweep(budget=50, epochs=1000, seconds=0.02)], settings, LOCAL, watch, obedient)
    print("interrupted" if outcome.interrupted else "done", outcome.studies[0].counts.finished, flush=True)
    """
)


@pytest.fixture
def orchestrator(settings: Settings) -> Any:
    """Yields an orchestrator process that trains two trials, and its two workers."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(settings.root), settings.url, str(settings.data_source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path)),
        start_new_session=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    yield process, [psutil.Process(int(word)) for word in line.split()]
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_cleanly(orchestrator: Any, settings: Settings, number: signal.Signals) -> None:
    process, workers = orchestrator
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")
    assert "interrupted 0" in out
    assert not psutil.wait_procs(workers, timeout=1)[1]
    with Store.of(settings) as store:
        assert [trial.state for trial in trials(store, "s")] == ["requeued", "requeued", "waiting", "waiting"]
        assert {attempt.status for attempt in store.jobs.attempts("s")} == {"stopped"}


def test_a_killed_orchestrator_takes_its_workers_along_and_is_replaced(orchestrator: Any, settings: Settings) -> None:
    process, workers = orchestrator
    process.kill()
    assert not psutil.wait_procs(workers, timeout=5)[1]
    sweep = make_sweep(budget=2, epochs=1000, seconds=0.02)
    watch = Notebook(on_epoch=lambda spec, row: signal.raise_signal(signal.SIGINT) if row.epoch == 3 else None)
    outcome = run_sweeps([sweep], settings, INLINE, watch, obedient)
    assert any("2 trials" in note for note in watch.notes)
    assert outcome.studies[0].counts.running == 0
    with Store.of(settings) as store:
        assert {attempt.status for attempt in store.jobs.attempts("s") if attempt.attempt == 0} == {"lost"}


def test_the_wiring_trains_real_faces(settings: Settings) -> None:
    space = {
        "lr": Range(1e-3, 1e-2, log=True),
        "width": Fixed(8),
        "batch_size": Fixed(32),
    }
    sweep = replace(
        make_sweep(epochs=2, budget=3),
        space={name: Parameter(name, name, domain) for name, domain in space.items()},
        start=(Start("hopeless", {"lr": 0.01}),),
    )
    outcome = run_sweeps([sweep], settings, replace(LOCAL, workers=1), Notebook())
    assert outcome.studies[0].counts.complete == 3
    assert outcome.studies[0].value is not None
    with Store.of(settings) as store:
        assert len(store.epochs.all("s")) == 6
        assert {artifact.kind for artifact in store.artifacts.of("s")} == {"val_logits"}
        assert all(trial.attrs["images_per_second"] > 0 for trial in trials(store, "s"))


def test_the_orchestrator_needs_no_torch() -> None:
    code = "import sys, fer_tune.jobs; print({'torch', 'optuna', 'wandb', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
