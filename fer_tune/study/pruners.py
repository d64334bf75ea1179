"""Makes Optuna's pruner from a sweep. A step is an epoch, counted from 1."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    NopPruner,
    PatientPruner,
    SuccessiveHalvingPruner,
)
from optuna.study import Study
from optuna.trial import create_trial

from fer_tune.errors import StudyError
from fer_tune.study.percentile import OncePercentilePruner
from fer_tune.sweep.schema import PrunerSpec

RUNG = "completed_rung_"
"""Prefix of the system attributes in which successive halving and hyperband keep a trial's
rungs."""


def make_pruner(spec: PrunerSpec, epochs: int) -> BasePruner:
    """Returns the sweep's pruner.

    Args:
        epochs: the highest number of epochs of a trial.

    Raises:
        StudyError: an option is not valid, or there is no pruner of this name.
    """
    options = dict(spec.options)
    match spec.name:
        case "median":
            return OncePercentilePruner(50.0, **options)
        case "percentile":
            return OncePercentilePruner(**options)
        case "successive_halving":
            return SuccessiveHalvingPruner(**options)
        case "hyperband":
            # With `auto`, Optuna prunes nothing until a trial completes, and the brackets depend on
            # that trial.
            top = options.pop("max_resource", None) or epochs
            if options.get("min_resource", 1) > top:
                raise StudyError(
                    f"The pruner hyperband has min_resource {options['min_resource']} above max_resource {top}.",
                    "Lower min_resource, or raise max_resource or the epochs.",
                )
            return HyperbandPruner(max_resource=top, **options)
        case "patient":
            wrapped = options.pop("wrapped_pruner", None)
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", ExperimentalWarning
                )  # its interface may change; our versions are bounded
                return PatientPruner(make_pruner(wrapped, epochs) if wrapped else None, **options)
        case "none":
            return NopPruner()
    raise StudyError(f"There is no pruner {spec.name}.", "The pruners are " + ", ".join(NAMES) + ".")


NAMES = ("median", "percentile", "successive_halving", "hyperband", "patient", "none")


def warm_up(study: Study) -> None:
    """Asks the pruner about an empty trial, so that hyperband makes its brackets.

    Hyperband makes them when it is asked first. Before that, it counts every trial to bracket 0. A
    continued study would then show its sampler other trials than before.
    """
    study.pruner.prune(study, create_trial(value=0.0))
