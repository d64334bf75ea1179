"""Confirmations: the best trials under new seeds. Interruptions do not change how a race ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from fer_tune.errors import StudyError
from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.settings import Settings
from fer_tune.sources.confirm import run_confirmations
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store, StudyLock, confirm_lock
from fer_tune.study.confirmations import seed_of
from fer_tune.study.standings import Standings, standings
from fer_tune.sweep.space import Fixed, Parameter
from tests.jobs.helpers import INLINE, LOCAL, Notebook, real_sweep
from tests.pool.trainers import Obedient, row
from tests.searches import make_sweep

SPREAD = 0.004
"""What a seed adds to a value, or takes from it."""


class Noisy(Obedient):
    """A trainer whose objective is `value`, a little more or less for each seed."""

    def train(self, spec: Job, stop_requested: Callable[[], int]) -> Iterator[EpochRow | JobEnd]:
        if spec.params.get("fails_under") == spec.seed:
            yield JobEnd(spec.uid, spec.attempt, "failed", "RuntimeError: bad luck")
            return
        yield row(spec, 1, float(spec.params["value"]) + SPREAD * (spec.seed % 3 - 1))
        yield JobEnd(spec.uid, spec.attempt, "completed", parameters=7)


class Heard(Notebook):
    """Records the trainings by value and seed, and calls `act` before each is started."""

    def __init__(self, act: Callable[[int], None] = lambda count: None) -> None:
        super().__init__()
        self.trained: list[tuple[float, int]] = []
        self._act = act

    def job_started(self, job: Job, worker: object, lane: int = 0) -> None:
        self.trained.append((float(job.params["value"]), job.seed))
        self._act(len(self.trained))

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        pass


def search(settings: Settings, *values: float, **fixed: object) -> None:
    """Runs a search whose trials have these values."""
    start = [{"value": value} for value in values]
    run_sweeps([make_sweep(start=start, budget=len(values), epochs=1, **fixed)], settings, INLINE, None, Noisy)  # type: ignore[arg-type]


def confirm(settings: Settings, heard: Heard | None = None, **how: object) -> Standings:
    found = run_confirmations("s", settings, INLINE, observer=heard, trainer=Noisy, **how)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_the_best_trials_are_trained_under_new_seeds(searching: Settings) -> None:
    search(searching, 0.50, 0.51, 0.2, 0.1)
    heard = Heard()
    found = confirm(searching, heard, top=2, seeds=3)
    assert found.confirmations is not None
    assert sorted(value for value, _ in heard.trained) == [0.50] * 3 + [0.51] * 3
    with Store.of(searching) as store:
        record = store.studies.get("s")
        jobs = store.jobs.of("s", "confirm")
        of_search = {job.seed for job in store.jobs.of("s", "search")}
    assert {job.seed for job in jobs} == {seed_of(record, place) for place in range(3)}
    assert not of_search & {job.seed for job in jobs}
    assert {(job.origin["trial"], job.origin["round"]) for job in jobs} == {(n, r) for n in (0, 1) for r in range(3)}
    leader, second, *others = found.ranked
    assert (leader.trial.number, second.trial.number) == (1, 0)
    assert leader.confirmed is not None
    assert leader.confirmed.mean == pytest.approx(0.51)
    assert leader.confirmed.interval is not None
    assert (second.tied, found.confirmations.race.winner) == (True, None), "21 images cannot tell them apart"
    assert [other.confirmed for other in others] == [None, None]


def test_lanes_are_used_as_in_a_search(searching: Settings) -> None:
    search(searching, 0.50, 0.51)
    assert run_confirmations("s", searching, replace(INLINE, lanes=3), trainer=Noisy, top=2, seeds=2) is not None
    with Store.of(searching) as store:
        confirmed = {job.uid for job in store.jobs.of("s", "confirm")}
        assert {one.lane for one in store.jobs.attempts("s") if one.job in confirmed} == {0, 1, 2}


def test_a_candidate_that_is_clearly_behind_gets_no_more_seeds(searching: Settings) -> None:
    search(searching, 0.90, 0.88, 0.2)
    heard = Heard()
    found = confirm(searching, heard, top=3, seeds=4)
    assert [value for value, _ in heard.trained].count(0.2) == 2
    assert len(heard.trained) == 4 + 4 + 2
    assert found.confirmations is not None
    assert (found.confirmations.saved, found.confirmations.race.winner) == (2, None)
    assert [one.trial.number for one in found.ties] == [0, 1]


def test_a_sole_winner_ends_the_race(searching: Settings) -> None:
    search(searching, 0.9, 0.2, 0.1)
    heard = Heard()
    found = confirm(searching, heard, top=3, seeds=5)
    assert len(heard.trained) == 6
    assert found.confirmations is not None
    assert (found.confirmations.race.winner, found.confirmations.saved) == (0, 9)
    assert [one.trial.number for one in found.ties] == [0]


def test_best_prefers_the_confirmed_mean_and_says_how_optimistic_the_search_was(searching: Settings) -> None:
    """Trial 0 was lucky: its search's value is what no new seed reaches."""
    search(searching, 0.50, 0.51, 0.2)
    with Store.of(searching) as store:
        lucky = store.jobs.find_trial("s", 0)
        assert lucky is not None
        before = standings(store, "s")
        assert [one.trial.number for one in before.ranked] == [1, 0, 2]
        assert (before.optimism, before.confirmations) == (None, None)
    after = confirm(searching, top=2, seeds=3)
    in_search = {one.trial.number: one.trial.value for one in after.ranked}
    expected = ((in_search[0] or 0) - 0.50 + (in_search[1] or 0) - 0.51) / 2
    assert after.optimism == pytest.approx(expected)


