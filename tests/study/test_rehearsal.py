"""Tests of rehearsals: a search is proposed before it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from fer_tune.selection.cost import MeasuredTrial, PlayedTrial, PlayedTrials, TrialPace
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import trials
from fer_tune.study.rehearsal import AGAIN, FEWEST, REHEARSED, Waiting, rehearsed
from fer_tune.sweep.schema import SamplerSpec, SearchSpec, Sweep
from fer_tune.sweep.space import Choice, Fixed, Parameter, Range
from tests.jobs.helpers import run
from tests.searches import make_sweep

WIDTHS = (8, 16, 32, 64)


@pytest.fixture
def sweep() -> Sweep:
    """A sweep in which the width alone costs time, and `value` alone makes trials good."""
    space = {
        "value": Parameter("value", "value", Range(0.0, 1.0)),
        "width": Parameter("width", "width", Choice(WIDTHS)),
    }
    made = make_sweep(epochs=9, budget=30, seconds=0.0, search=SearchSpec(strategy="promote", factor=3, rungs=[1, 3]))
    return replace(made, space=space, sampler=SamplerSpec("effects", None, {"n_startup_trials": 4}))


def measured(worth: Callable[[float, int], float], count: int = 12) -> TrialPace:
    """Returns the pace of configurations whose epochs take a hundredth of a second for each unit of
    width."""
    random = np.random.default_rng(0)
    known = []
    for place in range(count):
        value, width = float(random.random()), WIDTHS[place % len(WIDTHS)]
        known.append(
            MeasuredTrial(width / 100, params={"value": value, "width": width}, curve={2: worth(value, width)})
        )
    return TrialPace(tuple(known))


def played(
    sweep: Sweep, pace: TrialPace, count: int, waiting: Sequence[Waiting] = (), seed: int = 0
) -> list[PlayedTrial]:
    """Returns the trials of one play in which all reach the first rung."""
    made = rehearsed(sweep, [], pace, waiting, place=len(waiting), alone=True)
    assert made is not None
    source: PlayedTrials = made(np.random.default_rng(seed))
    found: list[PlayedTrial] = []
    for _ in range(count):
        found.append(source.next([{1: one.worth, 3: one.worth} for one in found]))
    return found


def late_seconds(sweep: Sweep, pace: TrialPace) -> float:
    """Returns the mean seconds of an epoch of the later trials of a few plays."""
    return float(np.mean([one.seconds for seed in range(6) for one in played(sweep, pace, 40, seed=seed)[20:]]))


def test_the_first_proposals_are_those_of_the_search_itself(searching: Settings, sweep: Sweep) -> None:
    run(sweep, searching)
    with Store.of(searching) as store:
        drawn = trials(store, "s")
    first = [one for one in drawn if one.attrs["drawn"] == "random"][:4]
    assert [one.number for one in first] == [0, 1, 2, 3]
    expected = [float(one.params["width"]) / 100 for one in first]
    found = [one.seconds for one in played(sweep, measured(lambda value, width: value), 4)]
    assert found == pytest.approx(expected, rel=0.01)


def test_a_search_that_prefers_wide_networks_costs_more(sweep: Sweep) -> None:
    wide = late_seconds(sweep, measured(lambda value, width: 0.3 + 0.005 * width, 24))
    narrow = late_seconds(sweep, measured(lambda value, width: 0.6 - 0.005 * width, 24))
    assert wide > 0.45
    assert narrow < 0.25


def test_a_random_search_prefers_nothing(sweep: Sweep) -> None:
    pace = measured(lambda value, width: 0.3 + 0.005 * width, 24)
    random = late_seconds(replace(sweep, sampler=SamplerSpec("random", None, {})), pace)
    assert random == pytest.approx(sum(WIDTHS) / 400, rel=0.25)


def test_trials_that_wait_come_first(sweep: Sweep) -> None:
    waiting = [Waiting("first", {"value": 0.5, "width": 64}, whole=True), Waiting("", {"width": 8}, whole=False)]
    found = played(sweep, measured(lambda value, width: value), 2, waiting)
    assert [one.whole for one in found] == [True, False]
    assert [one.seconds for one in found] == pytest.approx([0.64, 0.08], rel=0.01)


def test_a_long_search_ends_with_trials_like_its_last_ones(sweep: Sweep) -> None:
    found = played(sweep, measured(lambda value, width: 0.3 + 0.005 * width, 24), REHEARSED + 20)
    assert {round(one.seconds, 2) for one in found[REHEARSED:]} <= {round(one.seconds, 2) for one in found[:REHEARSED]}


def test_too_few_measured_trials_rehearse_nothing(sweep: Sweep) -> None:
    pace = measured(lambda value, width: value, FEWEST - 1)
    assert rehearsed(sweep, [], pace, [], place=0, alone=True) is None
    unknown = TrialPace(tuple(MeasuredTrial(1.0) for _ in range(20)))
    assert rehearsed(sweep, [], unknown, [], place=0, alone=True) is None


def test_trials_of_another_space_say_what_a_fixed_network_costs(sweep: Sweep) -> None:
    others = TrialPace(tuple(replace(trial, curve={}) for trial in measured(lambda value, width: value).trials))
    fixed = replace(sweep, space={"width": Parameter("width", "width", Fixed(16))})
    assert [one.seconds for one in played(fixed, others, 50)] == pytest.approx([0.16] * 50, rel=0.01)
    searched = [one.seconds for one in played(sweep, others, 40)]
    assert set(np.round(searched, 2)) <= {0.08, 0.16, 0.32, 0.64}


def test_what_a_sweep_does_not_name_has_its_default(sweep: Sweep) -> None:
    batches = (32, 64, 128, 256)
    others = [
        MeasuredTrial(100 / size, params={"value": 0.5, "width": 16, "batch_size": size})
        for size in (*batches, *batches)
    ]
    found = [one.seconds for one in played(sweep, TrialPace(tuple(others)), 10)]
    assert found == pytest.approx([100 / 128] * 10, rel=0.01)


def searched(count: int) -> TrialPace:
    """Returns the pace of trials that the same search proposed before. It preferred narrow
    networks, and among them the slow ones were better."""
    trials = [
        MeasuredTrial(0.1 + place / 1000, params={"value": 0.5, "width": 8}, curve={1: place / 100}, searched=True)
        for place in range(count)
    ]
    others = [replace(trial, curve={}) for trial in measured(lambda value, width: value).trials]
    return TrialPace((*others, *trials))


def test_a_search_that_ran_before_has_trials_like_its_own(sweep: Sweep) -> None:
    pace = searched(AGAIN)
    found = [one for seed in range(8) for one in played(sweep, pace, 60, seed=seed)]
    seconds, worth = np.array([(one.seconds, one.worth) for one in found]).T
    own = [trial.seconds for trial in pace.trials if trial.searched]
    assert set(seconds) == set(own), "no other trials"
    assert float(seconds.mean()) == pytest.approx(float(np.mean(own)), rel=0.02)
    assert (float(worth.mean()), float(worth.std())) == (pytest.approx(0, abs=0.2), pytest.approx(1, rel=0.2))
    assert float(np.corrcoef(seconds, worth)[0, 1]) > 0.99, "what is better takes as much longer as it did"


def test_every_second_play_of_a_search_that_ran_before_rehearses_it(sweep: Sweep) -> None:
    made = rehearsed(sweep, [], searched(AGAIN), [], place=0, alone=True)
    assert made is not None
    random = np.random.default_rng(0)
    sources = [made(random) for _ in range(4)]
    seconds = [[source.next([{1: 0.0}] * number).seconds for number in range(30)] for source in sources]
    assert [max(each) > 0.13 for each in seconds] == [False, True, False, True], (
        "wide networks, which were not repeated"
    )


@pytest.mark.parametrize("count", [0, AGAIN])
def test_a_start_configuration_costs_what_it_cost_before(sweep: Sweep, count: int) -> None:
    pace = searched(count)
    params = {"value": 0.5, "width": 64}
    before = [MeasuredTrial(seconds, params=params, curve={1: 0.5}) for seconds in (0.9, 1.0, 5.0)]
    pace = replace(pace, trials=(*pace.trials, *before))
    whole = Waiting("first", params, whole=True)
    assert [one.seconds for one in played(sweep, pace, 1, [whole])] == [1.0]
    for other in ({"value": 0.4, "width": 64}, {"width": 64}, {"value": 0.5}):
        (found,) = played(sweep, pace, 1, [replace(whole, params=other)])
        assert found.seconds not in (0.9, 1.0, 5.0), "another configuration, or one that the sampler fills in"


def test_few_trials_of_the_same_search_are_not_repeated(sweep: Sweep) -> None:
    found = played(sweep, searched(AGAIN - 1), 60)
    assert {round(one.seconds, 1) for one in found} > {0.1}, "others are proposed too"


def test_trials_that_wait_come_before_those_of_the_same_search(sweep: Sweep) -> None:
    waiting = [Waiting("first", {"value": 0.5, "width": 64}, whole=True)]
    first, *others = played(sweep, searched(AGAIN), 20, waiting)
    assert first.whole
    assert first.seconds > 0.3, "as predicted for a wide network"
    assert all(not one.whole and one.seconds < 0.13 for one in others)


def test_trials_of_the_same_search_that_are_equally_good_are_repeated(sweep: Sweep) -> None:
    pace = searched(AGAIN)
    equal = TrialPace(tuple(replace(trial, curve={1: 0.5} if trial.searched else {}) for trial in pace.trials))
    assert {one.worth for one in played(sweep, equal, 20)} == {0.0}
