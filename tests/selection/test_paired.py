"""Paired tests agree with SciPy's, and with statsmodels' where it is installed, to 1e-9."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fer_tune.selection import paired
from fer_tune.selection.paired import compare, mcnemar

TABLES = [(0, 0), (1, 0), (3, 9), (9, 3), (25, 25), (40, 61), (300, 371), (0, 1100)]


@pytest.mark.parametrize(("one", "other"), TABLES)
def test_mcnemar_is_the_exact_binomial_test(one: int, other: int) -> None:
    theirs = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(("one", "other"), TABLES)
def test_mcnemar_agrees_with_statsmodels(one: int, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    table = [[900, one], [other, 300]]
    assert mcnemar(one, other) == pytest.approx(tables.mcnemar(table, exact=True).pvalue, abs=1e-9)
    if one != other:  # theirs corrects beyond 0
        monkeypatch.setattr(paired, "MOST_EXACT", 0)
        assert mcnemar(one, other) == pytest.approx(tables.mcnemar(table, exact=False).pvalue, abs=1e-9)


def test_many_disagreements_are_approximated_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = mcnemar(10_150, 9_850)
    monkeypatch.setattr(paired, "MOST_EXACT", 0)
    assert mcnemar(10_150, 9_850) == pytest.approx(exact, rel=0.01)


def test_two_models_on_the_same_images() -> None:
    one = np.array([1, 1, 1, 1, 0, 1, 0, 0], float)
    other = np.array([1, 0, 0, 0, 1, 1, 0, 0], float)
    found = compare(one, other)
    assert (found.difference, found.disagreements, found.p) == (0.25, 4, mcnemar(3, 1))
    assert found.error == pytest.approx(stats.sem(one - other), abs=1e-12)
    assert compare(other, one).difference == -0.25


def test_the_same_model_is_equal_to_itself() -> None:
    one = np.array([1.0, 0.0, 1.0])
    assert (compare(one, one).p, compare(one, one).difference) == (1.0, 0.0)
    assert compare(one / 3, one / 3).p == 1.0


def test_contributions_that_are_not_0_and_1_are_compared_by_their_differences() -> None:
    random = np.random.default_rng(0)
    one, other = random.random(400) + 0.03, random.random(400)
    differences = one - other
    statistic = differences.mean() / stats.sem(differences)
    assert compare(one, other).p == pytest.approx(2 * stats.norm.sf(abs(statistic)), abs=1e-9)


def test_values_over_epochs_are_compared_by_their_own_difference() -> None:
    """The images of one epoch say how sure it is, and not how large."""
    random = np.random.default_rng(0)
    one, other = (random.random((2, 500)) < 0.7).astype(float)
    plain, given = compare(one, other), compare(one, other, gap=0.05)
    assert (given.difference, given.error, given.disagreements) == (0.05, plain.error, plain.disagreements)
    assert given.p == pytest.approx(2 * stats.norm.sf(0.05 / plain.error))
    assert compare(one, one, gap=0.0).p == 1.0
