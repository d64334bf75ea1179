"""The samplers and pruners that a sweep may name, and their options, under Optuna's names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """Base of the sections of a sweep. Values are not converted, and unknown keys are refused.

    A sweep names few of them, so pydantic prepares a section only when its first value is checked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class SamplerSection(Section):
    """The options of every sampler."""

    seed: int | None = Field(None, ge=0, le=2**32 - 1, description="default is the sweep's")


class TPE(SamplerSection):
    """Options of Optuna's TPESampler.

    `group` samples each branch of a conditional space jointly.
    """

    n_startup_trials: int = Field(10, ge=0)
    n_ei_candidates: int = Field(24, ge=1)
    multivariate: bool = True
    group: bool = True
    constant_liar: bool = True

    @model_validator(mode="after")
    def _grouped_only_together(self) -> TPE:
        if self.group and not self.multivariate:
            raise ValueError("group needs multivariate: set group: false, too")
        return self


class GP(SamplerSection):
    """Options of Optuna's GPSampler."""

    n_startup_trials: int = Field(10, ge=0)
    deterministic_objective: bool = False


class Random(SamplerSection):
    """Random search has no options."""


class CmaEs(SamplerSection):
    """Options of Optuna's CmaEsSampler."""

    n_startup_trials: int = Field(1, ge=0)
    popsize: int | None = Field(None, ge=2)


class QMC(SamplerSection):
    """Options of Optuna's QMCSampler."""

    qmc_type: Literal["sobol", "halton"] = "sobol"
    scramble: bool = True


class Effects(SamplerSection):
    """Options of fer-tune's own model: one effect for each hyperparameter."""

    n_startup_trials: int = Field(12, ge=1)


class Median(Section):
    """Options of Optuna's MedianPruner. A step is an epoch."""

    n_startup_trials: int = Field(5, ge=0)
    n_warmup_steps: int = Field(0, ge=0)
    interval_steps: int = Field(1, ge=1)
    n_min_trials: int = Field(1, ge=1)


class Percentile(Median):
    """Options of Optuna's PercentilePruner.

    It prunes trials below the best `percentile` per cent.
    """

    percentile: float = Field(25.0, ge=0, le=100)


class SuccessiveHalving(Section):
    """Options of Optuna's SuccessiveHalvingPruner. A resource is an epoch.

    `min_resource: auto` is not offered: it prunes nothing until a trial is complete.
    """

    min_resource: int = Field(1, ge=1)
    reduction_factor: int = Field(4, ge=2)
    min_early_stopping_rate: int = Field(0, ge=0)
    bootstrap_count: int = Field(0, ge=0)


class Hyperband(Section):
    """Options of Optuna's HyperbandPruner. By default `max_resource` is the budget's epochs."""

    min_resource: int = Field(1, ge=1)
    max_resource: int | None = Field(None, ge=1)
    reduction_factor: int = Field(3, ge=2)
    bootstrap_count: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _rises(self) -> Hyperband:
        if self.max_resource is not None and self.max_resource < self.min_resource:
            raise ValueError(f"max_resource {self.max_resource} is below min_resource {self.min_resource}")
        return self


class Patient(Section):
    """Options of Optuna's PatientPruner.

    It prunes what `wrapped_pruner` prunes, after `patience` epochs.
    """

    wrapped_pruner: Any = None
    patience: int = Field(3, ge=0)
    min_delta: float = Field(0.0, ge=0)


class Nothing(Section):
    """No pruning, which has no options."""


SAMPLERS: dict[str, type[SamplerSection]] = {
    "tpe": TPE,
    "gp": GP,
    "random": Random,
    "cmaes": CmaEs,
    "qmc": QMC,
    "effects": Effects,
}
KNOW_OFF = ("effects", "random")
"""The samplers that know `off` of a range in all their draws."""

PRUNERS: dict[str, type[Section]] = {
    "median": Median,
    "percentile": Percentile,
    "successive_halving": SuccessiveHalving,
    "hyperband": Hyperband,
    "patient": Patient,
    "none": Nothing,
}


@dataclass(frozen=True)
class SamplerSpec:
    """A sampler with all its options. `seed` None means the sweep's."""

    name: str
    seed: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Returns it as a sweep writes it."""
        return {"name": self.name} | ({} if self.seed is None else {"seed": self.seed}) | self.options


@dataclass(frozen=True)
class PrunerSpec:
    """A pruner with all its options. `wrapped_pruner` of `patient` is a PrunerSpec or None."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Returns it as a sweep writes it."""
        options = {key: o.plain() if isinstance(o, PrunerSpec) else o for key, o in self.options.items()}
        return {"name": self.name} | options
