"""What a family is: a typed configuration, and a function that builds the network from it.

Neither this module nor a family's file imports torch before `build` is called. So checking a sweep
and printing `--help` do not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from fer_tune.data.spec import DataSpec
from fer_tune.errors import TrainingError
from fer_tune.job import Value

if TYPE_CHECKING:
    from torch import nn


def rate(default: float, description: str) -> Any:
    """Declares a dropout rate. The step reads it from device memory: any rate fits the network."""
    return Field(default, ge=0.0, le=0.9, description=description, json_schema_extra={"rate": True})


class FamilyConfig(BaseModel):
    """Base of the families' hyperparameters: immutable, typed, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def shape(self) -> tuple[tuple[str, Any], ...]:
        """Returns the fields that decide the network's shape. Equal shapes share a network."""
        return tuple(
            (name, getattr(self, name))
            for name, info in type(self).model_fields.items()
            if not (isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("rate"))
        )


@dataclass(frozen=True)
class Family:
    """An architecture with its own hyperparameters.

    Attributes:
        name: what sweeps call it.
        config: its hyperparameters with bounds and defaults.
        build: makes the network for a configuration and what the images are: float [N, channels,
            side, side] to logits [N, classes]. Dropout layers are `models.layers.Dropout`; each
            gets a function from the configuration to its rate.
        halvings: how often the network halves the side of its feature maps, at most.
        multiple: what the side of an image must be a multiple of, for a network of patches.
        fewer_halvings: how often it halves them at most with some values of a hyperparameter that
            has choices, such as `{"stem": {"3x3": 3}}`.
    """

    name: str
    config: type[FamilyConfig]
    build: Callable[[Any, DataSpec], nn.Module]
    halvings: int
    multiple: int = 1
    fewer_halvings: Mapping[str, Mapping[Value, int]] = field(default_factory=dict, hash=False)

    @property
    def summary(self) -> str:
        """The first line of the configuration's docstring."""
        return (self.config.__doc__ or "").strip().splitlines()[0]

    @property
    def smallest_side(self) -> int:
        """The smallest side of an image, in pixels, that every configuration can halve so often."""
        return self.side_from(int(2**self.halvings))

    def side_from(self, least: int) -> int:
        """Returns the smallest valid side of an image from `least` pixels on."""
        return -(-least // self.multiple) * self.multiple

    def with_values(self, possible: Mapping[str, Collection[Value]]) -> Family:
        """Returns this family with the halvings of those networks that have only these values.

        Args:
            possible: values by hyperparameter. A hyperparameter that is not in it has its default.
        """
        fields = self.config.model_fields
        most = [
            max(halvings.get(value, self.halvings) for value in possible.get(name, [fields[name].default]))
            for name, halvings in self.fewer_halvings.items()
        ]
        return replace(self, halvings=min([self.halvings, *most]))

    def with_config(self, config: FamilyConfig) -> Family:
        """Returns this family with the halvings of the network of a configuration."""
        return self.with_values({name: [value] for name, value in config})

    def check(self, side: int) -> None:
        """Refuses images that are too small for the network, or that it cannot divide into patches.

        Raises:
            TrainingError: `side` is below `smallest_side`, or not a multiple of `multiple`.
        """
        if side % self.multiple:
            raise TrainingError(
                f"{self.name} needs images whose side is a multiple of {self.multiple} pixels (got {side}).",
                f"Set `data: {{path: ..., side: {self.side_from(side)}}}`, or choose another family.",
            )
        if side < self.smallest_side:
            raise TrainingError(
                f"{self.name} needs images of at least {self.smallest_side} pixels a side (got {side}): "
                f"it halves them {self.halvings} times.",
                f"Set `data: {{path: ..., side: {self.smallest_side}}}` or more, or choose another family.",
            )
