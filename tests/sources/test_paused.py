"""Tests of a search that pauses its trials at rungs, with trainers that take no time."""

from __future__ import annotations

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fer_tune.job import EpochRow, Job, JobEnd, Wish
from fer_tune.jobs import RunOutcome
from fer_tune.jobs.checkpoints import checkpoint_path
from fer_tune.jobs.time_left import TimeLeft
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.study import TrialSummary, trials
from fer_tune.study.cut_off import cut_off
from fer_tune.sweep.schema import SamplerSpec, SearchSpec, Sweep
from tests.jobs.helpers import INLINE, Notebook, run
from tests.pool.trainers import Obedient, obedient
from tests.searches import make_sweep

PROMOTE = SearchSpec(strategy="promote", factor=3, rungs=[1, 3])


class Killed(BaseException):
    """Ends a run at once, as SIGKILL does: nothing catches it."""


@pytest.fixture
def sweep() -> Sweep:
    return make_sweep(epochs=9, budget=12, search=PROMOTE, seconds=0.0)


@pytest.fixture
def settings(searching: Settings) -> Settings:
    return searching


def found(settings: Settings) -> list[TrialSummary]:
    with Store.of(settings) as store:
        return [one for one in trials(store, "s") if one.state != "requeued"]


def result(settings: Settings) -> list[tuple[object, ...]]:
    """Returns what a study came to, whatever interrupted it, in the order of the draws."""
    with Store.of(settings) as store:
        jobs = store.jobs.of("s", "search")
        curves = store.epochs.curves("s")
        assert not [attempt for attempt in store.jobs.attempts("s") if attempt.ended is None]
        return sorted(
            (job.seed, job.state, job.value, [(row.epoch, row.val_accuracy) for row in curves[job.uid]]) for job in jobs
        )


def test_the_best_of_each_rung_continue_and_the_others_are_pruned_when_the_study_ends(
    sweep: Sweep, settings: Settings
) -> None:
    outcome, watch = run(sweep, settings)
    counts = outcome.studies[0].counts
    assert (counts.complete, counts.pruned, counts.paused, counts.running) == (1, 11, 0, 0)
    assert len([ended for ended in watch.ended if ended.epochs == 1]) == 12
    assert len([ended for ended in watch.ended if ended.epochs == 3]) >= 4
    ended = found(settings)
    assert {one.epochs for one in ended} == {1, 3, 9}
    (complete,) = [one for one in ended if one.state == "complete"]
    assert complete.params["value"] == max(one.params["value"] for one in ended)
    poor = next(one for one in ended if one.epochs == 1)
    assert (poor.attrs["paused"], poor.attrs["rung"]) == (False, 1)
    assert poor.attrs["reason"].startswith("pruned in epoch 1")
    with Store.of(settings) as store:
        assert {job.state for job in store.jobs.of("s")} == {"complete", "pruned"}


class Unsure(Obedient):
    """A trainer whose loss is the lower, the worse its trial is. That of trial 0 is infinite."""

    def train(self, spec: Job, stop_requested):  # type: ignore[no-untyped-def]
        for message in super().train(spec, stop_requested):
            loss = float("inf") if spec.number == 0 else float(spec.params["value"])
            yield replace(message, val_loss=loss) if isinstance(message, EpochRow) else message


@pytest.mark.parametrize("pauses", [None, 1, 5])
def test_rungs_may_compare_losses_also_after_an_interruption(
    sweep: Sweep, settings: Settings, pauses: int | None
) -> None:
    by_loss = replace(sweep, search=PROMOTE.model_copy(update={"compare": "val_loss"}))
    if pauses is not None:
        interrupt_after(by_loss, settings, pauses, Unsure)
    run_sweeps([by_loss], settings, INLINE, Notebook(), Unsure)
    ended = found(settings)
    (complete,) = [one for one in ended if one.state == "complete"]
    assert complete.params["value"] == min(one.params["value"] for one in ended if one.number != 0)
    assert complete.value == pytest.approx(complete.params["value"] + 0.09)  # the objective is still the accuracy


