"""The keys of a sweep, and a sweep whose file is valid. `load.load_sweep` makes it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from fer_tune.data.fer2013 import SIDE
from fer_tune.data.policy import SplitPolicy
from fer_tune.job import ObjectiveOf, Value
from fer_tune.settings import STUDY_NAME
from fer_tune.sweep.catalogue import describe_value
from fer_tune.sweep.durations import ALLOWED, hours
from fer_tune.sweep.samplers_and_pruners import PRUNERS, SAMPLERS, PrunerSpec, SamplerSpec, Section
from fer_tune.sweep.search_spec import ScheduleSpec, SearchSpec
from fer_tune.sweep.space import Parameter, Space

__all__ = [
    "OBJECTIVES",
    "PRUNERS",
    "SAMPLERS",
    "STUDY_NAME",
    "Budget",
    "Images",
    "Objective",
    "PrunerSpec",
    "SamplerSpec",
    "ScheduleSpec",
    "SearchKeys",
    "SearchSpec",
    "Section",
    "Start",
    "Sweep",
    "SweepKeys",
    "SweepLimits",
]  # fmt: skip

Objective = Literal["val_accuracy", "val_macro_f1", "val_balanced_accuracy"]
OBJECTIVES: tuple[str, ...] = get_args(Objective)
"""Fields of `EpochRow` that a study can maximise."""


MOST_LANES = 64
"""The highest number of lanes. Measured, more than 16 were never worth it."""


def are_lanes(given: object) -> bool:
    """Returns whether this is `auto` or a possible number of lanes."""
    return given == "auto" or (type(given) is int and 1 <= given <= MOST_LANES)


def _lanes(given: Any) -> Any:
    """Returns a number of lanes as it was given.

    Raises:
        ValueError: it is not valid.
    """
    if not are_lanes(given):
        raise ValueError(f"must be auto, or a whole number from 1 to {MOST_LANES}, not {describe_value(given)}")
    return given


def _hours(given: Any) -> Any:
    """Returns hours that were given as a time such as `90m`. Everything else stays as it is.

    Raises:
        ValueError: it is a text, and not a time.
    """
    if not isinstance(given, str):
        return given
    found = hours(given)
    if found is None:
        raise ValueError(f"must be {ALLOWED}, not {describe_value(given)}")
    return found


Hours = Annotated[float | None, BeforeValidator(_hours)]


class Budget(Section):
    """When a study ends: at the first limit that it reaches."""

    trials: int = Field(50, ge=1, le=1_000_000, description="number of finished trials, failed ones included")
    epochs: int = Field(20, ge=1, le=10_000, description="length of a trial and of its learning-rate schedule")
    hours: Hours = Field(None, gt=0, le=10_000, description="wall time of one run")
    gpu_hours: Hours = Field(
        None, gt=0, le=1e6, description="hours of all devices together, over all runs of the study"
    )
    patience: int | None = Field(
        None, ge=1, description="the study ends if so many more trials would gain less than a standard error"
    )


class Images(Section):
    """The images to train on, and what they are turned into before training."""

    path: str = Field("fer2013", pattern=r"^[^\x00-\x1f]+$", description="fer2013, demo, or a path")
    side: int = Field(SIDE, ge=8, le=512, description="height and width in pixels; images are resized to it")
    channels: Literal[1, 3] = Field(1, description="1 makes the images grey, 3 keeps their colours")


class SearchKeys(Section):
    """What is searched, and how.

    `load` reads the fields of type Any, which depend on the family.
    """

    study: str | None = Field(None, description="the study's name; default is the file's")
    family: str = Field(description="the architecture")
    weights: str | None = Field(
        None, description="a file of weights that a network of torchvision starts from, or a model's folder"
    )
    data: Any = Field(None, description="fer2013, demo, a path, or {path: ..., side: 64, channels: 3}")
    split: Any = None
    objective: Objective = Field("val_accuracy", description="what is maximised")
    objective_of: ObjectiveOf = Field(
        "max", description="a trial's value: of its best epoch (max), its last one, or the mean of its last five"
    )
    sampler: Any = None
    pruner: Any = None
    search: Any = None
    schedule: Any = None
    budget: Any = None
    seed: int = Field(0, ge=0, le=2**32 - 1, description="seed of the sampler and of the trials")
    patience: int = Field(0, ge=0, description="a trial ends after so many epochs without a better value; 0 is never")
    retries: int = Field(2, ge=0, le=100, description="how often a trial is continued after its worker died")
    lanes: Annotated[int | Literal["auto"], BeforeValidator(_lanes)] = Field(
        "auto", description="trials that a worker trains at the same time; auto measures it on a GPU"
    )
    params: Any = None
    start: Any = None
    extends: str | None = Field(None, description="another sweep, whose keys this one inherits")


class SweepLimits(Section):
    """How long a run waits before it acts, in seconds. No limit changes what a trial measures."""

    trial_timeout: float | None = Field(
        None, gt=0, le=1e8, description="seconds that a trial may take, all attempts together; null sets no limit"
    )
    hang_timeout: float = Field(
        300.0,
        gt=0,
        le=1e8,
        description="a worker that is silent so long (or for 20 of the slowest epochs) is stopped",
    )
    checkpoint_interval: float = Field(30.0, ge=0, le=1e8, description="seconds between a trial's checkpoints")
    storage_patience: float = Field(
        600.0, ge=0, le=1e8, description="seconds that a run waits while the disk is full or the database is locked"
    )


class SweepKeys(SweepLimits, SearchKeys):
    """All keys of a sweep."""


@dataclass(frozen=True)
class Start:
    """A configuration to try first, by hyperparameter. The sampler fills in what it leaves out."""

    name: str | None
    params: dict[str, Value]


@dataclass(frozen=True)
class Sweep:
    """A valid sweep.

    Attributes:
        study: name of its study.
        family: key of `models.FAMILIES`.
        data: `fer2013`, `demo` or a path, as the sweep names it.
        side, channels: see `Images`.
        objective: the field of `EpochRow` to maximise.
        objective_of: which epochs decide the objective of a trial.
        seed: the seed of the sampler and of the trials.
        patience: see `Job`.
        retries: how often a trial is continued after its worker died.
        lanes: how many trials a worker trains at the same time.
        space: what is searched and what is fixed. Everything else has its default.
        start: configurations to try first, in order.
        path: the file.
        text: the text of the file. With overrides it is the text of a sweep that has them in it.
        notes: what the overrides excluded.
        limits: how long a run waits before it acts.
        search: whether poor trials are pruned, or paused at rungs.
        schedule: whether the sequence of trials depends on timing.
        prior_origin: where the study of the prior was written, as errors name it: `line 12`.
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
    limits: SweepLimits = field(default_factory=SweepLimits)
    side: int = SIDE
    channels: int = 1
    search: SearchSpec = field(default_factory=SearchSpec)
    schedule: ScheduleSpec = field(default_factory=ScheduleSpec)
    objective_of: ObjectiveOf = "max"
    lanes: int | Literal["auto"] = "auto"
    prior_origin: str = field(default="", compare=False)

    def describe(self) -> dict[str, Any]:
        """Returns what makes the trials of a study comparable, as JSON-able data.

        A study keeps it and refuses a sweep that differs. Trials, hours, retries, lanes, limits,
        start, sampler, pruner, search and schedule are not in it: they decide what is tried and for
        how long, not what a measurement means. The path of the data is not in it either: the study
        compares the signature of the images.
        """
        # A study from before there was a choice has the first one.
        chosen = {} if self.objective_of == "max" else {"objective_of": self.objective_of}
        return chosen | {
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
        """Returns the SHA-256 of `describe`, 64 hex digits.

        The layout of the file does not matter.
        """
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
            "objective_of": self.objective_of,
            "sampler": self.sampler.plain(),
            "pruner": self.pruner.plain(),
            "search": self.search.model_dump(by_alias=True),
            "schedule": self.schedule.model_dump(),
            "budget": self.budget.model_dump(),
            "seed": self.seed,
            "patience": self.patience,
            "retries": self.retries,
            "lanes": self.lanes,
            **self.limits.model_dump(),
            "params": params,
            "start": [({"name": start.name} if start.name else {}) | start.params for start in self.start],
        }


def _written(parameter: Parameter) -> Any:
    """Returns a parameter as a sweep writes it."""
    plain = parameter.domain.plain()
    if not parameter.when:
        return plain
    body = plain if isinstance(plain, dict) else {"value": plain}
    return body | {"when": {name: list(values) for name, values in sorted(parameter.when.items())}}
