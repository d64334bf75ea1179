"""A race names who is clearly behind, and a winner only if one is better beyond chance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.confirm import World, measure
from fer_tune.selection.race import SeedResult, difference, pooled, race

IMAGES = 2000


def runs(accuracy: float, seeds: int, seed: int) -> list[SeedResult]:
    """Returns runs of a configuration whose images differ from seed to seed."""
    random = np.random.default_rng(seed)
    easy = random.random(IMAGES) < accuracy
    found = []
    for _ in range(seeds):
        right = np.where(random.random(IMAGES) < 0.1, random.random(IMAGES) < accuracy, easy).astype(float)
        found.append(SeedResult(float(right.mean()), right))
    return found


def test_a_candidate_that_is_far_behind_gets_no_more_seeds() -> None:
    found = race({4: runs(0.7, 2, 1), 7: runs(0.5, 2, 2), 9: runs(0.69, 2, 3)}, 3, IMAGES)
    assert set(found.racing) == {4, 9}
    assert found.winner is None
    by_key = {place.candidate: place for place in found.places}
    assert [place.candidate for place in found.places][-1] == 7
    assert (by_key[7].behind_after, by_key[4].behind_after) == (2, None)
    assert by_key[7].p < 0.01 < by_key[9].p
    assert set(found.ties) == {4, 9}


def test_a_sole_winner_needs_no_more_seeds() -> None:
    found = race({4: runs(0.75, 2, 1), 7: runs(0.6, 2, 2)}, 5, IMAGES)
    assert (found.winner, found.racing, found.seeds) == (4, (), 2)


def test_equals_have_no_winner_and_get_all_seeds() -> None:
    some = {4: runs(0.7, 3, 1), 7: runs(0.7, 3, 2)}
    assert race({key: one[:2] for key, one in some.items()}, 3, IMAGES).racing == (4, 7)
    found = race(some, 3, IMAGES)
    assert (found.winner, found.racing, found.seeds) == (None, (), 3)


def test_a_single_candidate_gets_all_seeds_and_wins_nothing() -> None:
    assert race({4: runs(0.7, 2, 1)}, 3, IMAGES).racing == (4,)
    assert race({4: runs(0.7, 3, 1)}, 3, IMAGES).winner is None


def test_it_waits_for_the_slowest_candidate() -> None:
    """A fast worker may have trained further. The looks are the same as if it had not."""
    slow = race({4: runs(0.7, 3, 1), 7: runs(0.5, 1, 2)}, 3, IMAGES)
    assert (slow.seeds, slow.racing, slow.winner) == (1, (4, 7), None)
    assert race({4: [], 7: []}, 3, IMAGES).places == ()


def test_one_seed_shows_nothing_of_the_variation_of_seeds() -> None:
    found = race({4: runs(0.9, 1, 1), 7: runs(0.5, 1, 2)}, 1, IMAGES)
    assert (found.winner, found.racing) == (None, ())
    assert [place.interval for place in found.places] == [None, None]
    assert found.places[0].error == pytest.approx(math.sqrt(0.09 / IMAGES), rel=0.1)


def test_the_interval_is_about_two_errors_of_seeds_and_images() -> None:
    [place] = race({1: runs(0.7, 40, 1)}, 40, IMAGES).places
    assert place.interval is not None
    assert place.interval.low < place.mean < place.interval.high
    assert place.interval.high - place.mean == pytest.approx(2 * place.error, rel=0.05)
    assert place.error == pytest.approx(math.sqrt(0.21 * 0.9 / IMAGES), rel=0.15)


def test_without_images_they_count_as_independent() -> None:
    some = {key: [SeedResult(run.value) for run in runs(accuracy, 3, key)] for key, accuracy in ((1, 0.7), (2, 0.6))}
    spread = pooled(some.values(), IMAGES)
    gap, error, p = difference(some[1], some[2], spread, IMAGES)
    assert gap == pytest.approx(0.1, abs=0.02)
    assert error > math.sqrt((0.21 + 0.24) / IMAGES)
    assert p < 0.05


def test_equal_values_are_a_tie() -> None:
    same = [SeedResult(0.5), SeedResult(0.5)]
    assert race({1: same, 2: same}, 2, IMAGES).winner is None
    assert race({1: same, 2: same}, 2, IMAGES).places[1].p == 1.0


def test_equals_rarely_have_a_winner() -> None:
    """`python -m benchmarks.confirm` measures the rate on thousands of studies."""
    for world in (World(trials=2, top=2, images=800), World(trials=12, top=4, images=800)):
        found = measure(world, 150)
        assert found["named_interval"][0] <= 0.05, found
    better = measure(World(trials=4, top=3, better=0.08, images=800), 40)
    assert better["named_the_better_one"] > 0.5
    assert better["saved"] > 0.1
