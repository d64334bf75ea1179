"""Pruners: from what a sweep says to Optuna's objects. A step is an epoch, counted from 1."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.study import Study
from optuna.trial import create_trial

from fer_tune.errors import StudyError
from fer_tune.sweep.schema import PrunerSpec

RUNG = "completed_rung_"
"""Prefix of the system attributes in which successive halving and hyperband keep what a trial
reached."""


def make_pruner(spec: PrunerSpec, epochs: int) -> BasePruner:
    """The sweep's pruner, for trials of at most `epochs` epochs.

    Raises:
        StudyError: the options leave the pruner nothing to prune by.
    """
    options = dict(spec.options)
    match spec.name:
        case "median":
            return MedianPruner(**options)
        case "percentile":
            return PercentilePruner(**options)
        case "successive_halving":
            return SuccessiveHalvingPruner(**options)
        case "hyperband":
            # With `auto`, nothing is pruned until a trial completes, and the brackets depend on
            # which that is.
            top = options.pop("max_resource", None) or epochs
            if options.get("min_resource", 1) > top:
                raise StudyError(f"hyperband's min_resource {options['min_resource']} is above its max_resource {top}.")
            return HyperbandPruner(max_resource=top, **options)
        case "patient":
            wrapped = options.pop("wrapped_pruner", None)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)  # its interface may change; versions are pinned
                return PatientPruner(make_pruner(wrapped, epochs) if wrapped else None, **options)
        case "none":
            return NopPruner()
    raise StudyError(f"There is no pruner {spec.name}.", "Pruners: " + ", ".join(NAMES) + ".")


NAMES = ("median", "percentile", "successive_halving", "hyperband", "patient", "none")


def warm_up(study: Study) -> None:
    """Asks the pruner about a trial that has reported nothing.

    Hyperband makes its brackets at the first question; before it, a process takes every trial to be
    in bracket 0, and the sampler would see other trials than it did before the study was continued.
    """
    study.pruner.prune(study, create_trial(value=0.0))
