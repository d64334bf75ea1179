"""resnet: ResNet-18 and 34, for small images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fer_tune.data.spec import DataSpec
from fer_tune.models.family import Family, FamilyConfig, rate

if TYPE_CHECKING:
    from torch import nn

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks of each stage (He et al. 2016, table 1)."""


class ResNet(FamilyConfig):
    """ResNet-18 or 34 with rising block dropout, and one or two dropouts in the head."""

    depth: Literal[18, 34] = 18
    stem: Literal["3x3", "7x7"] = Field(
        "3x3", description="3x3 with stride 1, or ImageNet's 7x7 with stride 2 and pooling"
    )
    width: float = Field(1.0, ge=0.25, le=2.0, description="multiplies the channels 64, 128, 256, 512")
    downsampling: Literal["stride", "antialiased"] = Field(
        "stride", description="stride takes every other pixel, antialiased of means of 2x2 (Zhang 2019)"
    )
    squeeze_excitation: bool = Field(False, description="channel attention in each block (Hu et al. 2018)")
    head_layers: Literal[1, 2] = Field(1, description="2 adds a hidden layer with BatchNorm and ReLU")
    block_dropout: float = rate(0.0, "between the convolutions of the first stage's blocks")
    block_dropout_step: float = rate(0.0, "added from stage to stage")
    head_dropout: float = rate(0.2, "after the average pooling")
    head_dropout2: float = rate(0.0, "before the last layer, where head_layers is 2")


def build(config: ResNet, spec: DataSpec) -> nn.Module:
    """Returns the network: float [N, channels, side, side] to logits [N, classes]."""
    from torch import nn

    from fer_tune.models.blocks import ResidualBlock, head
    from fer_tune.models.layers import NormReLU, block_rate, convolution, scaled

    channels = scaled(64, config.width)
    if config.stem == "3x3":
        stem: list[nn.Module] = [convolution(spec.channels, channels), NormReLU(channels)]
    else:
        stem = [convolution(spec.channels, channels, 7, stride=2), NormReLU(channels)]
        stem.append(nn.MaxPool2d(3, stride=2, padding=1))

    blocks: list[nn.Module] = []
    for stage, count in enumerate(BLOCKS[config.depth]):
        width = scaled(64 * 2**stage, config.width)
        for index in range(count):
            block = ResidualBlock(
                channels,
                width,
                block_rate(stage),
                halves=stage > 0 and index == 0,
                antialiased=config.downsampling == "antialiased",
                squeeze_excitation=config.squeeze_excitation,
            )
            blocks.append(block)
            channels = width
    return nn.Sequential(*stem, *blocks, head(channels, config.head_layers, len(spec.classes)))


FAMILY = Family("resnet", ResNet, build, halvings=5, fewer_halvings={"stem": {"3x3": 3}})
