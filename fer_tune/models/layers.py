"""Layers that the families share, and their initial weights.

Only this file and `blocks` import torch when they are imported.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from fer_tune.kernels import formulas

RateOf = Callable[[Any], float]
"""Returns a dropout rate, given a family's configuration."""

MOST = 0.9
"""The highest rate that rates rise to from stage to stage."""

HAS_TRITON = find_spec("triton") is not None


MOST_VALUES = 2**31
"""Kernels count places in a tensor with 32 bits."""


def fused(x: Tensor) -> bool:
    """Returns whether layers run their kernels on `x` instead of torch's operations."""
    return x.is_cuda and HAS_TRITON and x.numel() < MOST_VALUES


def block_rate(stage: int) -> RateOf:
    """Returns `block_dropout`, raised by `block_dropout_step` from stage to stage."""
    return lambda config: min(config.block_dropout + stage * config.block_dropout_step, MOST)


def scaled(channels: int, width: float) -> int:
    """Returns channels times a width multiplier, rounded to a multiple of 8 for tensor cores."""
    return max(8, int(channels * width / 8 + 0.5) * 8)


class GreyConv2d(nn.Conv2d):
    """A convolution of grey images [N, 1, H, W] without a bias, padded to keep their edges.

    CUDA devices with Triton run a kernel (see `kernels.grey_convolution`), unless the image itself
    needs a gradient.
    """

    def __init__(self, channels: int, kernel: int = 3, *, stride: int = 1) -> None:
        super().__init__(1, channels, kernel, stride=stride, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if fused(x) and not x.requires_grad and x.numel() * self.out_channels < MOST_VALUES:
            from fer_tune.kernels.grey_convolution import grey_convolution

            return grey_convolution(x, self.weight, self.stride[0])
        return formulas.grey_convolution(x, self.weight, self.stride[0])


def convolution(channels: int, width: int, kernel: int = 3, *, stride: int = 1) -> nn.Conv2d:
    """Returns a padded convolution from `channels` to `width`, without a bias: a norm follows."""
    if channels == 1:
        return GreyConv2d(width, kernel, stride=stride)
    return nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False)


class Dropout(nn.Module):
    """Dropout whose rate is in device memory, so that a captured step reads the present rate.

    Feature maps [N, C, H, W] lose whole channels (Tompson et al. 2015), features [N, C] single
    units. At rate 0 the output equals the input exactly.
    """

    rate: Tensor

    def __init__(self, rate_of: RateOf) -> None:
        super().__init__()
        self.rate_of = rate_of
        self.register_buffer("rate", torch.zeros(()), persistent=False)

    def mask(self, count: int, channels: int) -> Tensor | None:
        """Returns 0 or 1 / (1 - rate) for each channel, float32 [N, C]; None in evaluation."""
        if not self.training:
            return None
        drawn = torch.rand(count, channels, device=self.rate.device)
        if fused(drawn):
            from fer_tune.kernels.dropout import dropout_factors

            return dropout_factors(drawn, self.rate)
        return formulas.dropout_factors(drawn, self.rate)

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask(*x.shape[:2])
        return x if mask is None else x * mask.view(*mask.shape, *(1 for _ in x.shape[2:])).to(x.dtype)


def write_dropout(model: nn.Module, config: Any, factor: float = 1.0) -> None:
    """Sets every dropout rate of `model` to that of `config`, times `factor` (the ramp)."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.rate.fill_(factor * module.rate_of(config))


class Norm(nn.BatchNorm2d):
    """BatchNorm without a ReLU, by the kernels of `NormReLU` on CUDA devices with Triton.

    In evaluation these have no gradients. A frozen norm, which is in evaluation while others learn,
    takes torch's formula.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)

    def forward(self, x: Tensor) -> Tensor:
        if fused(x) and (self.training or not torch.is_grad_enabled()):
            from fer_tune.kernels.norm_relu import batch_norm

            return batch_norm(self, x)
        return formulas.batch_norm(self, x)


class NormReLU(nn.BatchNorm2d):
    """BatchNorm, plus a residual if there is one, ReLU, and dropout of channels if there is a rate.

    On CUDA devices with Triton this is one pass over memory (see `kernels.norm_relu`). There it has
    no gradients in evaluation.
    """

    def __init__(self, channels: int, rate_of: RateOf | None = None) -> None:
        super().__init__(channels)
        self.dropout = None if rate_of is None else Dropout(rate_of)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        keep = None if self.dropout is None else self.dropout.mask(*x.shape[:2])
        if fused(x):
            from fer_tune.kernels.norm_relu import norm_relu

            return norm_relu(self, x, residual, keep)
        return formulas.norm_relu(self, x, residual, keep)


def pooled_by_kernels(x: Tensor) -> bool:
    """Returns whether kernels halve `x`. Theirs are 2x2 windows, which need even edges."""
    return fused(x) and x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0