def test_a_study_of_few_trials_still_completes_one(settings: Settings) -> None:
    outcome, _ = run(make_sweep(epochs=9, budget=2, search=PROMOTE, seconds=0.0), settings)
    assert outcome.studies[0].counts.complete == 1


ONE_RUNG = SearchSpec(strategy="promote", factor=3, rungs=[1])


def test_the_best_trial_of_a_rung_is_never_pruned(settings: Settings) -> None:
    """After three trials the third continues. No more may, until there are six."""
    values = (0.1, 0.2, 0.3, 0.4, 0.5)
    run(make_sweep(epochs=3, start=[{"value": value} for value in values], budget=5, search=ONE_RUNG), settings)
    assert {one.params["value"]: one.state for one in found(settings)} == {
        0.1: "pruned", 0.2: "pruned", 0.3: "complete", 0.4: "pruned", 0.5: "complete",
    }  # fmt: skip


def test_a_trial_is_told_why_it_did_not_continue(settings: Settings) -> None:
    values = (0.1, 0.2, 0.3, 0.5, 0.25, 0.4)
    run(make_sweep(epochs=3, start=[{"value": value} for value in values], budget=6, search=ONE_RUNG), settings)
    reasons = {one.params["value"]: one.attrs["reason"] for one in found(settings) if one.state == "pruned"}
    assert reasons == {
        0.1: "pruned in epoch 1, where it was not among the best",
        0.2: "pruned in epoch 1, where it was not among the best",
        0.25: "pruned in epoch 1, where it was not among the best",
        0.4: "pruned in epoch 1, because enough others had continued from there",
    }


def test_a_trial_timeout_counts_the_time_before_each_pause(settings: Settings) -> None:
    """The trial takes 0.05, 0.15 and 0.45 seconds from its start, and from its two rungs."""
    sweep = make_sweep(epochs=9, budget=1, search=PROMOTE, seconds=0.05)
    limited = replace(sweep, limits=sweep.limits.model_copy(update={"trial_timeout": 0.55}))
    _, watch = run(limited, settings)
    (last,) = (ended for ended in watch.ended if ended.state != "paused")
    assert (last.state, last.reason) == ("pruned", "the job took longer than its trial_timeout of 0.55 s")
    assert len(watch.started) == 3


def test_without_rungs_below_the_schedule_no_trial_pauses(settings: Settings) -> None:
    outcome, _ = run(make_sweep(epochs=1, budget=3, search=PROMOTE, seconds=0.0), settings)
    assert outcome.studies[0].counts.complete == 3


def test_paused_trials_are_shown_as_paused_between_two_runs(sweep: Sweep, settings: Settings) -> None:
    interrupt_after(sweep, settings, pauses=5)
    between = found(settings)
    states = [one.state for one in between]
    assert states.count("paused") >= 3
    assert all(one.value is not None for one in between if one.state == "paused")
    assert "running" not in states
    outcome, _ = run(sweep, settings)
    assert (outcome.studies[0].counts.complete, outcome.studies[0].counts.pruned) == (1, 11)


def interrupt_after(
    sweep: Sweep, settings: Settings, pauses: int, trainer: Callable[[str, int | None], Obedient] = obedient
) -> RunOutcome:
    class Interrupting(Notebook):
        def job_ended(self, job: Job, ended: object) -> None:
            super().job_ended(job, ended)  # type: ignore[arg-type]
            if len(self.ended) == pauses:
                signal.raise_signal(signal.SIGINT)

    return run_sweeps([sweep], settings, INLINE, Interrupting(), trainer)


