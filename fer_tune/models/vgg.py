"""vgg: a VGG with BatchNorm, for small images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fer_tune.data.spec import DataSpec
from fer_tune.models.family import Family, FamilyConfig, rate

if TYPE_CHECKING:
    from torch import nn


class VGG(FamilyConfig):
    """Four stages of 3x3 convolutions with BatchNorm, each ended by pooling."""

    convolutions: Literal[1, 2, 3] = Field(2, description="convolutions in each stage")
    width: float = Field(1.0, ge=0.25, le=2.0, description="multiplies the channels 64, 128, 256, 512")
    pooling: Literal["max", "antialiased"] = Field(
        "max", description="antialiased takes the maximum at every place and then the mean of four (Zhang 2019)"
    )
    squeeze_excitation: bool = Field(False, description="channel attention at each stage's end (Hu et al. 2018)")
    head_layers: Literal[1, 2] = Field(1, description="2 adds a hidden layer with BatchNorm and ReLU")
    block_dropout: float = rate(0.0, "after the first stage's pooling")
    block_dropout_step: float = rate(0.0, "added from stage to stage")
    head_dropout: float = rate(0.2, "after the average pooling")
    head_dropout2: float = rate(0.0, "before the last layer, where head_layers is 2")


def build(config: VGG, spec: DataSpec) -> nn.Module:
    """Returns the network: float [N, channels, side, side] to logits [N, classes]."""
    from fer_tune.models.blocks import SqueezeExcitation, head
    from fer_tune.models.layers import (
        Dropout,
        GreySequential,
        NormReLU,
        NormReLUPool,
        block_rate,
        convolution,
        pooling,
        scaled,
    )

    layers: list[nn.Module] = []
    channels = spec.channels
    for stage in range(4):
        width, dropout = scaled(64 * 2**stage, config.width), block_rate(stage)
        for _ in range(config.convolutions):
            layers += [convolution(channels, width), NormReLU(width)]
            channels = width
        if config.squeeze_excitation:
            layers += [SqueezeExcitation(width), pooling(config.pooling), Dropout(dropout)]
        elif config.pooling == "max":
            layers[-1] = NormReLUPool(width, dropout)
        else:
            layers[-1:] = [NormReLU(width, dropout), pooling(config.pooling)]
    return GreySequential(*layers, head(channels, config.head_layers, len(spec.classes)))


FAMILY = Family("vgg", VGG, build, halvings=4)
