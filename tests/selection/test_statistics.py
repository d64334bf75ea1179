"""Statistics agree with SciPy's, and with statsmodels' where it is installed, to 1e-9."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fer_tune.selection.statistics import (
    deviation,
    error_of_difference,
    standard_error,
    t_interval,
    two_sided,
    wilson,
)

CLOSE = pytest.approx


@pytest.mark.parametrize(("right", "images"), [(0, 65), (65, 65), (1, 9), (2985, 4306), (40, 65)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_intervals_of_shares_are_wilson_s(right: int, images: int, level: float) -> None:
    ours = wilson(right, images, level)
    theirs = stats.binomtest(right, images).proportion_ci(level, method="wilson")
    assert (ours.low, ours.high) == (CLOSE(theirs.low, abs=1e-9), CLOSE(theirs.high, abs=1e-9))


def test_nothing_is_known_of_a_class_without_images() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_intervals_agree_with_statsmodels() -> None:
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    low, high = proportion.proportion_confint(2985, 4306, method="wilson")
    ours = wilson(2985, 4306)
    assert (ours.low, ours.high) == (CLOSE(low, abs=1e-9), CLOSE(high, abs=1e-9))
    weights = pytest.importorskip("statsmodels.stats.weightstats")
    values = [0.691, 0.702, 0.697, 0.688]
    found = t_interval(values)
    assert found is not None
    low, high = weights.DescrStatsW(values).tconfint_mean()
    assert (found.low, found.high) == (CLOSE(low, abs=1e-9), CLOSE(high, abs=1e-9))


@pytest.mark.parametrize("values", [[0.69, 0.70], [0.5, 0.6, 0.55, 0.58], [0.1] * 3])
def test_intervals_of_means_are_student_s(values: list[float]) -> None:
    ours = t_interval(values, 0.9)
    assert ours is not None
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    low, high = (np.mean(values) + sign * stats.t.ppf(0.95, len(values) - 1) * error for sign in (-1, 1))
    assert (ours.low, ours.high) == (CLOSE(low, abs=1e-9), CLOSE(high, abs=1e-9))
    assert deviation(values) == CLOSE(np.std(values, ddof=1), abs=1e-12)


def test_one_value_has_no_interval() -> None:
    assert (t_interval([0.5]), deviation([0.5])) == (None, None)


@pytest.mark.parametrize(("statistic", "freedom"), [(1.96, math.inf), (-2.5, 4), (0.0, 1), (7.1, 12.5)])
def test_two_sided_probabilities(statistic: float, freedom: float) -> None:
    theirs = 2 * (stats.norm.sf(abs(statistic)) if math.isinf(freedom) else stats.t.sf(abs(statistic), freedom))
    assert two_sided(statistic, freedom) == CLOSE(theirs, abs=1e-9)


def test_standard_errors() -> None:
    assert standard_error(0.72, 4306) == CLOSE(0.00684, abs=1e-5)
    assert standard_error(None, 4306) is None
    assert standard_error(0.7, 0) is None
    assert error_of_difference(0.3, 0.4) == CLOSE(0.5)
    assert error_of_difference(None, 0.4) is None
