"""Blocks of layers that the families share: residual blocks, channel attention, heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_tune.models.layers import Dropout, Norm, NormReLU, RateOf


class SqueezeExcitation(nn.Module):
    """Scales channels by a gate computed from their means (Hu et al. 2018; reduction 16)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 16)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.gate(x.mean((2, 3)))
        return x * gate[:, :, None, None]


class BlurredConv2d(nn.Conv2d):
    """A convolution with stride 2 of 2x2 means.

    Its output does not depend on which pixels the stride meets.

    Zhang (2019) blurs a convolution's output before every other pixel is taken. The blur is a
    convolution too: here it goes into the kernel, which becomes one wider, and costs no pass over
    memory. [N, C, H, W] to [N, C', H // 2, W // 2].
    """

    def __init__(self, channels: int, width: int, kernel_size: int) -> None:
        super().__init__(channels, width, kernel_size, stride=2, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = functional.avg_pool2d(functional.pad(self.weight, (1, 1, 1, 1)), 2, stride=1)
        return functional.conv2d(x, kernel.contiguous(memory_format=torch.channels_last), None, 2, self.padding)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016).

    Dropout is between them (Zagoruyko & Komodakis 2016).

    Without dropout, gate and blur it is torchvision's BasicBlock, tensor by tensor; a test compares
    them. We do not use torchvision's: its import doubles the time until a worker is ready.

    Args:
        halves: whether it halves the map's edges; `antialiased`: by `BlurredConv2d` instead of
            every other pixel, in the shortcut too (He et al. 2019, ResNet-D).
        squeeze_excitation: whether a gate scales what is added to the shortcut.
    """

    def __init__(
        self, channels: int, width: int, rate_of: RateOf, *, halves: bool, antialiased: bool, squeeze_excitation: bool
    ) -> None:
        super().__init__()

        def into(kernel_size: int) -> nn.Conv2d:
            if halves and antialiased:
                return BlurredConv2d(channels, width, kernel_size)
            stride = 2 if halves else 1
            return nn.Conv2d(channels, width, kernel_size, stride, padding=kernel_size // 2, bias=False)

        self.conv1 = into(3)
        self.bn1 = NormReLU(width, rate_of)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = Norm(width) if squeeze_excitation else NormReLU(width)
        changes = halves or channels != width
        self.shortcut = nn.Sequential(into(1), Norm(width)) if changes else nn.Identity()
        self.gate = SqueezeExcitation(width) if squeeze_excitation else None

    def forward(self, x: Tensor) -> Tensor:
        identity = self.shortcut(x)
        x = self.conv2(self.bn1(self.conv1(x)))
        if self.gate is None:
            added: Tensor = self.bn2(x, identity)
            return added
        return functional.relu(self.gate(self.bn2(x)) + identity, inplace=True)

    def initialise(self) -> None:
        """Starts as the identity: the last norm's scale is 0 (Goyal et al. 2017, section 5.1)."""
        nn.init.zeros_(self.bn2.weight)


def head(channels: int, layers: int, classes: int) -> nn.Module:
    """Returns average pooling, then one linear layer or two, with dropout before each.

    Between two layers are BatchNorm and ReLU.
    """
    first = Dropout(lambda config: config.head_dropout)
    pooled: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), first]
    if layers == 2:
        second = Dropout(lambda config: config.head_dropout2)
        pooled += [nn.Linear(channels, channels // 2), nn.BatchNorm1d(channels // 2), nn.ReLU(inplace=True), second]
        channels //= 2
    return nn.Sequential(*pooled, nn.Linear(channels, classes))
