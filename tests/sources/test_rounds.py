"""Tests that a deterministic schedule gives the same trials whatever the timing of the workers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.search import play as playing
from benchmarks.search.pool import SimulatedPool, _Lane
from fer_tune.data.spec import DataRef
from fer_tune.job import new_uid
from fer_tune.pool import Event
from fer_tune.settings import Settings, sqlite_url
from fer_tune.sources.rounds import SLACK, Recalled, Rounds
from fer_tune.sources.trial_jobs import TrialJobs
from fer_tune.store import Store
from fer_tune.study import Proposal
from fer_tune.sweep.schema import PrunerSpec, SamplerSpec, ScheduleSpec, SearchSpec, Start, Sweep
from tests.benchmarks.simulated import simulator, small

PROMOTE = SearchSpec(strategy="promote", factor=3, rungs=[1, 3])
PRUNE = SearchSpec()
TRIALS = 24


def pool_of(speeds: int, kill_after: int | None = None) -> type[SimulatedPool]:
    """Returns a pool whose lanes have speeds that change at random.

    Args:
        kill_after: the number of calls after which the run is killed.
    """

    class Uneven(SimulatedPool):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.random = random.Random(speeds)
            self.calls = 0

        def events(self, timeout: float) -> list[Event]:
            self.calls += 1
            if self.calls == kill_after:
                raise Killed
            return super().events(timeout)

        def _seconds(self, lane: _Lane, epoch: int) -> float:
            return super()._seconds(lane, epoch) * self.random.expovariate(1.0)

    return Uneven


class Killed(BaseException):
    """Ends a run at once, as SIGKILL does."""


Found = list[tuple[object, ...]]
Play = Callable[..., Found]


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Returns a function that runs a sweep on simulated workers, and returns its trials."""
    numbers = count()

    def play(sweep: Sweep, workers: int, speeds: int = 0, kills: Sequence[int] = ()) -> Found:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        monkeypatch.setattr(playing, "TRIALS", TRIALS)
        for after in (*kills, None):
            pool = pool_of(speeds, after)
            with suppress(Killed):
                playing.play(
                    sweep, simulator(), seed=3, seconds=1e9, slots=workers, own=False, folder=folder, workers=pool
                )
        return found(Settings(folder, sqlite_url(folder / "fer_tune.db")), sweep.study)

    return play


def found(settings: Settings, name: str) -> Found:
    """Returns each trial with all that it measured, in the order of the draws."""
    with Store.of(settings) as store:
        curves = store.epochs.curves(name)
        jobs = sorted(store.jobs.of(name, "search"), key=lambda job: job.seed)
        return [
            (job.state, job.value, tuple(sorted(job.params.items())), [row.val_accuracy for row in curves[job.uid]])
            for job in jobs
        ]


def deterministic(sampler: str, search: SearchSpec, pruner: str = "median", **options: object) -> Sweep:
    """Returns a sweep with four logical slots."""
    return replace(
        small(),
        sampler=SamplerSpec(sampler, None, options),
        search=search,
        pruner=PrunerSpec("none" if search.strategy == "promote" else pruner),
        schedule=ScheduleSpec(name="deterministic", slots=4),
    )


EFFECTS = ("effects", PROMOTE, {"n_startup_trials": 6})
TPE = ("tpe", PRUNE, {"n_startup_trials": 6, "multivariate": True, "group": True, "constant_liar": True})
OTHERS = [
    ("tpe", PROMOTE, TPE[2]),
    ("gp", PRUNE, {"n_startup_trials": 6}),
    ("qmc", PRUNE, {}),
    ("random", PROMOTE, {}),
    ("random", PROMOTE.model_copy(update={"compare": "val_loss"}), {}),
    ("effects", PRUNE, {"n_startup_trials": 6}),
]


def test_workers_and_their_speeds_do_not_matter(played: Play) -> None:
    sampler, search, options = EFFECTS
    sweep = deterministic(sampler, search, **options)
    first = played(sweep, 1)
    assert len(first) == TRIALS
    assert {state for state, *_ in first} == {"complete", "pruned"}
    assert played(sweep, 7, speeds=2) == first


def test_the_number_of_workers_does_not_decide_how_a_cpu_rounds(settings: Settings) -> None:
    """Workers on a CPU share its cores, and another number of threads adds in another order."""
    data = DataRef(settings.cache / "faces", "d" * 64, settings.cache / "split.npz", "5" * 64)
    proposal = Proposal(number=0, params={}, name=None, attempt=0, seed=1, queued=False)
    with Store.of(settings) as store:
        threads = [
            TrialJobs(sweep, "ab", data, settings, store).make(proposal, new_uid(), 0, None).threads
            for sweep in (small(), replace(small(), schedule=ScheduleSpec(name="deterministic", slots=4)))
        ]
    assert threads == [None, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "search", "options"), [EFFECTS, TPE, *OTHERS])
def test_no_sampler_depends_on_timing(
    played: Play, sampler: str, search: SearchSpec, options: dict[str, object]
) -> None:
    sweep = deterministic(sampler, search, **options)
    first = played(sweep, 1)
    assert played(sweep, 2, speeds=1) == first
    assert played(sweep, 7, speeds=2) == first
    assert played(sweep, 7, speeds=3) == first


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "percentile", "successive_halving", "hyperband", "patient"])
def test_no_pruner_depends_on_timing(played: Play, pruner: str) -> None:
    sampler, search, options = TPE
    text = {"percentile": "{name: percentile, percentile: 40}", "patient": "{name: patient, wrapped_pruner: median}"}
    spec = small(f"pruner={text.get(pruner, pruner)}").pruner
    sweep = replace(deterministic(sampler, search, **options), pruner=spec)
    first = played(sweep, 1)
    assert played(sweep, 7, speeds=2) == first


