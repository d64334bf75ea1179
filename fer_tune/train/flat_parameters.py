"""A network whose weights are in one buffer, so that an optimizer step is a handful of kernels.

Layout of `values`, float32:

    | inner weights | other weights | biases of convolutions, linears | norms | statistics | still |
    |<--------- decayed --------->|
    |<------------------ computed with in `dtype` ------------------->|
    |<--------------------------------- trained --------------------------->|

Inner weights are those of all convolutions and linears but the first and the last, ordered by their
shapes. What is still comes last: parameters that are frozen, and so need no gradient.

If `dtype` is bfloat16, convolutions and linears read a bfloat16 copy of their part, which is
refreshed after each update. Frozen ones read a copy that is made once. Norms and running statistics
are always float32, and read `values` itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn

Slot = tuple[int, int, torch.Size]
"""Start, end and shape of one tensor in the buffer."""


@dataclass(frozen=True)
class _Tensors:
    """The tensors of a model by their place in the buffer.

    Attributes:
        inner, outer: weights that are trained.
        scales: parameters of norms that are trained.
        kept: running statistics, and parameters of norms that are frozen.
        frozen: weights and biases that are frozen.
    """

    inner: list[nn.Parameter]
    outer: list[nn.Parameter]
    biases: list[nn.Parameter]
    scales: list[nn.Parameter]
    kept: list[Tensor]
    frozen: list[nn.Parameter]

    @classmethod
    def of(cls, model: nn.Module) -> _Tensors:
        """Returns the tensors of a model."""
        norms = {
            id(p) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) for p in m.parameters()
        }
        first, *between, last = [p for p in model.parameters() if id(p) not in norms and p.dim() > 1]
        learning = [p for p in model.parameters() if p.requires_grad]
        still = [p for p in model.parameters() if not p.requires_grad]
        buffers = [b for b in model.state_dict(keep_vars=True).values() if not isinstance(b, nn.Parameter)]
        statistics = [buffer for buffer in buffers if buffer.is_floating_point()]  # others are constants
        return cls(
            inner=sorted((p for p in between if p.requires_grad), key=_matrix),
            outer=[p for p in (first, last) if p.requires_grad],
            biases=[p for p in learning if id(p) not in norms and p.dim() == 1],
            scales=[p for p in learning if id(p) in norms],
            kept=[*statistics, *(p for p in still if id(p) in norms)],
            frozen=[p for p in still if id(p) not in norms],
        )


class FlatModel:
    """Moves a model's parameters and float buffers into one buffer, in place.

    Attributes:
        model: the network, on `device`, in channels_last.
        values: float32 [P + S + F], trained parameters, running statistics, frozen parameters.
        compute: `dtype` [C], the leading part of `values` that convolutions and linears read.
        trained: P, the number of trained parameters.
        decayed: how many of these, from the start, decay.
        inner: how many of these, from the start, are inner weights.
        matrices: the inner weights as stacks [K, R, C] of equally shaped matrices, R a layer's
            outputs: pairs of the start in the buffer and the shape.
    """

    def __init__(self, model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        _forget_batch_counters(model)
        tensors = _Tensors.of(model)

        self.model = model
        self.device = device
        self.inner = _total(tensors.inner)
        self.matrices = _stacks(tensors.inner)
        self.decayed = self.inner + _total(tensors.outer)
        computed = self.decayed + _total(tensors.biases)
        self.trained = computed + _total(tensors.scales)
        frozen = self.trained + _total(tensors.kept)
        self.values = torch.zeros(frozen + _total(tensors.frozen), device=device)
        self.compute, self._frozen = self.values[:computed], self.values[frozen:]
        if dtype != torch.float32:
            self.compute, self._frozen = self.compute.to(dtype), self._frozen.to(dtype)

        self._computed = [*tensors.inner, *tensors.outer, *tensors.biases]
        self._scales = tensors.scales
        self._kept: tuple[Tensor, Tensor] | None = None
        self._slots: dict[int, tuple[int, int]] = {}
        at = 0
        for tensor in (*self._computed, *self._scales, *tensors.kept, *tensors.frozen):
            self._slots[id(tensor)] = (at, at + tensor.numel())
            if at >= frozen:
                place = self._frozen[at - frozen :]
            else:
                place = self.compute[at:] if at < computed else self.values[at:]
            view = _shaped(place[: tensor.numel()], tensor)
            view.copy_(tensor.data)
            tensor.data = view
            at += tensor.numel()
        self.refresh_values()

    def refresh_values(self) -> None:
        """Copies the layers' weights into `values`. Call it after writing through the model."""
        if self.compute.dtype != torch.float32:
            self.values[: self.compute.numel()].copy_(self.compute)
            self.values[len(self.values) - len(self._frozen) :].copy_(self._frozen)

    def refresh_compute(self) -> None:
        """Copies `values` into the layers' own copy. Call it after an update of `values`."""
        if self.compute.dtype != torch.float32:
            self.compute.copy_(self.values[: self.compute.numel()])

    def keep_gradients(self) -> None:
        """Takes the gradients off the layers, and keeps them for `take_gradients` to add.

        They are kept in float32: a sum of many in bfloat16 would lose the small ones.
        """
        computed, scales = self._off_the_layers()
        if self._kept is None:
            self._kept = computed.float(), scales
        else:
            self._kept[0].add_(computed)
            self._kept[1].add_(scales)

    def take_gradients(self) -> tuple[Tensor, Tensor]:
        """Takes all gradients off the layers, in the buffer's order, and adds those that were kept.

        Returns:
            `dtype` [C] of what is computed with in `dtype` (float32 for a sum), and float32 [P - C]
            of the norms.
        """
        computed, scales = self._off_the_layers()
        if self._kept is None:
            return computed, scales
        (kept, kept_scales), self._kept = self._kept, None
        return kept.add_(computed), kept_scales.add_(scales)

    def forget_gradients(self) -> None:
        """Removes all gradients. Call it after a step that was broken off."""
        self._kept = None
        for parameter in (*self._computed, *self._scales):
            parameter.grad = None

    def _off_the_layers(self) -> tuple[Tensor, Tensor]:
        computed = torch.cat([_flat(p) for p in self._computed])
        scales = torch.cat([_flat(p) for p in self._scales]) if self._scales else computed.new_zeros(0).float()
        for parameter in (*self._computed, *self._scales):
            parameter.grad = None
        return computed, scales

    def named_values(self, values: Tensor) -> dict[str, Tensor]:
        """Returns the model's state dict, float32 on the CPU, with the weights of `values`."""
        host = values.detach().cpu()
        state = {}
        for name, tensor in self.model.state_dict(keep_vars=True).items():
            if id(tensor) not in self._slots:
                state[name] = tensor.detach().cpu()
                continue
            start, end = self._slots[id(tensor)]
            state[name] = _shaped(host[start:end], tensor).contiguous().clone()
        return state


