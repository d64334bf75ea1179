"""What a sweep is, once its file was found to be valid. `load.load_sweep` makes it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fer_tune.data.policy import SplitPolicy
from fer_tune.job import Value
from fer_tune.sweep.space import Parameter, Space

Objective = Literal["val_accuracy", "val_macro_f1", "val_balanced_accuracy"]
OBJECTIVES: tuple[str, ...] = get_args(Objective)
"""Fields of `EpochRow` that a study can maximise."""

STUDY_NAME = r"(?!\.)[A-Za-z0-9._-]{0,63}[A-Za-z0-9_-]"
"""A study's name is part of file names, so it cannot name another folder or a hidden file."""


class Section(BaseModel):
    """Base of the sections of a sweep: typed without conversion, nothing unknown accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Budget(Section):
    """Where a study ends: whichever limit is met first."""

    trials: int = Field(50, ge=1, le=1_000_000, description="finished trials, failed ones included")
    epochs: int = Field(20, ge=1, le=10_000, description="the longest a trial may be, and its schedule's length")
    hours: float | None = Field(None, gt=0, le=10_000, description="wall time of one run")


class Images(Section):
    """The images to train on, and what they are turned into before training."""

    path: str = Field("fer2013", pattern=r"^[^\x00-\x1f]+$", description="fer2013, demo, or a path")
    side: int = Field(48, ge=8, le=512, description="height and width in pixels; images are resized to it")
    channels: Literal[1, 3] = Field(1, description="1 makes the images grey, 3 keeps their colours")


class Search(Section):
    """What is searched, and how; `load` looks into the fields typed Any, which depend on the family."""

    study: str | None = Field(None, description="the study's name; default is the file's")
    family: str = Field(description="the architecture")
    data: Any = Field(None, description="fer2013, demo, a path, or {path: ..., side: 64, channels: 3}")
    split: Any = None
    objective: Objective = Field("val_accuracy", description="what is maximised")
    sampler: Any = None
    pruner: Any = None
    budget: Any = None
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of the sampler and the trials")
    patience: int = Field(0, ge=0, description="epochs without a better objective that end a trial; 0 is never")
    retries: int = Field(2, ge=0, le=100, description="how often a trial is tried again after its worker died")
    params: Any = None
    start: Any = None


class Limits(Section):
    """What a run bears with before it acts; all of it in seconds, and none of it changes what a trial measures."""

    trial_timeout: float | None = Field(
        None, gt=0, le=1e8, description="seconds that a trial may take, its further tries included; null is no limit"
    )
    hang_timeout: float = Field(
        300.0, gt=0, le=1e8, description="seconds without an epoch (or 20 of the slowest so far) that end a worker"
    )
    checkpoint_interval: float = Field(30.0, ge=0, le=1e8, description="seconds between a trial's checkpoints")
    storage_patience: float = Field(
        600.0, ge=0, le=1e8, description="seconds that a run waits for a full disk or a locked database"
    )


class Header(Limits, Search):
    """All keys of a sweep, the search's first."""


class SamplerSection(Section):
    """What all samplers take."""

    seed: int | None = Field(None, ge=0, le=2**32 - 1, description="default is the sweep's")


class TPE(SamplerSection):
    """Options of Optuna's TPESampler; `group` samples each branch of a conditional space jointly."""

    n_startup_trials: int = Field(10, ge=0)
    n_ei_candidates: int = Field(24, ge=1)
    multivariate: bool = True
    group: bool = True
    constant_liar: bool = True

    @model_validator(mode="after")
    def _grouped_only_together(self) -> TPE:
        if self.group and not self.multivariate:
            raise ValueError("group needs multivariate: set group: false too")
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


class Median(Section):
    """Options of Optuna's MedianPruner; a step is an epoch."""

    n_startup_trials: int = Field(5, ge=0)
    n_warmup_steps: int = Field(0, ge=0)
    interval_steps: int = Field(1, ge=1)
    n_min_trials: int = Field(1, ge=1)


class Percentile(Median):
    """Options of Optuna's PercentilePruner: trials below the best `percentile` per cent are pruned."""

    percentile: float = Field(25.0, ge=0, le=100)


class SuccessiveHalving(Section):
    """Options of Optuna's SuccessiveHalvingPruner; a resource is an epoch, and `auto` is not offered: it waits."""

    min_resource: int = Field(1, ge=1)
    reduction_factor: int = Field(4, ge=2)
    min_early_stopping_rate: int = Field(0, ge=0)
    bootstrap_count: int = Field(0, ge=0)