@pytest.mark.slow
def test_without_it_timing_matters(played: Play) -> None:
    sweep = replace(deterministic("effects", PROMOTE, n_startup_trials=6), schedule=ScheduleSpec())
    assert played(sweep, 1) != played(sweep, 7, speeds=2)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [[9], [30, 5], [20, 20, 20]], ids=str)
@pytest.mark.parametrize(("sampler", "search", "options"), [EFFECTS, TPE, OTHERS[0]])
def test_kills_do_not_matter(
    played: Play, sampler: str, search: SearchSpec, options: dict[str, object], kills: list[int]
) -> None:
    sweep = deterministic(sampler, search, **options)
    assert played(sweep, 7, speeds=2, kills=kills) == played(sweep, 1)


@pytest.mark.slow
def test_a_kill_before_all_start_configurations_have_begun_does_not_matter(played: Play) -> None:
    sampler, search, options = EFFECTS
    sweep = deterministic(sampler, search, **options)
    params = sweep.start[0].params
    starts = tuple(Start(f"start {place}", params | {"augment": place / 10}) for place in range(7))
    sweep = replace(sweep, start=starts)
    assert played(sweep, 2, speeds=2, kills=[3, 6, 12]) == played(sweep, 7)


# the rounds by themselves ---------------------------------------------------------------------------------------------


def handed_out(random: random.Random, workers: int, slots: int, budget: int, whole: bool) -> list[tuple[str, int]]:
    """Hands out all turns of an invented search to so many workers, each of which may be ahead.

    Returns the job of each turn, and the epoch after which it begins.
    """
    rounds, training, turns, started = Rounds(slots, 9, [1, 3], 3, whole), dict[str, int](), [], 0
    reached: dict[str, int] = {}
    while True:
        while len(training) < workers and rounds.ready():
            uid = rounds.promotable()
            if uid is None and started < budget:
                uid, started = f"trial {started}", started + 1
            uid = uid or rounds.last()
            if uid is None:
                break
            turns.append((uid, reached.get(uid, 0)))
            training[uid] = UNTIL[reached.get(uid, 0)]
            rounds.take(uid, int(uid.split()[1]), training[uid] if training[uid] < 9 else None)
        if not training:
            return turns
        uid = random.choice(list(training))
        epoch = reached[uid] = reached.get(uid, 0) + 1
        rounds.heard(uid, epoch, hash_of(uid, epoch))
        pruned = not whole and hash_of(uid, -epoch) < 0.2
        if pruned or epoch == training[uid]:
            del training[uid]
            rounds.ended(uid, None if pruned or epoch == 9 else epoch)


UNTIL = {0: 1, 1: 3, 3: 9}


def hash_of(uid: str, epoch: int) -> float:
    return crc32(f"{uid} {epoch}".encode()) / 2**32


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 40), st.booleans(), st.randoms(use_true_random=False))
def test_any_speeds_give_the_same_turns(
    workers: int, slots: int, budget: int, whole: bool, speeds: random.Random
) -> None:
    turns = handed_out(speeds, workers, slots, budget, whole)
    assert turns == handed_out(random.Random(0), 1, slots, budget, whole)
    assert [uid for uid, begin in turns if begin == 0] == [f"trial {place}" for place in range(budget)]
    if whole and budget:
        assert 3 in {begin for _, begin in turns}  # one trial is trained to its end


def test_each_slot_has_one_turn_at_a_time() -> None:
    rounds = Rounds(2, 4, [], 3, whole=False)
    for place in range(2):
        assert rounds.ready()
        rounds.take(str(place), place, None)
    assert not rounds.ready()
    for epoch in (1, 2):
        rounds.heard("0", epoch, 0.5)
    rounds.ended("0")
    assert not rounds.ready()  # the other turn may end before round 2
    rounds.heard("1", 1, 0.5)
    assert not rounds.ready()
    rounds.heard("1", 2, 0.5)
    assert rounds.ready()
    assert (rounds.now, rounds.knows("1")) == (2, -SLACK)


def test_a_worker_may_be_ahead_by_the_slack() -> None:
    """With the length of its turn known, a slot needs not know how far the other one is."""
    rounds = Rounds(2, 9, [1, 3], 3, whole=True)
    ahead = 0
    rounds.take("slow", 0, 1)
    while rounds.ready():
        ahead += 1
        rounds.take(f"fast {ahead}", ahead, 1)
        rounds.ended(f"fast {ahead}", 1)
    assert ahead == 1 + 2 * SLACK  # and one more slot in each round
    rounds.ended("slow", 1)
    assert rounds.ready()


def test_what_was_handed_out_before_is_recalled() -> None:
    whole = Rounds(1, 9, [1, 3], 2, whole=True)
    whole.recall(
        [
            Recalled("a", 0, [(0, 0, 1, 1), (3, 3, 3, 5)], {1: 0.9, 2: 0.9, 3: 0.95}, trains=True, paused=False),
            Recalled("b", 1, [(1, 1, 1, 2)], {1: 0.5}, trains=False, paused=True),
            Recalled("c", 2, [(2, 2, 1, 3)], {1: 0.7}, trains=False, paused=True),
        ]
    )
    assert whole.ready()  # the turn of round 5 knows those that were over in round 3
    assert whole.now == 5
    assert whole.promotable() is None  # one in two of three may continue, and has
    assert whole.next("d", 1) == (4, 5, 1, 6)
    whole.take("d", 3, 1)
    assert whole.ready()
    whole.take("e", 4, 1)
    assert not whole.ready()  # the next one must know how the turn of `a` ended, in round 5
    whole.ended("a", 3)
    assert whole.ready()