def test_the_same_call_does_nothing_more_and_another_adds_seeds(searching: Settings) -> None:
    search(searching, 0.50, 0.51)
    confirm(searching, top=2, seeds=2)
    again = Heard()
    confirm(searching, again, top=2, seeds=2)
    assert again.trained == []
    more = Heard()
    found = confirm(searching, more, top=2, seeds=3)
    assert len(more.trained) == 2
    assert found.confirmations is not None
    assert (found.confirmations.race.seeds, found.confirmations.trainings) == (3, 6)


@pytest.mark.parametrize("at", [1, 8])
def test_an_interrupted_race_ends_like_an_undisturbed_one(searching: Settings, at: int) -> None:
    def interrupt(count: int) -> None:
        if count == at:
            signal.raise_signal(signal.SIGINT)

    search(searching, 0.90, 0.88, 0.2)
    stopped = Heard(interrupt)
    assert run_confirmations("s", searching, INLINE, observer=stopped, trainer=Noisy, top=3, seeds=4) is None
    found = confirm(searching, Heard(), top=3, seeds=4)
    assert found.confirmations is not None
    assert [(one.candidate, len(one.values)) for one in found.confirmations.race.places] == [(0, 4), (1, 4), (2, 2)]
    assert found.confirmations.trainings == 10


def test_a_trial_that_fails_under_a_new_seed_leaves_the_race(searching: Settings) -> None:
    seed = (1 + 2**31 + 1) % 2**32
    search(searching, 0.50, 0.51, fails_under=seed)
    with Store.of(searching) as store:
        assert seed == seed_of(store.studies.get("s"), 1)
    found = confirm(searching, top=2, seeds=3)
    assert found.confirmations is not None
    assert set(found.confirmations.failed) == {0, 1}
    assert "bad luck" in found.confirmations.failed[0]


def test_workers_train_side_by_side(searching: Settings) -> None:
    search(searching, 0.50, 0.51, 0.2)
    heard = Heard()
    found = run_confirmations("s", searching, LOCAL, observer=heard, trainer=Noisy, top=2, seeds=3)
    assert found is not None
    assert len(heard.trained) == 6
    assert found.ranked[0].trial.number == 1


def test_two_processes_do_not_confirm_one_study(searching: Settings) -> None:
    search(searching, 0.5)
    with (
        StudyLock(searching, searching.url, confirm_lock("s")),
        pytest.raises(StudyError, match="of the study s are being confirmed"),
    ):
        run_confirmations("s", searching, INLINE, trainer=Noisy)


def test_what_cannot_be_confirmed_is_said(searching: Settings) -> None:
    search(searching, 0.5)
    with pytest.raises(StudyError, match="no study nonesuch"):
        run_confirmations("nonesuch", searching, INLINE, trainer=Noisy)


def test_real_trainings_are_compared_image_by_image(searching: Settings) -> None:
    sweep = real_sweep(1)
    slow = {**sweep.space, "lr": Parameter("lr", "lr", Fixed(1e-4))}
    budget = sweep.budget.model_copy(update={"trials": 3})
    run_sweeps([replace(sweep, space=slow, budget=budget)], searching, INLINE)
    with Store.of(searching) as store:
        before = standings(store, "s")
    assert [one.paired for one in before.ranked] == [True] * 3
    assert all(one.p is not None and 0 <= one.p <= 1 for one in before.ranked)
    found = run_confirmations("s", searching, INLINE, top=2, seeds=2)
    assert found is not None
    assert found.confirmations is not None
    for one in found.ranked[:2]:
        assert one.confirmed is not None
        assert one.confirmed.error > 0
