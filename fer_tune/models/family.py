"""What a family is: a typed configuration and a function that builds the network from it.

Neither this module nor a family file imports torch before `build` is called, so that a
sweep is checked, and `--help` printed, without waiting for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import nn


def rate(default: float, description: str) -> Any:
    """A dropout rate: the step reads it from device memory, so changing it keeps the network's shape."""
    return Field(default, ge=0.0, le=0.9, description=description, json_schema_extra={"rate": True})


class FamilyConfig(BaseModel):
    """Base of the families' hyperparameters: immutable, typed, nothing unknown accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def shape(self) -> tuple[tuple[str, Any], ...]:
        """The fields that decide the network's shape: equal shapes can share one set of weights in memory."""
        return tuple(
            (name, getattr(self, name))
            for name, info in type(self).model_fields.items()
            if not (isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("rate"))
        )


@dataclass(frozen=True)
class Family:
    """An architecture with its own hyperparameters.

    Attributes:
        name: how sweeps call it.
        config: its hyperparameters with bounds and defaults.
        build: makes the network: float [N, 1, 48, 48] to logits [N, 7]. Dropout layers are
            `models.layers.Dropout`, each told how its rate follows from the configuration.
    """

    name: str
    config: type[FamilyConfig]
    build: Callable[[Any], nn.Module]

    @property
    def summary(self) -> str:
        """The first line of the configuration's docstring."""
        return (self.config.__doc__ or "").strip().splitlines()[0]
