"""The overtuning meter warns where chance does not explain a gap, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fer_tune.selection.overtuning import meter
from fer_tune.selection.statistics import t_interval


def test_figures_stand_side_by_side_with_intervals() -> None:
    found = meter(0.70, [0.69, 0.695, 0.70], [0.70, 0.71], 4306, 4306)
    assert [figure.name for figure in found.figures] == ["search", "confirmed", "test"]
    search, confirmed, test = found.figures
    half = 1.96 * np.sqrt(0.21 / 4306)
    assert search.interval is not None
    assert (search.interval.low, search.interval.high) == (
        pytest.approx(0.70 - half, abs=1e-5),
        pytest.approx(0.70 + half, abs=1e-5),
    )
    assert (confirmed.interval, test.interval) == (t_interval([0.69, 0.695, 0.70]), t_interval([0.70, 0.71]))
    assert found.warnings == ()


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
