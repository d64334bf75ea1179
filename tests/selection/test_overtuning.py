"""The overtuning meter warns where chance does not explain a gap, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fer_tune.selection.overtuning import meter
from fer_tune.selection.race import UNKNOWN, Spread
from fer_tune.selection.statistics import t_interval


def test_figures_stand_side_by_side_with_intervals() -> None:
    found = meter(0.70, [0.69, 0.695, 0.70], [0.70, 0.71], 4306, 4306)
    assert [figure.name for figure in found.figures] == ["search", "confirmed", "test"]
    search, confirmed, test = found.figures
    half = 1.96 * np.sqrt(0.21 / 4306)
    assert search.interval is not None
    assert search.interval.high - search.interval.low == pytest.approx(2 * half, rel=1e-3)
    assert confirmed.interval == t_interval([0.69, 0.695, 0.70])
    assert test.interval is not None
    assert found.warnings == ()


def test_the_interval_on_test_is_over_seeds_and_images() -> None:
    """Few images make a mean uncertain also if its seeds agree."""
    for values in ((0.796, 0.7962), (0.74, 0.786), (0.80, 0.79, 0.81)):
        *_, test = meter(0.8, [], values, 439, 439).figures
        by_seed, by_image = np.var(values, ddof=1) / len(values), test.value * (1 - test.value) / 439
        freedom = (len(values) - 1) * ((by_seed + by_image) / by_seed) ** 2
        expected = stats.t.interval(0.95, freedom, test.value, np.sqrt(by_seed + by_image))
        assert test.interval is not None
        assert (test.interval.low, test.interval.high) == pytest.approx(expected)
        assert test.interval.high - test.interval.low > 2 * 1.95 * np.sqrt(by_image)
    for right in (307, 439):
        *_, single = meter(0.8, [], [right / 439], 439, 439).figures
        theirs = stats.binomtest(right, 439).proportion_ci(method="wilson")
        assert single.interval is not None
        assert (single.interval.low, single.interval.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_an_interval_on_test_covers_the_true_accuracy() -> None:
    random, covered = np.random.default_rng(0), 0
    for _ in range(2000):
        values = [random.binomial(400, share) / 400 for share in 0.7 + 0.01 * random.standard_normal(2)]
        *_, test = meter(0.7, [], values, 400, 400).figures
        assert test.interval is not None
        covered += test.interval.low <= 0.7 <= test.interval.high
    assert covered > 0.94 * 2000


def test_two_seeds_can_warn_if_other_candidates_show_how_seeds_vary() -> None:
    two = [0.69, 0.694]
    assert meter(0.72, two, [], 4306, 0).warnings == (), "a deviation of two values is hardly known"
    [said] = meter(0.72, two, [], 4306, 0, spread=Spread(0.003**2, 9)).warnings
    chance = 100 * stats.t.ppf(0.975, 9) * 0.003 * np.sqrt(1.5)
    assert f"2.80 points above the one under new seeds. Chance explains {chance:.2f}" in said


def test_a_gap_to_test_is_judged_by_seeds_and_images() -> None:
    def chance(test: list[float], spread: Spread = UNKNOWN) -> float:
        [said] = [text for text in meter(0.9, [], test, 4306, 4306, spread=spread).warnings if "on test" in text]
        return float(said.partition("explains ")[2].partition(":")[0])

    images = 0.9 * 0.1 / 4306 + 0.6 * 0.4 / 4306
    assert chance([0.6]) == pytest.approx(100 * 1.96 * np.sqrt(images), abs=0.01)
    by_seed = np.var([0.596, 0.604], ddof=1) * 1.5
    freedom = ((images + by_seed) / by_seed) ** 2
    expected = stats.t.ppf(0.975, freedom) * np.sqrt(images + by_seed)
    assert chance([0.596, 0.604]) == pytest.approx(100 * expected, abs=0.01)
    assert chance([0.6], Spread(0.01**2, 20)) > chance([0.6]), "the race knows how seeds vary"


def test_a_gap_that_chance_does_not_explain_is_said() -> None:
    found = meter(0.75, [0.69, 0.695, 0.70], [0.70], 4306, 4306)
    assert ["under new seeds" in text for text in found.warnings] == [True, False]
    assert "5.50 points above" in found.warnings[0]
    assert "5.00 points above the one on test" in found.warnings[1]


def test_what_is_missing_is_left_out() -> None:
    assert [figure.name for figure in meter(0.7, [], [], 4306, 0).figures] == ["search"]
    assert meter(0.7, [0.5], [], 4306, 0).warnings == (), "one seed shows nothing of their variation"
    assert meter(0.7, [], [0.69], 0, 0).figures[0].interval is None


def test_equal_figures_rarely_warn() -> None:
    """A new seed's value is in the prediction interval of the others 19 times out of 20."""
    random = np.random.default_rng(0)
    warned = 0
    for _ in range(1000):
        search, *confirmed = (0.69 + 0.005 * random.standard_normal(4)).tolist()
        warned += bool(meter(search, confirmed, [], 4306, 0).warnings)
    assert warned < stats.binom.ppf(0.999, 1000, 0.025)