def test_a_larger_budget_continues_a_study_whose_paused_trials_were_pruned(sweep: Sweep, settings: Settings) -> None:
    run(sweep, settings)
    outcome, watch = run(replace(sweep, budget=sweep.budget.model_copy(update={"trials": 21})), settings)
    assert outcome.studies[0].counts.finished == 21
    assert min(ended.number or 0 for ended in watch.ended) == 12


def test_a_queued_trial_without_room_in_the_budget_does_not_start_when_a_paused_one_continues(
    sweep: Sweep, settings: Settings
) -> None:
    promoted: set[int | None] = set()

    def interrupt(job: Job, row: EpochRow) -> None:
        if row.epoch == 2 and job.number not in promoted:
            promoted.add(job.number)
            if len(promoted) == 2:
                signal.raise_signal(signal.SIGINT)

    first = run_sweeps([sweep], settings, INLINE, Notebook(on_epoch=interrupt), obedient).studies[0].counts
    assert (first.complete, first.waiting) == (0, 1)
    smaller = sweep.budget.model_copy(update={"trials": first.paused})
    outcome, watch = run(replace(sweep, budget=smaller), settings)
    assert watch.started, "paused trials continue"
    assert outcome.studies[0].counts.finished == first.paused
    assert outcome.studies[0].counts.waiting == 1


def test_a_sweep_that_prunes_again_trains_its_paused_trials_to_the_end(sweep: Sweep, settings: Settings) -> None:
    interrupt_after(sweep, settings, pauses=4)
    run(replace(sweep, search=SearchSpec()), settings)
    assert {one.state for one in found(settings)} == {"complete"}


@dataclass
class Leaving(Obedient):
    """Leaves a checkpoint of 1 kB where it pauses."""

    device: str
    threads: int | None

    def train(self, spec: Job, stop_requested):  # type: ignore[no-untyped-def]
        for message in super().train(spec, stop_requested):
            if not isinstance(message, EpochRow) and spec.pauses and spec.checkpoint is not None:
                spec.checkpoint.parent.mkdir(parents=True, exist_ok=True)
                spec.checkpoint.write_bytes(b"0" * 1000)
            yield message


def leaving(device: str, threads: int | None) -> Leaving:
    return Leaving(device, threads)


def test_checkpoints_of_the_worst_paused_trials_make_room(sweep: Sweep, settings: Settings) -> None:
    most: list[int] = []
    uids: list[set[str]] = []

    class Counting(Notebook):
        def job_ended(self, job: Job, ended: object) -> None:
            assert job.checkpoint is not None
            left = list(job.checkpoint.parent.glob("*.safetensors"))
            most.append(len(left))
            uids.append({path.stem for path in left})

    small = replace(sweep, search=PROMOTE.model_copy(update={"keep_gb": 3.5e-6}))
    watch = Counting()
    outcome = run_sweeps([small], settings, INLINE, watch, leaving)
    assert max(most) == 3
    assert (outcome.studies[0].counts.complete, outcome.studies[0].counts.pruned) == (1, 11)
    assert len([note for note in watch.notes if "search.keep_gb" in note]) == 1
    with Store.of(settings) as store:
        folder = settings.checkpoint_folder("s", store.studies.get("s").uid)
        assert list(folder.glob("*")) == []
        worst = min(store.jobs.of("s"), key=lambda job: job.value or 0)
    assert worst.uid not in uids[-1]


class Drifting(Obedient):
    """A trainer that takes longer in each attempt, and has no checkpoints."""

    def train(self, spec: Job, stop_requested: Callable[[], int]) -> Iterator[EpochRow | JobEnd]:
        seconds = 0.1 * (spec.attempt + 1)
        for message in super().train(spec, stop_requested):
            drifts = isinstance(message, EpochRow)
            yield replace(message, seconds=seconds, device_seconds=seconds) if drifts else message


