"""Makes Optuna's sampler from a sweep, with a seed that suits a continued study."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from fer_tune.errors import StudyError
from fer_tune.job import Value
from fer_tune.study.cmaes import ReplayedCmaEsSampler
from fer_tune.study.configurations import Cube
from fer_tune.study.guided import GuidedSampler
from fer_tune.study.proposals import Guide, Proposer
from fer_tune.study.sampler_view import LearningSampler
from fer_tune.study.tpe import OnceTPESampler
from fer_tune.sweep.samplers_and_pruners import KNOW_OFF
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Range

NEEDS = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",), "qmc": ("scipy",)}
"""Packages that a sampler imports only when it first draws. By then, trials may have trained for an
hour."""


class RepeatableRandomSampler(RandomSampler):
    """Random search in which a draw depends only on the seed, the trial's position and the key.

    So an interrupted study draws the same configurations as one without interruptions. Requeued
    trials and the number of workers do not matter.

    Args:
        seed: of the study.
        place: returns the position among the draws for a trial's number. A requeued trial has the
            position of the interrupted one.
        off: for each key of a range that may be off the share of draws that are, and the value.
    """

    def __init__(
        self, seed: int, place: Callable[[int], int], off: Mapping[str, tuple[float, Value]] | None = None
    ) -> None:
        super().__init__(seed=seed)
        self._seed = seed
        self._place = place
        self._off = off or {}
        self._known = (-1, -1)  # number and position of the trial that is being drawn

    def reseed_rng(self) -> None:
        """Does nothing, because no draw depends on earlier ones."""

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Returns one value of one parameter."""
        if self._known[0] != trial.number:
            self._known = (trial.number, self._place(trial.number))
        digest = hashlib.sha256(f"{self._seed}/{self._known[1]}/{param_name}".encode()).digest()
        share, low = self._off.get(param_name, (0.0, 0.0))
        if int.from_bytes(digest[4:8], "big") < share * 2**32:
            return low
        source = RandomSampler(seed=int.from_bytes(digest[:4], "big"))
        return source.sample_independent(study, trial, param_name, param_distribution)


def make_sampler(
    sweep: Sweep, trials: int, place: Callable[[int], int], centres: Sequence[Mapping[str, Value]] = ()
) -> BaseSampler:
    """Returns the sweep's sampler. The sweep has already checked that it suits the space.

    A search with rungs or a prior has a guided sampler, and the sweep's sampler is its model.

    Args:
        trials: how many trials the study has. It shifts the seed of samplers whose random state is
            lost with their process. Without that, a continued study would repeat its first draws.
        place: see `RepeatableRandomSampler`.
        centres: the configurations of the sweep's prior, by key.

    Raises:
        StudyError: a package that the sampler needs is not installed, or there is no sampler of
            this name.
    """
    proposer = Proposer(Guide.of(sweep, centres), Cube(sweep.space))
    if sweep.sampler.name == "effects":
        return GuidedSampler(proposer, place)
    model = _of_optuna(sweep, trials, place)
    return GuidedSampler(proposer, place, model) if _is_guided(sweep) else model


def _is_guided(sweep: Sweep) -> bool:
    promotes = sweep.search.strategy == "promote" and sweep.sampler.name != "random"
    return sweep.sampler.name == "effects" or sweep.search.prior is not None or promotes


def begins_with_off(sweep: Sweep) -> bool:
    """Returns whether the first draws of a search know `off` of a range.

    All draws of `effects` and `random` do. A guided sampler first draws by chance, and `gp` and
    `cmaes` first draw independently.
    """
    name, startup = sweep.sampler.name, sweep.sampler.options.get("n_startup_trials", 0)
    return name in KNOW_OFF or _is_guided(sweep) or (name in ("gp", "cmaes") and startup > 1)


def _of_optuna(sweep: Sweep, trials: int, place: Callable[[int], int]) -> BaseSampler:
    """Returns Optuna's sampler of the sweep's name."""
    spec = sweep.sampler
    _check(spec.name)
    seed = sweep.seed if spec.seed is None else spec.seed
    shifted = (seed + trials) % 2**32
    off = {key: (one.domain.off, one.domain.low) for key, one in sweep.space.items() if isinstance(one.domain, Range)}
    random = RepeatableRandomSampler(seed, place, off)
    # These samplers draw independently what they cannot draw jointly. Conditional parameters need
    # that, so it deserves no warning at every trial.
    # A prime, so that the seeds of two studies with near seeds do not meet at once.
    by_place = (
        (lambda number: (seed + 7919 * place(number)) % 2**32) if sweep.schedule.name == "deterministic" else None
    )
    independent: dict[str, Any] = {"independent_sampler": random, "warn_independent_sampling": False}
    with warnings.catch_warnings():
        # TPE's group, QMC and others are marked experimental, because their interface may change.
        # Our versions are bounded.
        warnings.simplefilter("ignore", ExperimentalWarning)
        match spec.name:
            case "tpe":
                return LearningSampler(OnceTPESampler(place, seed=shifted, **spec.options), bounded=True, seed=by_place)
            case "gp":
                return LearningSampler(GPSampler(seed=shifted, **independent, **spec.options), seed=by_place)
            case "cmaes":
                return LearningSampler(ReplayedCmaEsSampler(seed=shifted, **independent, **spec.options), seed=by_place)
            case "qmc":  # not shifted: a study has one sequence, and the database counts its points
                return QMCSampler(seed=seed, **independent, **spec.options)
            case "random":
                return random
    raise StudyError(f"There is no sampler {spec.name}.", "The samplers are tpe, gp, random, cmaes, qmc, effects.")


def _check(name: str) -> None:
    missing = [package for package in NEEDS.get(name, ()) if find_spec(package) is None]
    if missing:
        raise StudyError(f"The sampler {name} needs {' and '.join(missing)}.", f"pip install {' '.join(missing)}")
