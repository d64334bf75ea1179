"""simple_cnn: two convolutions, as in a first lesson."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from fer_tune.data.spec import DataSpec
from fer_tune.models.family import Family, FamilyConfig, rate

if TYPE_CHECKING:
    from torch import nn


class SimpleCNN(FamilyConfig):
    """Two convolutions with ReLU and pooling, flatten, linear. A hidden layer is optional."""

    width: int = Field(32, ge=8, le=128, description="channels of the first convolution; the second has twice as many")
    hidden: int = Field(0, ge=0, le=1024, description="units of a layer before the last one; 0 is no such layer")
    block_dropout: float = rate(0.0, "after the first convolution's pooling")
    block_dropout_step: float = rate(0.0, "added after the second")
    head_dropout: float = rate(0.0, "before the last layer")


def build(config: SimpleCNN, spec: DataSpec) -> nn.Module:
    """Returns the network: float [N, channels, side, side] to logits [N, classes]."""
    from torch import nn

    from fer_tune.models.layers import BiasReLUPool, Dropout, Flatten, GreySequential, block_rate, convolution

    width, left = config.width, spec.side // 4
    features = 2 * width * left * left
    hidden = [nn.Linear(features, config.hidden), nn.ReLU(inplace=True)] if config.hidden else []
    return GreySequential(
        convolution(spec.channels, width),
        BiasReLUPool(width, 9 * spec.channels, block_rate(0)),
        convolution(width, 2 * width),
        BiasReLUPool(2 * width, 9 * width, block_rate(1)),
        Flatten(),
        *hidden,
        Dropout(lambda config: config.head_dropout),
        nn.Linear(config.hidden or features, len(spec.classes)),
    )


FAMILY = Family("simple_cnn", SimpleCNN, build, halvings=2)