class NormReLUPool(NormReLU):
    """`NormReLU`, and then the maximum of 2x2 pixels: [N, C, H, W] to [N, C, H // 2, W // 2]."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        keep = None if self.dropout is None else self.dropout.mask(*x.shape[:2])
        if pooled_by_kernels(x):
            from fer_tune.kernels.norm_relu_pool import norm_relu_pool

            return norm_relu_pool(self, x, keep)
        return formulas.norm_relu_pool(self, x, keep)

    def of_grey(self, x: Tensor, weight: Tensor) -> Tensor:
        """Returns what this layer makes of a grey image's convolution. Only for kernels."""
        from fer_tune.kernels.grey_norm_relu_pool import grey_norm_relu_pool

        keep = None if self.dropout is None else self.dropout.mask(len(x), len(weight))
        return grey_norm_relu_pool(self, x, weight, keep)


class BiasReLUPool(nn.Module):
    """Adds a convolution's bias, then ReLU, the maximum of 2x2 pixels, and dropout of channels.

    The bias is added to the maxima: they are a quarter of the map, and the bias does not change
    their order. [N, C, H, W] to [N, C, H // 2, W // 2].

    Args:
        fan_in: inputs of each output of that convolution, from which torch draws its bias.
    """

    def __init__(self, channels: int, fan_in: int, rate_of: RateOf) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(channels))
        self.bound = 1 / fan_in**0.5
        self.dropout = Dropout(rate_of)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the bias as `torch.nn.Conv2d` does."""
        nn.init.uniform_(self.bias, -self.bound, self.bound)

    def forward(self, x: Tensor) -> Tensor:
        keep = self.dropout.mask(*x.shape[:2])
        if pooled_by_kernels(x):
            from fer_tune.kernels.norm_relu_pool import bias_relu_pool

            return bias_relu_pool(x, keep, self.bias)
        return formulas.bias_relu_pool(x, keep, self.bias)

    def of_grey(self, x: Tensor, weight: Tensor) -> Tensor:
        """Returns what this layer makes of a grey image's convolution. Only for kernels."""
        from fer_tune.kernels.grey_norm_relu_pool import grey_bias_relu_pool

        return grey_bias_relu_pool(x, weight, self.dropout.mask(len(x), len(weight)), self.bias)


class GreySequential(nn.Sequential):
    """Layers one after another. If it can, a kernel runs the first two at once.

    It can if they are a `GreyConv2d` and a layer that pools its map. Then the map, which is many
    times larger than the image, is never written (see `kernels.grey_norm_relu_pool`). Both stay
    layers of their own, so that saved weights keep their names.
    """

    def forward(self, x: Tensor) -> Tensor:
        first, second, *others = self
        if _map_unwritten(first, x) and isinstance(second, NormReLUPool | BiasReLUPool):
            x = second.of_grey(x, first.weight)
        else:
            x = second(first(x))
        for layer in others:
            x = layer(x)
        return x


def _map_unwritten(first: nn.Module, x: Tensor) -> TypeGuard[GreyConv2d]:
    """Returns whether kernels pool what `first` makes of `x` without writing it."""
    if not isinstance(first, GreyConv2d) or first.stride != (1, 1) or x.requires_grad:
        return False
    return pooled_by_kernels(x) and x.numel() // 4 * first.out_channels < MOST_VALUES


class Flatten(nn.Module):
    """[N, C, H, W] to [N, H W C], the order of channels_last: nothing is copied."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class AntialiasedPool(nn.Module):
    """The maximum of 2x2 pixels at every place, and only then every other pixel of their mean.

    So the map does not jump when a face moves by one pixel (Zhang 2019, with the filter Rect-2).
    [N, C, H, W] to [N, C, H // 2, W // 2]: the 2x2 means of the (H - 1) x (W - 1) maxima. The last
    of a row has only one column.
    """

    def forward(self, x: Tensor) -> Tensor:
        if fused(x):
            from fer_tune.kernels.antialiased_pool import antialiased_pool

            return antialiased_pool(x)
        return formulas.antialiased_pool(x)


def pooling(kind: str) -> nn.Module:
    """Returns a layer that halves a feature map's edges: `max` or `antialiased`."""
    return nn.MaxPool2d(2) if kind == "max" else AntialiasedPool()


@torch.no_grad()
def initialise(model: nn.Module) -> None:
    """Draws all weights again, in place, from torch's default generator of the weights' device.

    Convolutions are drawn as in He et al. 2015 (fan out), all other layers as torch does.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor, value in (
                (module.weight, 1.0),
                (module.bias, 0.0),
                (module.running_mean, 0.0),
                (module.running_var, 1.0),
            ):
                if tensor is not None:
                    tensor.fill_(value)
        elif callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    for module in model.modules():
        if callable(special := getattr(module, "initialise", None)):
            special()


def count_parameters(model: nn.Module) -> int:
    """Returns the number of trainable scalars."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
