"""Tests of the table of states: the runner takes each transition, but one that sources take."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import pytest

from fer_tune.data.spec import DataRef
from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.jobs import Ended, Observer, Plan, StudyOutcome
from fer_tune.jobs.checkpoints import checkpoint_path
from fer_tune.jobs.limits import Limits
from fer_tune.jobs.outcome import Reason
from fer_tune.jobs.runner import Runner
from fer_tune.jobs.running import Running, blame
from fer_tune.jobs.signals import Signals
from fer_tune.jobs.source import CONTINUE, Verdict
from fer_tune.jobs.states import TABLE, Event, State, Transition, transition
from fer_tune.pool import EndEvent, Lanes, LostEvent, ReadyEvent, RowEvent, Slot, WorkerInfo
from fer_tune.pool import Event as PoolEvent
from fer_tune.store import Store
from fer_tune.study import Counts
from tests.store.conftest import record

UID = "0" * 12
Step = Callable[["ScriptedPool"], list[PoolEvent]]
"""Returns what happens the next time that the runner asks for events."""


@dataclass
class OneJob:
    """A source with one job, which it stops in the epoch `stop_in`."""

    job: Job
    store: Store
    stop_in: int = 0
    pauses: bool = False
    heard: list[Ended] = field(default_factory=list)
    given: bool = False
    plan: Plan = field(default_factory=lambda: Plan("resnet", "search", "resnet", "fer2013", "val_accuracy", 1, 3))

    def begin(self, left: Callable[[], float]) -> Counts:
        return Counts()

    def hold(self) -> None:
        pass

    def taken(self) -> dict[str, str]:
        return {}

    def wanted(self) -> bool:
        return not self.given

    def most_at_once(self, workers: int) -> float:
        return math.inf

    def next(self) -> Job:
        self.given = True
        self.store.jobs.put(self.job)
        return self.job

    def prepare(self, slots: int) -> bool:
        return False

    def record_epoch(self, job: Job, row: EpochRow, value: float) -> None:
        pass

    def judge(self, job: Job, row: EpochRow, value: float, replayed: bool) -> Verdict:
        return Verdict("enough") if row.epoch == self.stop_in else CONTINUE

    def ended(self, job: Job, ended: Ended) -> None:
        self.heard.append(ended)

    def completed(self) -> int:
        return 0

    def outcome(self, reason: Reason) -> StudyOutcome:
        return StudyOutcome("resnet", Counts(), None, None, reason)


@dataclass
class ScriptedPool:
    """A pool of one worker. It does one of the steps each time that the runner asks for events."""

    steps: list[Step]
    signals: Signals
    busy: Job | None = None
    ready: bool = False
    ended_because: str = ""
    stops: list[str] = field(default_factory=list)
    workers: list[WorkerInfo] = field(default_factory=lambda: [WorkerInfo(0, "cpu", 1)])

    def use_lanes(self, lanes: Lanes, remembered: Path | None = None) -> None:
        pass

    def idle(self) -> list[Slot]:
        return [Slot(0)] if self.ready and self.busy is None else []

    def submit(self, slot: Slot, job: Job) -> None:
        self.busy = job

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        self.stops.append("keep" if keep else "stop")

    def end_worker(self, worker: int, why: str) -> None:
        self.ended_because = why

    def events(self, timeout: float) -> list[PoolEvent]:
        if not self.ready:
            self.ready = True
            return [ReadyEvent(0)]
        return self.steps.pop(0)(self)

    def close(self, grace: float = 10) -> None:
        pass


def epoch(number: int, value: float = 0.5) -> Step:
    def step(pool: ScriptedPool) -> list[PoolEvent]:
        assert pool.busy is not None
        measured = (1.0, 0.5, 1.0, value, 0.4, 0.4, (0.5, 0.5), 0.1, 1.0, 10.0)
        return [RowEvent(Slot(0), EpochRow(pool.busy.uid, pool.busy.attempt, number, *measured))]

    return step


def ends(status: str, infeasible: float = 0.0) -> Step:
    def step(pool: ScriptedPool) -> list[PoolEvent]:
        job, pool.busy = pool.busy, None
        assert job is not None
        return [EndEvent(Slot(0), JobEnd(job.uid, job.attempt, status, status, infeasible=infeasible))]  # type: ignore[arg-type]

    return step


def lost(pool: ScriptedPool) -> list[PoolEvent]:
    job, pool.busy, pool.ready = pool.busy, None, False
    return [LostEvent(0, () if job is None else (job,), "it was killed", "")]


def lost_for_good(pool: ScriptedPool) -> list[PoolEvent]:
    """Loses the worker, and no other becomes ready."""
    events = lost(pool)
    pool.steps = [nothing] * 200
    pool.ready = True
    pool.busy = Job("other", "resnet", "search", "resnet", {}, 1, 0, record().data_ref(Path()))
    return events


def nothing(pool: ScriptedPool) -> list[PoolEvent]:
    time.sleep(0.005)
    return []


def interrupts(pool: ScriptedPool) -> list[PoolEvent]:
    pool.signals.requested = True
    return []


WAIT = [nothing] * 60
NAN = float("nan")

ROADS: dict[str, tuple[list[Step], Limits, Event, str]] = {
    "complete": ([epoch(1), ends("completed")], Limits(), Event.COMPLETED, "complete"),
    "paused": ([epoch(1), ends("paused")], Limits(), Event.PAUSED, "paused"),
    "never finite": ([epoch(1, NAN), ends("completed")], Limits(), Event.NEVER_FINITE, "failed"),
    "stopped by its source": ([epoch(1), epoch(2), ends("stopped")], Limits(), Event.STOPPED, "pruned"),
    "diverged": ([epoch(1), ends("diverged")], Limits(), Event.DIVERGED, "pruned"),
    "raised": ([ends("failed")], Limits(), Event.RAISED, "failed"),
    "too large": ([ends("failed", 0.5)], Limits(), Event.TOO_LARGE, "failed"),
    "lost, then complete": ([lost, epoch(1), ends("completed")], Limits(), Event.LOST, "complete"),
    "lost too often": ([lost, lost], Limits(retries=1), Event.LOST_TOO_OFTEN, "failed"),
    "overdue": ([epoch(1), *WAIT, ends("stopped")], Limits(job_timeout=0.05), Event.OVERDUE, "pruned"),
    "overdue without a value": ([*WAIT, ends("stopped")], Limits(job_timeout=0.05), Event.OVERDUE_EMPTY, "failed"),
    "out of time": ([epoch(1), *WAIT, ends("stopped")], Limits(hours=0.05 / 3600), Event.OUT_OF_TIME, "pruned"),
    "out of time without a value": (
        [*WAIT, ends("stopped")],
        Limits(hours=0.05 / 3600),
        Event.OUT_OF_TIME_EMPTY,
        "requeued",
    ),
    "cut off": ([epoch(1), *WAIT, ends("stopped")], Limits(hours=0.05 / 3600), Event.CUT_OFF, "paused"),
    "cut off while it waits": ([epoch(1), lost_for_good], Limits(hours=0.8 / 3600), Event.CUT_OFF, "paused"),
    "interrupted": ([epoch(1), interrupts, ends("stopped")], Limits(), Event.INTERRUPTED, "requeued"),
    "overdue while it waits for a worker": (
        [epoch(1), lost_for_good],
        Limits(job_timeout=0.8),
        Event.OVERDUE,
        "pruned",
    ),
    "overdue while it waits, without a value": (
        [lost_for_good],
        Limits(job_timeout=0.8),
        Event.OVERDUE_EMPTY,
        "failed",
    ),
    "out of time while it waits": (
        [epoch(1), lost_for_good],
        Limits(hours=0.8 / 3600),
        Event.OUT_OF_TIME,
        "pruned",
    ),
    "out of time while it waits, without a value": (
        [lost_for_good],
        Limits(hours=0.8 / 3600),
        Event.OUT_OF_TIME_EMPTY,
        "requeued",
    ),
    "interrupted while it waits": ([lost_for_good], Limits(), Event.INTERRUPTED, "requeued"),
}

walked: set[tuple[State, Event]] = set()
"""The transitions that the roads have taken, for the test after them."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/a.db", root=tmp_path) as opened:
        opened.studies.add(record())
        yield opened