def _matrix(weight: Tensor) -> tuple[int, int]:
    """Returns rows and columns of a layer's weights as a matrix: its outputs and its inputs."""
    return len(weight), weight.numel() // len(weight)


def _stacks(weights: Iterable[Tensor]) -> list[tuple[int, tuple[int, int, int]]]:
    """Returns runs of equally shaped matrices: the start of each, and its shape [K, R, C]."""
    stacks, at = [], 0
    for (rows, columns), alike in groupby(weights, key=_matrix):
        count = len(list(alike))
        stacks.append((at, (count, rows, columns)))
        at += count * rows * columns
    return stacks


def _total(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _shaped(flat: Tensor, like: Tensor) -> Tensor:
    """Returns a view of `flat` with the shape of `like`.

    Kernels [A, B, H, W] have B innermost (channels_last).
    """
    if like.dim() == 4:
        a, b, h, w = like.shape
        return flat.view(a, h, w, b).permute(0, 3, 1, 2)
    return flat.view(like.shape)


def _flat(parameter: nn.Parameter) -> Tensor:
    gradient = parameter.grad
    assert gradient is not None, "every parameter takes part in the loss"
    return (gradient.permute(0, 2, 3, 1) if gradient.dim() == 4 else gradient).reshape(-1)


def _forget_batch_counters(model: nn.Module) -> None:
    """Stops norms from counting their batches: that is a kernel for each norm and step.

    The count is used only without momentum.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.num_batches_tracked = None
