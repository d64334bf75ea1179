"""Updates of all weights at once, with every hyperparameter read from device memory.

`torch.optim` takes weight decay and momentum as numbers, which a captured step would freeze; here they are
tensors, so that one capture serves every trial of the same shape. The formulas are torch's (checked by a test
against `torch.optim`), with decay on weights only.

Muon (Jordan et al. 2024) replaces an inner layer's update, a matrix, by the nearest orthogonal one: all directions move
alike, also those whose gradients are small. The rest is trained by AdamW, and at the same learning rate, since
orthogonal updates are scaled to the size that AdamW's have (Liu et al. 2025).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor

from fer_tune.train.config import BETA2, EPSILON, TrainConfig
from fer_tune.train.flat_parameters import FlatModel

NAMES: Final = ("weight_decay", "momentum", "label_smoothing", "ema", "grad_clip")


QUINTIC: Final = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS: Final = 5
"""Five steps of this polynomial bring singular values to about 0.7 to 1.2, as good as 1 (Jordan et al. 2024)."""
ADAMW_SIZE: Final = 0.2
"""Root mean square of AdamW's updates, which muon's get (Liu et al. 2025, section 2.2)."""


class Hyperparameters:
    """The numbers that the step reads, as views of one float32 tensor: written with a single copy."""

    def __init__(self, device: torch.device) -> None:
        self._all = torch.zeros(len(NAMES), device=device)
        self.weight_decay, self.momentum, self.label_smoothing, self.ema, self.grad_clip = self._all.unbind()

    def write(self, config: TrainConfig) -> None:
        """Sets all of them; a `grad_clip` of 0 becomes infinity, which clips nothing."""
        numbers = [float(getattr(config, name)) for name in NAMES]
        if numbers[-1] == 0:
            numbers[-1] = float("inf")
        self._all.copy_(torch.tensor(numbers))


class Optimizer:
    """SGD with Nesterov momentum, Adam, AdamW or Muon over a `FlatModel`, and the moving average of its values.

    Attributes:
        first, second: float32 [P]: momentum or first moment; second moment, None for sgd.
        average: float32, like `FlatModel.values`: the average that is evaluated and saved.
        inner: how many values, from the start, Muon updates; 0 for other optimizers.
        orthogonal: float32 [inner], this step's orthogonal update of these.
        steps: float32 scalar, updates done in this trial.
        fused: whether the update runs as one kernel (CUDA with Triton) instead of torch's operations.
    """

    def __init__(self, kind: str, flat: FlatModel, hyper: Hyperparameters) -> None:
        self.kind = kind
        self.flat = flat
        self.hyper = hyper
        self.first = torch.zeros(flat.trained, device=flat.device)
        self.second = torch.zeros_like(self.first) if kind != "sgd" else None
        self.average = torch.zeros_like(flat.values)
        self.inner = flat.inner if kind == "muon" else 0
        self.orthogonal = torch.zeros(self.inner, device=flat.device)
        self.steps = torch.zeros((), device=flat.device)
        self.fused = flat.device.type == "cuda" and find_spec("triton") is not None

    def reset(self) -> None:
        """Forgets all history; the average starts at the present values."""
        self.first.zero_()
        if self.second is not None:
            self.second.zero_()
        self.steps.zero_()
        self.average.copy_(self.flat.values)

    @torch.no_grad()
    def step(self, lr: Tensor) -> None:
        """One update from the layers' gradients. `lr`: float32 [1] on the device."""
        computed, scales = self.flat.take_gradients()
        clip = self._clip(computed, scales)
        self.steps += 1
        if self.inner:
            self._orthogonalise(computed[: self.inner].float() * clip)
        if self.fused:
            from fer_tune.kernels import optimizer as kernels

            kernels.update(self, computed, scales, clip, lr)
        else:
            self._update(torch.cat((computed.float(), scales)) * clip, lr)
            self.flat.refresh_compute()
            self._average()

    def _clip(self, *gradients: Tensor) -> Tensor:
        """The factor that scales the gradient down to the norm `grad_clip` (Pascanu et al. 2013)."""
        norms = [torch.linalg.vector_norm(gradient, dtype=torch.float32) for gradient in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        factor: Tensor = self.hyper.grad_clip / (norm + 1e-6)
        return factor.clamp(max=1)

    def _update(self, gradient: Tensor, lr: Tensor) -> None:
        weights = self.flat.values[: self.flat.trained]
        decayed, inner = self.flat.decayed, self.inner
        if self.kind in {"adamw", "muon"}:
            weights[:decayed].mul_(1 - lr * self.hyper.weight_decay)
        else:
            gradient[:decayed].addcmul_(weights[:decayed], self.hyper.weight_decay)
        if self.second is None:
            self._sgd(weights, gradient, lr)
        else:
            weights[:inner].addcmul_(self.orthogonal, -lr)
            self._adam(weights[inner:], gradient[inner:], self.first[inner:], self.second[inner:], lr)

    def _sgd(self, weights: Tensor, gradient: Tensor, lr: Tensor) -> None:
        """Nesterov as Sutskever et al. 2013 in torch's form: v = mu v + g; w -= lr (g + mu v)."""
        self.first.mul_(self.hyper.momentum).add_(gradient)
        weights.addcmul_(gradient + self.hyper.momentum * self.first, -lr)

    def _adam(self, weights: Tensor, gradient: Tensor, first: Tensor, second: Tensor, lr: Tensor) -> None:
        beta = self.hyper.momentum
        first.lerp_(gradient, 1 - beta)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = (second / (1 - BETA2**self.steps)).sqrt_().add_(EPSILON)
        weights.addcmul_(first / root, -lr / (1 - beta**self.steps))

    def _orthogonalise(self, gradient: Tensor) -> None:
        """Fills `orthogonal` from the inner weights' gradient, float32 [inner], and their Nesterov momentum."""
        momentum = self.first[: self.inner]
        momentum.lerp_(gradient, 1 - self.hyper.momentum)
        ahead = gradient.lerp_(momentum, self.hyper.momentum)
        for start, (count, rows, columns) in self.flat.matrices:
            part = slice(start, start + count * rows * columns)
            update = orthogonalised(ahead[part].view(count, rows, columns))
            torch.mul(update, ADAMW_SIZE * max(rows, columns) ** 0.5, out=self.orthogonal[part].view_as(update))

    def _average(self) -> None:
        """Moves the average; its decay warms up as (1 + t) / (10 + t), so that early weights are soon forgotten."""
        decay = torch.minimum(self.hyper.ema, (1 + self.steps) / (10 + self.steps))
        self.average.lerp_(self.flat.values, 1 - decay)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Replaces all singular values by about 1, by Newton and Schulz's iteration (Jordan et al. 2024).

    Args:
        matrices: float32 [K, R, C].

    Returns:
        The same shape; bfloat16 on CUDA devices, where this is a matter of tensor cores, else float32.
    """
    a, b, c = QUINTIC
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    x = x.bfloat16() if x.is_cuda else x
    upright = x.shape[1] > x.shape[2]
    x = x.mT if upright else x
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    out: Tensor = x.mT if upright else x
    return out
