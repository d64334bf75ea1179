"""Which hyperparameters set the best trials apart."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from statistics import stdev

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from fer_tune.store import Store
from fer_tune.study.frozen_trials import frozen_trials
from fer_tune.sweep.space import name_of

ENOUGH = 20
"""The smallest number of trials with a value from which importance is computed."""

RESAMPLES = 8
"""How often the trials are drawn again, with replacement, to see how uncertain the shares are."""

BEST = 5
"""The smallest number of trials that count as the best. Optuna's documentation recommends it."""


def best_of(trials: int) -> int:
    """Returns how many of so many trials count as the best: a tenth, but at least BEST."""
    return max(BEST, math.ceil(trials / 10))


def importance(store: Store, study: str) -> tuple[dict[str, float], dict[str, float], int]:
    """Returns the share of each hyperparameter, the greatest first, their uncertainty, and the
    number of trials.

    The shares are those of PED-ANOVA (Watanabe, Bansal and Hutter 2023). They say how much the best
    trials differ from all. Pruned trials count with their last value. Without them, a choice that
    was always pruned would seem to have no influence. With fewer than ENOUGH trials there are no
    shares. The uncertainty is the standard deviation over bootstrap samples of the trials.

    Raises:
        StudyError: the study does not exist.
    """
    trials = [
        trial
        for trial in frozen_trials(store, study, (TrialState.COMPLETE, TrialState.PRUNED))
        if trial.value is not None and math.isfinite(trial.value)
    ]
    if len(trials) < ENOUGH:
        return {}, {}, len(trials)
    shares = _shares(trials)
    draw = random.Random(0)
    again = [_shares(draw.choices(trials, k=len(trials))) for _ in range(RESAMPLES)]
    errors = {name: stdev(one.get(name, 0.0) for one in again) for name in shares}
    return dict(sorted(shares.items(), key=lambda item: -item[1])), errors, len(trials)


def _shares(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Returns the share of each hyperparameter; empty if nothing was searched or nothing varied."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns of few trials in a branch; the report says how many there are
        copy = optuna.create_study(direction="maximize")
        copy.add_trials(
            create_trial(value=trial.value, params=trial.params, distributions=trial.distributions) for trial in trials
        )
        evaluator = PedAnovaImportanceEvaluator(target_quantile=best_of(len(trials)) / len(trials))
        try:
            by_key = get_param_importances(copy, evaluator=evaluator)
        except (ValueError, RuntimeError):
            return {}
    shares: dict[str, float] = {}
    for key, share in by_key.items():  # the alternatives of a hyperparameter are one
        shares[name_of(key)] = shares.get(name_of(key), 0.0) + share
    return shares
