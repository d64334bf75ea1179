"""What makes a network of torchvision fit the trainer. See `torchvision_network`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from fer_tune.data.spec import DataSpec
from fer_tune.errors import TrainingError
from fer_tune.models import start_weights
from fer_tune.models.fit_weights import Wanted, fit
from fer_tune.models.frozen_layers import Frozen, freeze
from fer_tune.models.layers import Dropout

IMAGENET_CLASSES = 1000
"""For so many classes torchvision chose how it draws the weights of its last layers."""


class TorchvisionNetwork(nn.Module):
    """A network of torchvision: float [N, channels, side, side] to logits [N, classes].

    Args:
        name: torchvision's name of it.
        spec: what the images are.
        weights: the name of the family whose weights it starts from; see `start_weights`. None
            draws all weights.
        frozen: which layers keep these weights.

    Attributes:
        wanted: what weights must have to fit.
        blocks: how many blocks could be frozen.
    """

    def __init__(self, name: str, spec: DataSpec, weights: str | None = None, frozen: Frozen = "none") -> None:
        super().__init__()
        self._name, self._spec, self._weights = name, spec, weights
        self.network = _built(name, spec)
        first, last = _first_convolution(self.network), _last_layer(self.network)
        shapes = {key: one.shape for key, one in self.network.state_dict().items() if one.is_floating_point()}
        self.wanted = Wanted(shapes, first, last)
        self.blocks, self._still = freeze(self.network, last, frozen)
        _search_rates(self.network)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits

    def train(self, mode: bool = True) -> Self:
        """Changes to training or evaluation. Norms that are frozen stay in evaluation."""
        super().train(mode)
        for norm in self._still:
            norm.eval()
        return self

    @torch.no_grad()
    def initialise(self) -> None:
        """Draws all weights as torchvision does, from torch's default generator of the CPU. Takes
        those of the file, if there is one, for all layers but the last."""
        values = TorchvisionNetwork(self._name, self._spec).network.state_dict()
        if self._weights is not None:
            values |= fit(self.wanted, start_weights.load(self._weights))
        for name, tensor in self.network.state_dict(keep_vars=True).items():
            tensor.copy_(values[name])


def refuse_other_weights(family: str, spec: DataSpec, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuses weights of another network.

    Raises:
        TrainingError: they do not fit. The message says which tensors differ.
    """
    with torch.device("meta"):
        network = TorchvisionNetwork(family.rpartition("/")[2], spec)
    try:
        fit(network.wanted, tensors)
    except ValueError as error:
        raise TrainingError(
            f"{path} does not fit {family}: {error}.",
            "Name the network that these weights are of, or other weights.",
        ) from error


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
    classes = len(spec.classes)
    options: dict[str, Any] = {"num_classes": max(classes, IMAGENET_CLASSES)}
    known = inspect.signature(torchvision.models.get_model_builder(name)).parameters
    if name in {"googlenet", "inception_v3"}:
        options |= {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        options["image_size"] = spec.side
    assert "weights" in known, f"{name} is not built as torchvision's other networks are"
    where = torch.get_default_device()
    with torch.device("cpu" if name.startswith("regnet_") else where):  # they compute their widths with tensors
        network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    network = network.to(where)
    _take_channels(network, spec.channels)
    _take_classes(network, classes)
    return network


def _first_convolution(network: nn.Module) -> str:
    """Returns the name of the first convolution."""
    return _paths(network, nn.Conv2d)[0]


def _last_layer(network: nn.Module) -> str:
    """Returns the name of the layer that gives the logits."""
    return _paths(network, nn.Linear, nn.Conv2d)[-1]


def _paths(network: nn.Module, *kinds: type[nn.Module]) -> list[str]:
    """Returns the names of layers of some kinds, in their order."""
    return [path for path, layer in network.named_modules() if isinstance(layer, kinds)]


def _take_channels(network: nn.Module, channels: int) -> None:
    """Gives the first convolution the data's channels."""
    path = _first_convolution(network)
    first = network.get_submodule(path)
    assert isinstance(first, nn.Conv2d)
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


def _take_classes(network: nn.Module, classes: int) -> None:
    """Cuts the last layer to so many classes. Its weights stay as torchvision draws them for more.

    For few classes, EfficientNet and MNASNet draw larger ones. With seven, the first logits would
    be twelve times as large as for ImageNet, and the network would first unlearn them for epochs.
    """
    last = network.get_submodule(_last_layer(network))
    assert isinstance(last, nn.Linear | nn.Conv2d)
    last.weight = nn.Parameter(last.weight.detach()[:classes].clone())
    if last.bias is not None:
        last.bias = nn.Parameter(last.bias.detach()[:classes].clone())
    size = "out_features" if isinstance(last, nn.Linear) else "out_channels"
    setattr(last, size, classes)


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
    path = _last_layer(network)
    last = network.get_submodule(path)
    _put(network, path, nn.Sequential(ElementDropout(lambda config: config.head_dropout), last))


def _put(network: nn.Module, path: str, layer: nn.Module) -> None:
    """Puts a layer into the place that `path` names."""
    above, _, name = path.rpartition(".")
    setattr(network.get_submodule(above), name, layer)