class Hyperband(Section):
    """Options of Optuna's HyperbandPruner; `max_resource` is the budget's epochs unless given."""

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
    """Options of Optuna's PatientPruner: what `wrapped_pruner` prunes, after `patience` epochs without a gain."""

    wrapped_pruner: Any = None
    patience: int = Field(3, ge=0)
    min_delta: float = Field(0.0, ge=0)


class Nothing(Section):
    """No pruning has no options."""


SAMPLERS: dict[str, type[SamplerSection]] = {"tpe": TPE, "gp": GP, "random": Random, "cmaes": CmaEs, "qmc": QMC}
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
    """A sampler with all its options, by Optuna's names; `seed` None means the sweep's."""

    name: str
    seed: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As a sweep writes it."""
        return {"name": self.name} | ({} if self.seed is None else {"seed": self.seed}) | self.options


@dataclass(frozen=True)
class PrunerSpec:
    """A pruner with all its options, by Optuna's names; patient's `wrapped_pruner` is a PrunerSpec or None."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As a sweep writes it."""
        options = {key: o.plain() if isinstance(o, PrunerSpec) else o for key, o in self.options.items()}
        return {"name": self.name} | options


@dataclass(frozen=True)
class Start:
    """A configuration to try first, by hyperparameter; the sampler fills in what it leaves out."""

    name: str | None
    params: dict[str, Value]


@dataclass(frozen=True)
class Sweep:
    """A valid sweep.

    Attributes:
        study: name of its study.
        family: key of `models.FAMILIES`.
        data: `fer2013`, `demo` or a path, unresolved.
        side, channels: see `Images`.
        objective: the field of `EpochRow` to maximise.
        seed: of the sampler and the trials.
        patience: see `Job`.
        retries: how often a trial is tried again after its worker died.
        space: what is searched and what is fixed; all else takes the catalogue's default.
        start: configurations to try first, in order.
        path: the file.
        text: the sweep as it is run: the file's text or, with overrides, an equal one that has them in it.
        notes: what the overrides left out.
        limits: what a run of it bears with.
    """

    study: str
    family: str
    data: str
    split: SplitPolicy
    objective: Objective
    sampler: SamplerSpec
    pruner: PrunerSpec
    budget: Budget
    seed: int
    patience: int
    retries: int
    space: Space
    start: tuple[Start, ...]
    path: Path
    text: str = ""
    notes: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    side: int = 48
    channels: int = 1

    def describe(self) -> dict[str, Any]:
        """Returns what makes the trials of a study comparable, as JSON-able data.

        A study keeps it and refuses a sweep that differs. Trials, hours, retries, limits, start, sampler
        and pruner are not in it: they decide what is tried and for how long, not what a measurement
        means. The path of the data is not in it either: the study compares the signature of the images.
        """
        return {
            "family": self.family,
            "data": {"side": self.side, "channels": self.channels},
            "split": self.split.model_dump(),
            "objective": self.objective,
            "epochs": self.budget.epochs,
            "patience": self.patience,
            "seed": self.seed,
            "space": {key: _written(parameter) for key, parameter in sorted(self.space.items())},
        }

    def signature(self) -> str:
        """SHA-256 of `describe`, 64 hex digits; equal sweeps have equal ones, however their files are laid out."""
        text = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def plain(self) -> dict[str, Any]:
        """Returns the sweep as plain data that, written as YAML, loads as an equal sweep."""
        images = {"path": self.data, "side": self.side, "channels": self.channels}
        params: dict[str, Any] = {}
        for key, parameter in self.space.items():
            written = _written(parameter)
            if key == parameter.name:
                params[key] = written
            else:
                params.setdefault(parameter.name, []).append(written)
        return {
            "study": self.study,
            "family": self.family,
            "data": images,
            "split": self.split.model_dump(),
            "objective": self.objective,
            "sampler": self.sampler.plain(),
            "pruner": self.pruner.plain(),
            "budget": self.budget.model_dump(),
            "seed": self.seed,
            "patience": self.patience,
            "retries": self.retries,
            **self.limits.model_dump(),
            "params": params,
            "start": [({"name": start.name} if start.name else {}) | start.params for start in self.start],
        }


def _written(parameter: Parameter) -> Any:
    """A parameter as a sweep writes it."""
    plain = parameter.domain.plain()
    if not parameter.when:
        return plain
    body = plain if isinstance(plain, dict) else {"value": plain}
    return body | {"when": {name: list(values) for name, values in sorted(parameter.when.items())}}
