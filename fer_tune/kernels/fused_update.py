"""The optimizer's update as one pass over memory, for CUDA devices with Triton.

In torch's operations an update reads and writes the weights a dozen times. Here each value is
read and written once. `train.optimizer.Optimizer.update` holds the formulas in torch. CPUs run
those, and a test on a GPU compares both.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
KINDS = {"sgd": 0, "adam": 1, "adamw": 2, "muon": 3}


@triton.jit  # type: ignore[untyped-decorator]  # triton has no types
def _update(
    values, computed_gradient, scale_gradient, first, second, average, compute, orthogonal,
    lr_at, decay_at, momentum_at, ema_at, clip_at, steps_at,
    inner, computed, decayed, trained, total,
    KIND: tl.constexpr, COPY: tl.constexpr, BETA2: tl.constexpr, LOG_BETA2: tl.constexpr, EPSILON: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, learns = at < total, at < trained
    lr, steps, momentum = tl.load(lr_at), tl.load(steps_at), tl.load(momentum_at)
    weight_decay = tl.where(at < decayed, tl.load(decay_at), 0.0)

    weight = tl.load(values + at, mask=inside, other=0.0)
    gradient = tl.load(computed_gradient + at, mask=at < computed, other=0.0).to(tl.float32)
    gradient += tl.load(scale_gradient + at - computed, mask=(at >= computed) & learns, other=0.0)
    gradient *= tl.load(clip_at)
    moment = tl.load(first + at, mask=learns, other=0.0)
    if KIND >= 2:
        weight *= 1 - lr * weight_decay
    else:
        gradient += weight_decay * weight
    if KIND == 0:
        moment = momentum * moment + gradient
        change = lr * (gradient + momentum * moment)
    else:
        moment += (gradient - moment) * (1 - momentum)
        square = tl.load(second + at, mask=learns, other=0.0)
        square = BETA2 * square + (1 - BETA2) * gradient * gradient
        tl.store(second + at, square, mask=learns & (at >= inner))
        root = tl.sqrt(square / (1 - tl.exp(steps * LOG_BETA2))) + EPSILON
        change = lr / (1 - tl.exp(steps * tl.log(momentum))) * moment / root
    if KIND == 3:
        change = tl.where(at < inner, lr * tl.load(orthogonal + at, mask=at < inner, other=0.0), change)
    weight = tl.where(learns, weight - change, weight)
    tl.store(first + at, moment, mask=learns & (at >= inner))
    tl.store(values + at, weight, mask=learns)
    if COPY:
        tl.store(compute + at, weight.to(tl.bfloat16), mask=at < computed)
    mean = tl.load(average + at, mask=inside, other=0.0)
    decay = tl.minimum(tl.load(ema_at), (1 + steps) / (10 + steps))
    tl.store(average + at, mean + (weight - mean) * (1 - decay), mask=inside)


def update(optimizer: Any, computed_gradient: Tensor, scale_gradient: Tensor, clip: Tensor, lr: Tensor) -> None:
    """Applies one update to `optimizer.flat` and its average.

    Args:
        optimizer: a `train.optimizer.Optimizer`.
        computed_gradient: compute dtype [C].
        scale_gradient: float32 [P - C].
        clip: float32 scalar, a factor on the gradient.
        lr: float32 [1].
    """
    flat, hyper = optimizer.flat, optimizer.hyper
    total = flat.values.numel()
    second = optimizer.first if optimizer.second is None else optimizer.second
    _update[(triton.cdiv(total, BLOCK),)](
        flat.values, computed_gradient, scale_gradient, optimizer.first, second, optimizer.average, flat.compute,
        optimizer.orthogonal,
        lr, hyper.weight_decay, hyper.momentum, hyper.ema, clip, optimizer.steps,
        optimizer.inner, flat.compute.numel(), flat.decayed, flat.trained, total,
        KIND=KINDS[optimizer.kind], COPY=flat.compute.dtype == torch.bfloat16, BETA2=optimizer.BETA2,
        LOG_BETA2=math.log(optimizer.BETA2), EPSILON=optimizer.EPSILON, BLOCK=BLOCK,
    )  # fmt: skip
