"""The section `search` of a sweep: whether poor trials are pruned, or paused at rungs."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from fer_tune.sweep.samplers_and_pruners import Section


class SearchSpec(Section):
    """How the search divides its budget between many short trials and few long ones.

    `prune` trains each trial to its end unless the pruner stops it. `promote` pauses each trial at
    rungs, and continues the best ones.
    """

    strategy: Literal["prune", "promote"] = Field("prune", description="prune, or promote: pause trials at rungs")
    rungs: list[int] | None = Field(None, description="epochs at which trials pause; default is first and factor")
    factor: int = Field(3, ge=2, le=100, description="one in so many trials of a rung continues to the next")
    first: int | None = Field(None, ge=1, description="the lowest rung; default leaves room for two rungs")
    keep_gb: float = Field(8.0, ge=0, le=1e6, description="space for the checkpoints of paused trials, in GB")

    @model_validator(mode="after")
    def _rungs_rise(self) -> SearchSpec:
        rungs = self.rungs or []
        if any(rung < 1 for rung in rungs) or any(low >= high for low, high in pairwise(rungs)):
            raise ValueError(f"rungs must be rising epochs from 1, such as [4, 12], not {rungs}")
        if self.rungs is not None and self.first is not None:
            raise ValueError("give either rungs or first, not both")
        return self
