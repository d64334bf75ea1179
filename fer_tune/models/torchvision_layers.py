"""What makes a network of torchvision fit the trainer. See `torchvision_network`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from fer_tune.data.spec import DataSpec
from fer_tune.models.layers import Dropout


class TorchvisionNetwork(nn.Module):
    """A network of torchvision: float [N, channels, side, side] to logits [N, classes].

    Args:
        name: torchvision's name of it.
        spec: what the images are.
    """

    def __init__(self, name: str, spec: DataSpec) -> None:
        super().__init__()
        self._name, self._spec = name, spec
        self.network = _built(name, spec)
        _search_rates(self.network)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits

    @torch.no_grad()
    def initialise(self) -> None:
        """Draws all weights as torchvision does, from torch's default generator of the CPU."""
        drawn = TorchvisionNetwork(self._name, self._spec).network.state_dict()
        for name, tensor in self.network.state_dict(keep_vars=True).items():
            tensor.copy_(drawn[name])


class ElementDropout(nn.Module):
    """Dropout of single elements, whatever the shape. The rate is in device memory."""

    def __init__(self, rate_of: Callable[[Any], float]) -> None:
        super().__init__()
        self.dropout = Dropout(rate_of)

    def forward(self, x: Tensor) -> Tensor:
        return self.scaled(x, x.shape) if self.training else x

    def scaled(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Returns `x` times 0 or 1 / (1 - rate). The factors have `shape`, and broadcast."""
        keep = 1 - self.dropout.rate
        return x * ((torch.rand(shape, device=x.device) < keep) / keep).to(x.dtype)


class SkippedBlock(ElementDropout):
    """Stochastic depth: leaves a block out for some images (Huang et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.scaled(x, (len(x), *(1 for _ in x.shape[1:]))) if self.training else x


def _built(name: str, spec: DataSpec) -> nn.Module:
    """Returns torchvision's network with new weights, for the channels and classes of `spec`."""
    options: dict[str, Any] = {"num_classes": len(spec.classes)}
    known = inspect.signature(torchvision.models.get_model_builder(name)).parameters
    if name in {"googlenet", "inception_v3"}:
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        options["image_size"] = spec.side
    assert "weights" in known, f"{name} is not built as torchvision's other networks are"
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    _take_channels(network, spec.channels)
    return network


def _take_channels(network: nn.Module, channels: int) -> None:
    """Gives the first convolution the data's channels."""
    path, first = next((path, layer) for path, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    if first.in_channels == channels:
        return
    layer = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    _put(network, path, layer)


def _search_rates(network: nn.Module) -> None:
    """Replaces dropout and stochastic depth by layers whose rates are hyperparameters."""
    modules = list(network.named_modules())
    depths = [path for path, layer in modules if isinstance(layer, StochasticDepth)]
    for place, path in enumerate(depths, 1):
        share = place / len(depths)
        _put(network, path, SkippedBlock(lambda config, share=share: share * config.stochastic_depth))  # type: ignore[misc]
    for path, layer in modules:
        if isinstance(layer, nn.Dropout):
            _put(network, path, ElementDropout(lambda config: config.own_dropout))
    path, last = [(path, layer) for path, layer in modules if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    _put(network, path, nn.Sequential(ElementDropout(lambda config: config.head_dropout), last))


def _put(network: nn.Module, path: str, layer: nn.Module) -> None:
    """Puts a layer into the place that `path` names."""
    above, _, name = path.rpartition(".")
    setattr(network.get_submodule(above), name, layer)