def test_what_was_trained_a_second_time_is_said(settings: Settings) -> None:
    """Two of six trials continue at epoch 1, and train it again."""
    sweep = make_sweep(epochs=3, start=[{"value": 0.1 * place} for place in range(6)], budget=6, search=ONE_RUNG)
    (once,) = run(sweep, settings)[0].studies
    assert "trained again" not in once.spent, "each row was copied from a checkpoint"
    (twice,) = run_sweeps([replace(sweep, study="again")], settings, INLINE, Notebook(), Drifting).studies
    continued = twice.counts.complete
    assert twice.spent["trained again"] == pytest.approx(0.1 * continued)
    assert twice.spent["reached the top"] == pytest.approx(0.2 * 3 * continued)


def test_the_checkpoints_of_paused_trials_outlive_the_run(sweep: Sweep, settings: Settings) -> None:
    class Dying(Notebook):
        def job_started(self, job: Job, worker: object, lane: int = 0) -> None:
            if len({*self.started}) == 3:
                raise Killed
            super().job_started(job, worker)  # type: ignore[arg-type]

    with pytest.raises(Killed):
        run_sweeps([sweep], settings, INLINE, Dying(), leaving)
    with Store.of(settings) as store:
        paused = [job.uid for job in store.jobs.of("s") if job.state == "paused"]
        folder = settings.checkpoint_folder("s", store.studies.get("s").uid)
    assert len(paused) == 2
    seen: list[bool] = []

    class Looking(Notebook):
        def study_opened(self, *args: object) -> None:
            seen.extend(checkpoint_path(folder, uid).exists() for uid in paused)

    run_sweeps([sweep], settings, INLINE, Looking(), leaving)
    assert seen == [True] * 2


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, csv: Path) -> list[tuple[object, ...]]:
    settings = of_folder(tmp_path_factory.mktemp("undisturbed"), csv)
    run(guided(), settings)
    return result(settings)


def guided() -> Sweep:
    """Returns a sweep whose draws depend on all earlier results."""
    sampler = SamplerSpec("effects", None, {"n_startup_trials": 3})
    rungs = PROMOTE.model_copy(update={"rungs": [2, 5]})
    return replace(make_sweep(epochs=7, budget=7, search=rungs, seconds=0.0), sampler=sampler)


def of_folder(folder: Path, csv: Path) -> Settings:
    return Settings(folder, f"sqlite:///{folder.as_posix()}/fer_tune.db", data_source=str(csv))


@hypothesis_settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kills=st.lists(st.integers(1, 30), min_size=1, max_size=3))
def test_a_run_that_is_killed_at_any_event_comes_to_the_same(
    kills: list[int], undisturbed: list[tuple[object, ...]], tmp_path_factory: pytest.TempPathFactory, csv: Path
) -> None:
    settings = of_folder(tmp_path_factory.mktemp("killed"), csv)
    sweep = guided()
    for after in kills:
        countdown = [after]

        class Dying(Notebook):
            def job_started(self, job: Job, worker: object, lane: int = 0, left: list[int] = countdown) -> None:
                count_down(left)

            def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool, left: list[int] = countdown) -> None:
                count_down(left)

            def job_ended(self, job: Job, ended: object, left: list[int] = countdown) -> None:
                count_down(left)

        try:
            run_sweeps(
                [sweep], settings, RunOptions(engine="inline", devices="cpu", wandb="disabled"), Dying(), obedient
            )
        except Killed:
            continue
    run(sweep, settings)
    assert result(settings) == undisturbed