@pytest.fixture
def job(tmp_path: Path, store: Store) -> Job:
    """Returns a job with a checkpoint that an earlier run left."""
    data: DataRef = store.studies.get("resnet").data_ref(tmp_path)
    path = checkpoint_path(tmp_path, UID)
    path.write_text("left")
    return Job(UID, "resnet", "search", "resnet", {}, 3, 0, data, number=0, checkpoint=path)


@pytest.mark.parametrize("name", ROADS)
def test_a_job_goes_where_the_table_says(name: str, store: Store, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, limits, event, state = ROADS[name]
    rows: list[Transition] = []

    def recorded(before: State, happened: Event) -> Transition:
        rows.append(transition(before, happened))
        walked.add((before, happened))
        return rows[-1]

    monkeypatch.setattr("fer_tune.jobs.started_jobs.transition", recorded)
    signals = Signals()
    pool = ScriptedPool(list(steps), signals)
    if name == "interrupted while it waits":
        pool.steps = [lambda pool: [*lost_for_good(pool), *interrupts(pool)]]
    source = OneJob(job, store, stop_in=2 if event is Event.STOPPED else 0, pauses=event is Event.CUT_OFF)
    Runner(source, pool, store, Observer(), signals, limits).run()
    assert event in [row.event for row in rows]
    (ended,) = source.heard
    assert ended.state == state
    assert rows[-1].leaves
    assert job.checkpoint is not None
    assert job.checkpoint.exists() == rows[-1].checkpoint == (state in ("requeued", "paused"))
    assert not [attempt for attempt in store.jobs.attempts("resnet") if attempt.ended is None]


@pytest.mark.parametrize("then", [[], [interrupts]])
def test_a_job_that_the_hours_cut_off_has_a_moment_for_its_epoch(
    store: Store, job: Job, monkeypatch: pytest.MonkeyPatch, then: list[Step]
) -> None:
    monkeypatch.setattr("fer_tune.jobs.supervisor.CUT_GRACE", 0.1)
    signals = Signals()
    pool = ScriptedPool([epoch(1), *WAIT[:20], *then, *WAIT, ends("stopped")], signals)
    source = OneJob(job, store, pauses=True)
    Runner(source, pool, store, Observer(), signals, Limits(hours=0.05 / 3600)).run()
    assert pool.stops == ["keep", "stop"]
    assert [(ended.state, ended.reason) for ended in source.heard] == [("paused", "time")]


def walk(job: Job, store: Store, steps: Sequence[Step], limit: float | None) -> Ended:
    """Returns how a job ends whose worker takes these steps."""
    source, signals = OneJob(job, store), Signals()
    Runner(source, ScriptedPool(list(steps), signals), store, Observer(), signals, Limits(job_timeout=limit)).run()
    (ended,) = source.heard
    return ended


@pytest.mark.parametrize(
    ("limit", "steps", "state", "value"),
    [
        (0.05, [*WAIT[:15], ends("stopped")], "pruned", 0.25),  # it keeps the value that it had
        (3600.0, [epoch(1, 0.5), ends("completed")], "complete", 0.5),
    ],
)
def test_the_time_limit_of_a_job_counts_what_it_took_before_it_paused(
    store: Store, job: Job, *, limit: float, steps: list[Step], state: str, value: float
) -> None:
    walk(job, store, [epoch(1, 0.25), *WAIT[:15], ends("paused")], None)
    ended = walk(replace(job, attempt=1), store, steps, limit)
    assert (ended.state, ended.value) == (state, value)


def test_the_garbage_collector_spares_what_was_there_before_the_run(store: Store, job: Job) -> None:
    spared: list[int] = []
    pool_steps: list[Step] = [lambda pool: spared.append(gc.get_freeze_count()) or [], ends("completed")]  # type: ignore[func-returns-value]
    walk(job, store, [epoch(1), *pool_steps], None)
    assert spared[0] > 10_000
    assert gc.get_freeze_count() == 0


def test_every_row_of_the_table_was_walked() -> None:
    """A source takes the others: for what a killed run left, and for jobs that are paused."""
    if len(walked) < len(ROADS):
        pytest.skip("the roads were not walked in this process")
    assert {(row.before, row.event) for row in TABLE} - walked == {
        ("running", Event.LEFT_BEHIND),
        ("paused", Event.PROMOTED),
        ("paused", Event.NOT_PROMOTED),
    }


def test_the_table_has_one_row_for_each_thing_that_can_happen() -> None:
    keys = [(row.before, row.event) for row in TABLE]
    assert len(keys) == len(set(keys))
    assert {row.event for row in TABLE} == set(Event)
    assert {row.after for row in TABLE} == set(get_args(State))
    assert all(row.checkpoint == (row.after in ("queued", "running", "paused")) for row in TABLE)


def test_an_end_is_an_end() -> None:
    for state in ("complete", "pruned", "failed"):
        for event in Event:
            with pytest.raises(KeyError):
                transition(state, event)  # type: ignore[arg-type]


def test_a_worker_that_does_not_stop_in_time_is_ended(store: Store, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of --hours, a job that does not stop within STOP_GRACE loses its worker."""
    monkeypatch.setattr("fer_tune.jobs.supervisor.STOP_GRACE", 0.1)
    signals = Signals()

    def dies_when_ended(pool: ScriptedPool) -> list[PoolEvent]:
        time.sleep(0.01)
        return lost(pool) if pool.ended_because else []

    steps: Sequence[Step] = [epoch(1), *[dies_when_ended] * 100]
    pool, source = ScriptedPool(list(steps), signals), OneJob(job, store)
    outcome = Runner(source, pool, store, Observer(), signals, Limits(hours=0.05 / 3600)).run()
    assert "after it was asked to stop" in pool.ended_because
    assert [(ended.state, ended.reason) for ended in source.heard] == [("pruned", "time")]
    assert outcome.reason == "budget"


def test_ctrl_c_does_not_wait_for_a_slow_epoch(store: Store, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch can take an hour on a CPU. The job is stopped then, and keeps its checkpoint."""
    monkeypatch.setattr("fer_tune.jobs.runner.EPOCH_GRACE", 0.1)
    signals = Signals()

    def stops_when_asked(pool: ScriptedPool) -> list[PoolEvent]:
        time.sleep(0.01)
        return ends("stopped")(pool) if pool.stops == ["keep", "stop"] else []

    pool = ScriptedPool([epoch(1), interrupts, *[stops_when_asked] * 100], signals)
    source = OneJob(job, store)
    Runner(source, pool, store, Observer(), signals, Limits()).run()
    assert [ended.state for ended in source.heard] == ["requeued"]
    assert job.checkpoint is not None
    assert job.checkpoint.exists()


def test_the_time_limit_of_a_job_that_ctrl_c_has_stopped_is_that_of_the_next_run(store: Store, job: Job) -> None:
    signals, now = Signals(), [0.0]

    def stops_late(pool: ScriptedPool) -> list[PoolEvent]:
        now[0] = 10.0
        return ends("stopped")(pool)

    pool, source = ScriptedPool([epoch(1), interrupts, stops_late], signals), OneJob(job, store)
    limits = Limits(job_timeout=5.0)
    outcome = Runner(source, pool, store, Observer(), signals, limits, clock=lambda: now[0]).run()
    assert outcome.reason == "interrupted"
    assert [(ended.state, ended.reason) for ended in source.heard] == [("requeued", "interrupted")]
    assert job.checkpoint is not None
    assert job.checkpoint.exists()


@pytest.mark.parametrize("losses", [1, 2])
def test_rows_that_are_sent_again_are_known_as_such(store: Store, job: Job, losses: int) -> None:
    """A job that continues from a checkpoint sends its rows again. Their cost counts once."""
    heard: list[tuple[int, int, bool]] = []

    class Listener(Observer):
        def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
            heard.append((row.attempt, row.epoch, replayed))

    signals = Signals()
    steps = [epoch(1), epoch(2), *[lost] * losses, epoch(1), epoch(2), epoch(3), ends("completed")]
    source = OneJob(replace(job, checkpoint=None), store)
    Runner(source, ScriptedPool(list(steps), signals), store, Listener(), signals, Limits()).run()
    assert heard == [(0, 1, False), (0, 2, False), (losses, 1, True), (losses, 2, True), (losses, 3, False)]
    (ended,) = source.heard
    assert (ended.epochs, ended.seconds) == (3, 3.0)


@pytest.mark.parametrize("losses", [1, 2, 3])
def test_a_job_keeps_its_epochs_if_later_attempts_have_none(store: Store, job: Job, losses: int) -> None:
    signals, source = Signals(), OneJob(job, store)
    pool = ScriptedPool([epoch(1, 0.25), epoch(2, 0.5), *[lost] * losses], signals)
    Runner(source, pool, store, Observer(), signals, Limits(retries=losses - 1)).run()
    (ended,) = source.heard
    assert (ended.state, ended.value, ended.epochs, ended.seconds) == ("failed", 0.5, 2, 2.0)
    assert ended.facts["best_epoch"] == 2


def entry(reached: int, furthest: int = 0, ended_worker: bool = False) -> Running:
    job = Job(f"job-{reached}-{furthest}", "resnet", "search", "resnet", {}, 9, 0, record().data_ref(Path()))
    measured = (1.0, 0.5, 1.0, 0.5, 0.4, 0.4, (0.5, 0.5), 0.1, 1.0, 10.0)
    rows = [EpochRow(job.uid, 0, epoch, *measured) for epoch in range(1, reached + 1)]
    return Running(job, rows=rows, furthest=furthest, ended_worker=ended_worker)


@pytest.mark.parametrize(
    ("lost", "losses", "suspects"),
    [
        ([entry(4)], [1], []),
        ([entry(4), entry(2)], [0, 0], []),
        ([entry(4), entry(0)], [0, 1], []),
        ([entry(4), entry(4, furthest=4)], [0, 1], []),
        ([entry(4), entry(0), entry(1, furthest=3)], [0, 0, 0], [1, 2]),
        ([entry(0), entry(0), entry(3, ended_worker=True)], [0, 0, 1], []),
    ],
    ids=["alone", "all advanced", "one did not", "one stands still", "several did not", "silence"],
)
def test_which_job_a_lost_worker_counts_against(lost: list[Running], losses: list[int], suspects: list[int]) -> None:
    lost = [replace(one, losses=0, suspect=False) for one in lost]
    blame(lost)
    assert [one.losses for one in lost] == losses
    assert [place for place, one in enumerate(lost) if one.suspect] == suspects
