"""The learning rate of each step, and the dropout of each epoch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fer_tune.train.config import TrainConfig

STEP_AT = (0.5, 0.75)
"""Where the step schedule divides lr by 10, as fractions of all steps (He et al. 2016)."""
ONECYCLE_PEAK = 0.3
"""Where one cycle peaks, and how far below its peak it starts and ends (Smith & Topin 2018, torch's
defaults)."""
ONECYCLE_START, ONECYCLE_END = 1 / 25, 1 / 1e4


def learning_rates(config: TrainConfig, steps: int) -> Tensor:
    """Returns the learning rate of every step, float32 [steps].

    The rate rises linearly over the first `warmup` of all steps. Constant, cosine and step follow
    over the rest; cosine ends at 0. One cycle has its own rise and ignores `warmup`.
    """
    at = torch.arange(steps, dtype=torch.float64) + 0.5
    if config.schedule == "onecycle":
        return (config.lr * _onecycle(at / steps)).float()
    rising = round(config.warmup * steps)
    progress = ((at - rising) / max(1, steps - rising)).clamp(0, 1)
    if config.schedule == "cosine":
        factor = (1 + torch.cos(math.pi * progress)) / 2
    elif config.schedule == "step":
        factor = torch.ones_like(progress)
        for when in STEP_AT:
            factor = torch.where(progress >= when, factor / 10, factor)
    else:
        factor = torch.ones_like(progress)
    warm = (at / rising).clamp(max=1) if rising else torch.ones_like(at)
    return (config.lr * torch.minimum(factor, warm)).float()


def _onecycle(progress: Tensor) -> Tensor:
    """Returns a cosine from the start factor to 1 at the peak, then one to the end factor."""
    up = (progress / ONECYCLE_PEAK).clamp(0, 1)
    down = ((progress - ONECYCLE_PEAK) / (1 - ONECYCLE_PEAK)).clamp(0, 1)
    rise = ONECYCLE_START + (1 - ONECYCLE_START) * (1 - torch.cos(math.pi * up)) / 2
    fall = ONECYCLE_END + (1 - ONECYCLE_END) * (1 + torch.cos(math.pi * down)) / 2
    return torch.where(progress < ONECYCLE_PEAK, rise, fall)


def dropout_factor(ramp: str, epoch: int, epochs: int) -> float:
    """Returns what multiplies all dropout rates in epoch `epoch` of 1..epochs."""
    if ramp == "constant" or epochs == 1:
        return 1.0
    progress = (epoch - 1) / (epochs - 1)
    return progress if ramp == "rising" else 1.0 - progress