@hypothesis_settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ends=st.lists(st.tuples(st.booleans(), st.integers(1, 25)), min_size=2, max_size=5))
def test_a_run_whose_hours_end_at_any_event_comes_to_the_same(
    ends: list[tuple[bool, int]],
    undisturbed: list[tuple[object, ...]],
    tmp_path_factory: pytest.TempPathFactory,
    csv: Path,
) -> None:
    """Some of the runs are killed a moment after their hours were over."""
    settings, sweep = of_folder(tmp_path_factory.mktemp("hours"), csv), guided()
    for killed, after in ends:
        countdown = [after]

        class Watching(Notebook):
            def epoch(self, *args: object, left: list[int] = countdown) -> None:
                left[0] -= 1

            def job_ended(self, *args: object, left: list[int] = countdown, dies: bool = killed) -> None:
                left[0] -= 1
                if dies and left[0] < -1:
                    raise Killed

        with pytest.MonkeyPatch.context() as patch, suppress(Killed):
            patch.setattr(TimeLeft, "seconds", lambda self, left=countdown: math.inf if left[0] > 0 else 0.0)
            run_sweeps([sweep], settings, INLINE, Watching(), obedient)
    run(sweep, settings)
    assert result(settings) == undisturbed


def count_down(left: list[int]) -> None:
    left[0] -= 1
    if left[0] == 0:
        raise Killed


def test_the_gpu_hours_of_a_study_end_it(sweep: Sweep, settings: Settings) -> None:
    slow = make_sweep(epochs=9, budget=1000, search=PROMOTE, seconds=0.02)
    slow = replace(slow, budget=slow.budget.model_copy(update={"gpu_hours": 2.0 / 3600}))
    outcome, watch = run(slow, settings)
    counts = outcome.studies[0].counts
    assert outcome.studies[0].reason == "gpu_hours"
    assert (counts.running, counts.paused) == (0, 0)
    assert 0 < counts.finished < 1000
    assert sum(outcome.studies[0].spent.values()) > 0
    again, later = run(slow, settings)
    assert len(later.started) <= len(watch.started)
    assert again.studies[0].reason == "gpu_hours"


@contextmanager
def hours_end_after(epochs: int) -> Iterator[Notebook]:
    """Gives an observer that ends the hours of a run when a trial has trained so many epochs."""
    over = list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TimeLeft, "seconds", lambda self: 0.0 if over else math.inf)
        yield Notebook(lambda job, row: over.append(1) if row.epoch == epochs else None)


def cut_off_in_its_second_epoch(settings: Settings) -> tuple[Sweep, Notebook]:
    """Runs a sweep until its first trial is cut off, two epochs before its rung."""
    sweep = make_sweep(epochs=9, budget=6, search=PROMOTE.model_copy(update={"rungs": [4]}))
    with hours_end_after(2) as watch:
        outcome = run_sweeps([sweep], settings, INLINE, watch, obedient)
    assert outcome.studies[0].reason == "hours"
    return sweep, watch


def test_a_trial_that_the_end_of_the_hours_cuts_off_is_paused_and_continues_first(settings: Settings) -> None:
    sweep, watch = cut_off_in_its_second_epoch(settings)
    (ended,) = watch.ended
    assert (ended.state, ended.reason, ended.epochs) == ("paused", "time", 2)
    (paused,) = found(settings)
    assert (paused.state, paused.number, paused.attrs["paused"]) == ("paused", 0, True)
    assert "rung" not in paused.attrs
    assert paused.value == pytest.approx(paused.params["value"] + 0.02)
    with Store.of(settings) as store:
        named = cut_off(store, "s", 0.0)
    assert named is not None
    assert named.continues
    assert "The next run continues it. fer-tune retrain s --trial 0" in named.sentence()
    outcome, later = run(sweep, settings)
    assert later.started[0] == ("s", 0, 1)
    assert [epoch for number, _, epoch in later.rows if number == 0][:4] == [1, 2, 3, 4]
    counts = outcome.studies[0].counts
    assert (counts.complete, counts.pruned, counts.paused, counts.failed) == (2, 4, 0, 0)
    assert {one.epochs for one in found(settings)} == {4, 9}
    with Store.of(settings) as store:
        assert len(store.jobs.of("s")) == 6


