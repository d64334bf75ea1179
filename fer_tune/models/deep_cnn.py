"""deep_cnn: three convolutions with BatchNorm and a hidden layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from fer_tune.data.spec import DataSpec
from fer_tune.models.family import Family, FamilyConfig, rate

if TYPE_CHECKING:
    from torch import nn


class DeepCNN(FamilyConfig):
    """Convolutions of 32, 64 and 128 channels with BatchNorm and pooling, then Linear 512."""

    width: int = Field(32, ge=8, le=128, description="channels of the first convolution, doubled twice")
    hidden: int = Field(512, ge=32, le=4096, description="units of the hidden layer")
    hidden_norm: bool = Field(False, description="BatchNorm after the hidden layer: allows higher learning rates")
    block_dropout: float = rate(0.0, "after the first convolution's pooling")
    block_dropout_step: float = rate(0.0, "added from one convolution to the next")
    head_dropout: float = rate(0.5, "before the last layer")
    head_dropout2: float = rate(0.0, "before the hidden layer")


def build(config: DeepCNN, spec: DataSpec) -> nn.Module:
    """Returns the network: float [N, channels, side, side] to logits [N, classes]."""
    from torch import nn

    from fer_tune.models.layers import Dropout, Flatten, GreySequential, NormReLUPool, block_rate, convolution

    layers: list[nn.Module] = []
    channels, left = spec.channels, spec.side // 8
    for stage in range(3):
        width = config.width * 2**stage
        layers += [convolution(channels, width), NormReLUPool(width, block_rate(stage))]
        channels = width
    hidden: list[nn.Module] = [nn.Linear(channels * left * left, config.hidden)]
    if config.hidden_norm:
        hidden.append(nn.BatchNorm1d(config.hidden))
    return GreySequential(
        *layers,
        Flatten(),
        Dropout(lambda config: config.head_dropout2),
        *hidden,
        nn.ReLU(inplace=True),
        Dropout(lambda config: config.head_dropout),
        nn.Linear(config.hidden, len(spec.classes)),
    )


FAMILY = Family("deep_cnn", DeepCNN, build, halvings=3)
