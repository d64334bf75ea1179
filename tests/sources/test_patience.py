"""Tests of `budget.patience`: a study ends when more trials would not measurably gain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pytest

from fer_tune.settings import Settings
from fer_tune.sources.patience import PatienceRule
from fer_tune.study import Counts, Study
from fer_tune.sweep.schema import Sweep
from tests.jobs.helpers import run
from tests.searches import make_sweep
from tests.store.conftest import record


def test_a_study_whose_trials_are_equal_ends_and_says_why(searching: Settings) -> None:
    sweep = make_sweep(epochs=2, budget=60, seconds=0.0, value=0.5)
    patient = replace(sweep, budget=sweep.budget.model_copy(update={"patience": 10}))
    outcome, watch = run(patient, searching)
    assert (outcome.studies[0].reason, outcome.studies[0].counts.finished) == ("budget", 20)
    (note,) = [note for note in watch.notes if "budget.patience" in note]
    assert "best value of 52.00 %" in note


def test_the_reason_counts_one_trial_as_one(searching: Settings) -> None:
    sweep = make_sweep(epochs=2, budget=60, seconds=0.0, value=0.5)
    _, watch = run(replace(sweep, budget=sweep.budget.model_copy(update={"patience": 1})), searching)
    (note,) = [note for note in watch.notes if "budget.patience" in note]
    assert note.startswith("s: the next trial is expected to gain ")


@dataclass
class Trials:
    """Stands for a study of complete trials."""

    sweep: Sweep
    values: list[float]

    def counts(self) -> Counts:
        return Counts(complete=len(self.values))

    def curves(self) -> list[dict[int, float]]:
        return [{2: value} for value in self.values]


@pytest.mark.parametrize(
    ("scatter", "trials", "over"),
    [(0.03, 50, False), (0.03, 1, True), (0.002, 50, True)],
)
def test_it_ends_when_the_expected_gain_is_below_a_standard_error(scatter: float, trials: int, over: bool) -> None:
    """On 4,306 images, an accuracy of 60 % has a standard error of 0.75 points."""
    sweep = make_sweep(epochs=2)
    sweep = replace(sweep, budget=sweep.budget.model_copy(update={"patience": trials}))
    values = list(np.random.default_rng(0).normal(0.6, scatter, 30).clip(max=0.62))
    split = replace(record().split, counts={"val": 4306})
    study = cast(Study, Trials(sweep, [*values[:-1], 0.62]))
    assert PatienceRule(sweep, study, replace(record(), split=split), print).is_over() is over
