"""Samplers: from what a sweep says to Optuna's objects, seeded so that a study can be continued."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from fer_tune.errors import StudyError
from fer_tune.study.cmaes import ReplayedCmaEsSampler
from fer_tune.study.memory_constraint import LearningSampler
from fer_tune.sweep.schema import Sweep

NEEDS = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",), "qmc": ("scipy",)}
"""Packages that a sampler imports only when it first draws, by which time others have trained for
an hour."""


class RepeatableRandomSampler(RandomSampler):
    """Random search in which a draw depends on nothing but the seed, its place in the study, and
    its key.

    So an interrupted and continued study, one with requeued trials, and one run by more workers
    draw the same configurations as an undisturbed one.

    Args:
        seed: of the study.
        place: from a trial's number to its place among the draws; a requeued trial keeps its place.
    """

    def __init__(self, seed: int, place: Callable[[int], int]) -> None:
        super().__init__(seed=seed)
        self._seed = seed
        self._place = place
        self._known = (-1, -1)  # number and place of the trial that is being drawn

    def reseed_rng(self) -> None:
        """Nothing to do: no draw depends on those before it."""

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One value of one parameter."""
        if self._known[0] != trial.number:
            self._known = (trial.number, self._place(trial.number))
        digest = hashlib.sha256(f"{self._seed}/{self._known[1]}/{param_name}".encode()).digest()
        source = RandomSampler(seed=int.from_bytes(digest[:4], "big"))
        return source.sample_independent(study, trial, param_name, param_distribution)


def make_sampler(sweep: Sweep, trials: int, place: Callable[[int], int]) -> BaseSampler:
    """The sweep's sampler; that it fits the space was checked when the sweep was loaded.

    Args:
        trials: how many the study has already. It shifts the seed of samplers whose random state
            dies with their process, so that a continued study does not replay the draws it began
            with.
        place: see `RepeatableRandomSampler`.

    Raises:
        StudyError: a package that it needs is missing.
    """
    spec = sweep.sampler
    _check(spec.name)
    seed = sweep.seed if spec.seed is None else spec.seed
    shifted = (seed + trials) % 2**32
    random = RepeatableRandomSampler(seed, place)
    # What these samplers cannot draw jointly they draw independently. It is what conditions ask
    # for, no mishap to be warned of at every trial.
    independent: dict[str, Any] = {"independent_sampler": random, "warn_independent_sampling": False}
    with warnings.catch_warnings():
        # TPE's group, QMC and others are marked experimental: their interface may change, and
        # versions are pinned.
        warnings.simplefilter("ignore", ExperimentalWarning)
        match spec.name:
            case "tpe":
                return LearningSampler(TPESampler(seed=shifted, **spec.options))
            case "gp":
                return LearningSampler(GPSampler(seed=shifted, **independent, **spec.options))
            case "cmaes":
                return LearningSampler(ReplayedCmaEsSampler(seed=shifted, **independent, **spec.options))
            case "qmc":  # the sequence is one for the study, and the database counts its points: never shifted
                return QMCSampler(seed=seed, **independent, **spec.options)
            case "random":
                return random
    raise StudyError(f"There is no sampler {spec.name}.", "Samplers: tpe, gp, random, cmaes, qmc.")


def _check(name: str) -> None:
    missing = [package for package in NEEDS.get(name, ()) if find_spec(package) is None]
    if missing:
        raise StudyError(f"The sampler {name} needs {' and '.join(missing)}.", f"pip install {' '.join(missing)}")