def test_a_trial_that_was_cut_off_continues_after_a_kill(settings: Settings) -> None:
    sweep, _ = cut_off_in_its_second_epoch(settings)

    class Dying(Notebook):
        def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
            raise Killed

    with pytest.raises(Killed):
        run_sweeps([sweep], settings, INLINE, Dying(), obedient)
    outcome, later = run(sweep, settings)
    assert later.started[0] == ("s", number_after_a_kill(settings), 2)
    assert outcome.studies[0].counts.complete == 2


def number_after_a_kill(settings: Settings) -> int:
    """Returns the number under which the first drawn trial continued."""
    with Store.of(settings) as store:
        first = min(store.jobs.of("s"), key=lambda job: job.seed)
    assert first.number is not None
    return first.number


@pytest.mark.parametrize("rungs", [[1, 3], [2, 8], [4]])
def test_a_trial_that_was_cut_off_continues_when_the_rungs_have_changed(settings: Settings, rungs: list[int]) -> None:
    sweep, _ = cut_off_in_its_second_epoch(settings)
    outcome, later = run(replace(sweep, search=PROMOTE.model_copy(update={"rungs": rungs})), settings)
    assert later.started[0] == ("s", 0, 1)
    assert outcome.studies[0].counts.complete >= 1
    assert outcome.studies[0].counts.paused == 0


class Dying(Obedient):
    """A trainer whose process dies when the first trial is asked to stop after its last epoch."""

    def train(self, spec: Job, stop_requested):  # type: ignore[no-untyped-def]
        for message in super().train(spec, lambda: Wish.CONTINUE):
            if isinstance(message, JobEnd) and not spec.pauses and spec.attempt == 2:
                while not stop_requested():
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGKILL)
            yield message


def test_a_trial_whose_worker_dies_after_its_last_epoch_at_the_end_of_the_hours_is_completed(
    settings: Settings,
) -> None:
    one = RunOptions(engine="local", devices="cpu", workers=1, wandb="disabled")
    with hours_end_after(9) as watch:
        run_sweeps([make_sweep(epochs=9, budget=1, search=PROMOTE)], settings, one, watch, Dying)
    assert watch.lost
    (paused,) = found(settings)
    assert (paused.state, paused.epochs) == ("paused", 9)
    outcome, _ = run(make_sweep(epochs=9, budget=1, search=PROMOTE), settings)
    assert outcome.studies[0].counts.complete == 1


def test_another_program_may_end_a_trial_that_was_cut_off(settings: Settings) -> None:
    sweep, _ = cut_off_in_its_second_epoch(settings)
    study = optuna.load_study(study_name="s", storage=settings.url)
    study.tell(0, state=optuna.trial.TrialState.FAIL)
    outcome, later = run(sweep, settings)
    assert ("s", 0, 1) not in later.started
    assert outcome.studies[0].counts.failed == 1
    assert outcome.studies[0].counts.complete >= 1


def test_the_end_of_the_budget_prunes_a_trial_that_was_cut_off(settings: Settings) -> None:
    sweep, _ = cut_off_in_its_second_epoch(settings)
    spent = sweep.budget.model_copy(update={"gpu_hours": 1e-6})
    outcome, later = run(replace(sweep, budget=spent), settings)
    assert outcome.studies[0].reason == "gpu_hours"
    assert not later.started
    (pruned,) = found(settings)
    assert (pruned.state, pruned.attrs["reason"], pruned.attrs["paused"]) == ("pruned", "time", False)


def test_the_checkpoint_of_a_paused_trial_is_measured_once_and_not_at_each_later_pause(
    sweep: Sweep, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: Counter[str] = Counter()

    def counted(folder: Path, uid: str) -> Path:
        looked[uid] += 1
        return checkpoint_path(folder, uid)

    monkeypatch.setattr("fer_tune.sources.paused.checkpoint_path", counted)
    run(replace(sweep, budget=sweep.budget.model_copy(update={"trials": 20})), settings)
    assert len(looked) == 20
    assert max(looked.values()) <= 3  # two rungs at most, and the removal at the end
