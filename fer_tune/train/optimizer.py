"""Updates all weights at once, with every hyperparameter read from device memory.

`torch.optim` takes weight decay and momentum as numbers, which a captured step would freeze. Here
they are tensors, so one capture serves every trial of the same shape. The formulas are torch's,
with decay on weights only. A test compares them with `torch.optim`.

Muon (Jordan et al. 2024) replaces an inner layer's update, a matrix, by the nearest orthogonal
one. So all directions move alike, including those with small gradients. AdamW trains the rest at
the same learning rate, because orthogonal updates are scaled to the size of AdamW's (Liu et al.
2025).
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor

from fer_tune.train.config import TrainConfig
from fer_tune.train.flat_parameters import FlatModel

NAMES: Final = ("weight_decay", "momentum", "label_smoothing", "ema", "grad_clip")
"""Fields of `TrainConfig` that the step reads."""
QUINTIC: Final = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS: Final = 5
"""Five steps of this polynomial bring singular values to about 0.7 to 1.2, as good as 1 (Jordan
et al. 2024)."""
ADAMW_SIZE: Final = 0.2
"""Root mean square of AdamW's updates. Muon's updates are scaled to it (Liu et al. 2025, section
2.2)."""


class Hyperparameters:
    """The numbers that the step reads, as views of one float32 tensor.

    So one copy writes them all.
    """

    def __init__(self, device: torch.device) -> None:
        self._all = torch.zeros(len(NAMES), device=device)
        self.weight_decay, self.momentum, self.label_smoothing, self.ema, self.grad_clip = self._all.unbind()

    def write(self, config: TrainConfig) -> None:
        """Sets all of them. A `grad_clip` of 0 becomes infinity, which clips nothing."""
        numbers = [float(getattr(config, name)) for name in NAMES]
        if numbers[-1] == 0:
            numbers[-1] = float("inf")
        self._all.copy_(torch.tensor(numbers))


class Optimizer:
    """SGD with Nesterov momentum, Adam, AdamW or Muon over a `FlatModel`, and an average of it.

    Attributes:
        BETA2, EPSILON: of adam, adamw and muon's adamw (Kingma & Ba 2015). `momentum` is their
            first beta.
        first, second: float32 [P], momentum or first moment, and second moment. sgd has no second
            moment.
        average: float32, like `FlatModel.values`, the moving average that is evaluated and saved.
        inner: number of values, from the start, that Muon updates. It is 0 for other optimizers.
        orthogonal: float32 [inner], this step's orthogonal update of these.
        steps: float32 scalar, updates done in this trial.
        fused: whether the update runs as one kernel (CUDA with Triton) instead of torch's
            operations.
    """

    BETA2: Final = 0.999
    EPSILON: Final = 1e-8

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
        """Forgets all history. The average starts at the present values."""
        self.first.zero_()
        if self.second is not None:
            self.second.zero_()
        self.steps.zero_()
        self.average.copy_(self.flat.values)

    @torch.no_grad()
    def step(self, lr: Tensor) -> None:
        """Updates the weights from the layers' gradients. `lr` is float32 [1] on the device."""
        computed, scales = self.flat.take_gradients()
        clip = self._clip(computed, scales)
        self.steps += 1
        if self.inner:
            self._orthogonalise(computed[: self.inner].float() * clip)
        if self.fused:
            from fer_tune.kernels import fused_update

            fused_update.update(self, computed, scales, clip, lr)
        else:
            self.update(computed, scales, clip, lr)

    def update(self, computed: Tensor, scales: Tensor, clip: Tensor, lr: Tensor) -> None:
        """Updates weights and average in torch's operations, as `fused_update.update` in one.

        Args:
            computed: gradient in the compute dtype, [C].
            scales: gradient of the norms, float32 [P - C].
            clip: float32 scalar, a factor on the gradient.
            lr: float32 [1].
        """
        self._update_weights(torch.cat((computed.float(), scales)) * clip, lr)
        self.flat.refresh_compute()
        self._average()

    def _clip(self, *gradients: Tensor) -> Tensor:
        """Returns a factor that limits the norm to `grad_clip` (Pascanu et al. 2013)."""
        norms = [torch.linalg.vector_norm(gradient, dtype=torch.float32) for gradient in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        factor: Tensor = self.hyper.grad_clip / (norm + 1e-6)
        return factor.clamp(max=1)

    def _update_weights(self, gradient: Tensor, lr: Tensor) -> None:
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
        """Updates by Nesterov's momentum in torch's form: v = mu v + g, w -= lr (g + mu v)."""
        self.first.mul_(self.hyper.momentum).add_(gradient)
        weights.addcmul_(gradient + self.hyper.momentum * self.first, -lr)

    def _adam(self, weights: Tensor, gradient: Tensor, first: Tensor, second: Tensor, lr: Tensor) -> None:
        beta = self.hyper.momentum
        first.lerp_(gradient, 1 - beta)
        second.mul_(self.BETA2).addcmul_(gradient, gradient, value=1 - self.BETA2)
        root = (second / (1 - self.BETA2**self.steps)).sqrt_().add_(self.EPSILON)
        weights.addcmul_(first / root, -lr / (1 - beta**self.steps))

    def _orthogonalise(self, gradient: Tensor) -> None:
        """Fills `orthogonal` from the inner gradient, float32 [inner], and its momentum."""
        momentum = self.first[: self.inner]
        momentum.lerp_(gradient, 1 - self.hyper.momentum)
        ahead = gradient.lerp_(momentum, self.hyper.momentum)
        for start, (count, rows, columns) in self.flat.matrices:
            part = slice(start, start + count * rows * columns)
            update = orthogonalised(ahead[part].view(count, rows, columns))
            torch.mul(update, ADAMW_SIZE * max(rows, columns) ** 0.5, out=self.orthogonal[part].view_as(update))

    def _average(self) -> None:
        """Moves the average.

        Its decay warms up as (1 + t) / (10 + t), so early weights are soon forgotten.
        """
        decay = torch.minimum(self.hyper.ema, (1 + self.steps) / (10 + self.steps))
        self.average.lerp_(self.flat.values, 1 - decay)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Returns the matrices with singular values of about 1, by Newton and Schulz's iteration.

    Args:
        matrices: float32 [K, R, C].

    Returns:
        The same shape, in bfloat16 on CUDA devices, where tensor cores compute it, else in float32.
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
