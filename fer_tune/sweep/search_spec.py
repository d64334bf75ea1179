"""The sections `search` and `schedule` of a sweep: how trials stop, and what a draw knows."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator, model_validator

from fer_tune.sweep.catalogue import describe_value
from fer_tune.sweep.samplers_and_pruners import Section

Compared = Literal["objective", "val_loss"]
"""What rungs compare of their trials."""

OF_RUNGS = ("rungs", "first", "compare", "keep_gb")
"""Options of `SearchSpec` that do nothing without rungs. The arms of a prior use `factor` too."""


class PriorSpec(Section):
    """Which configurations are believed to be good, and how firmly."""

    source: Literal["start"] | None = Field(None, alias="from", description="start: the configurations of `start`")
    study: str | None = Field(None, description="another study of the database: its best trials")
    confidence: Literal["low", "medium", "high"] = Field("medium", description="how often and how near to draw")

    @field_validator("study")
    @classmethod
    def _is_named(cls, study: str | None) -> str | None:
        if study is not None and not study.strip():
            raise ValueError("must be the name of a study")
        return study

    @model_validator(mode="after")
    def _one_source(self) -> PriorSpec:
        if (self.source is None) == (self.study is None):
            raise ValueError("a prior needs either from: start, or study: NAME")
        return self


class SearchSpec(Section):
    """How the search divides its budget between many short trials and few long ones.

    `prune` trains each trial to its end unless the pruner stops it. `promote` pauses each trial at
    rungs, and continues the best ones.
    """

    strategy: Literal["prune", "promote"] = Field("prune", description="prune, or promote: pause trials at rungs")
    rungs: list[int] | None = Field(None, description="epochs at which trials pause; default is first and factor")
    factor: int = Field(4, ge=2, le=100, description="one in so many trials of a rung continues to the next")
    first: int | None = Field(None, ge=1, description="the lowest rung; default is a tenth of the epochs")
    compare: Compared = Field("objective", description="what rungs compare: the objective, or val_loss")
    prior: PriorSpec | None = Field(None, description="draw more often near `start`, or near the best of {study: NAME}")
    keep_gb: float = Field(8.0, ge=0, le=1e6, description="space for the checkpoints of paused trials, in GB")

    @field_validator("rungs", mode="before")
    @classmethod
    def _is_list(cls, given: object) -> object:
        if given is not None and not isinstance(given, list):
            raise ValueError(f"must be a list of epochs, such as [4, 12], not {describe_value(given)}")
        return given

    @field_validator("prior", mode="before")
    @classmethod
    def _is_mapping(cls, given: object) -> object:
        if given is not None and not isinstance(given, dict | PriorSpec):
            raise ValueError(f"must be a mapping, such as {{from: start}}, not {describe_value(given)}")
        return given

    @field_validator("rungs")
    @classmethod
    def _rungs_rise(cls, rungs: list[int] | None) -> list[int] | None:
        given = rungs or []
        if any(rung < 1 for rung in given) or any(low >= high for low, high in pairwise(given)):
            raise ValueError(f"must be rising epochs from 1, such as [4, 12], not {given}")
        return rungs


class ScheduleSpec(Section):
    """What a decision of the search may know.

    `asynchronous` knows all that has been measured. `deterministic` decides in logical rounds, in
    which each logical slot trains one epoch. So the sequence of trials does not depend on timing.
    """

    name: Literal["asynchronous", "deterministic"] = Field(
        "asynchronous", description="asynchronous, or deterministic: the same sequence of trials whatever the timing"
    )
    slots: int = Field(8, ge=1, le=4096, description="logical slots: so many trials can be trained at the same time")
