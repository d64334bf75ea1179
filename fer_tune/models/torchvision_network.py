"""torchvision's classification networks as families: `family: torchvision/efficientnet_b0`.

The network is torchvision's own, for the channels, side and classes of the data. Three things
change. Its first convolution takes the data's channels. Each of its dropout layers reads its rate
from device memory, so that the rate can be searched. And a dropout before the last layer is added.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import create_model

from fer_tune.data.spec import DataSpec
from fer_tune.models.family import Family, FamilyConfig, rate

if TYPE_CHECKING:
    from torch import nn

PREFIX = "torchvision/"

HALVINGS = 5
"""torchvision's networks were made for 224 pixels. Most of them halve the side five times."""

LEAST_HALVINGS = {"alexnet": 6, "inception_v3": 7, "googlenet": 4}
"""Networks that need another smallest side: 64, 128 (for 75) and 16 pixels."""

NOT_CLASSIFIERS = ("quantized_", "maxvit")
"""Beginnings of names that are left out. Quantized networks cannot be trained. MaxViT fixes its
image size to multiples of 32 times 7."""


class TorchvisionConfig(FamilyConfig):
    """A network of torchvision, with its own dropout."""

    head_dropout: float = rate(0.0, "before the last layer")
    own_dropout: float = rate(0.0, "in the network's own dropout layers")
    stochastic_depth: float = rate(0.0, "of the last block that can be skipped; it rises linearly from 0")


def is_one(name: str) -> bool:
    """Returns whether torchvision has a network of this name. Imports torchvision to answer yes."""
    return name.startswith(PREFIX) and name in names()


@cache
def names() -> list[str]:
    """Returns the names of all networks, such as `torchvision/resnet18`. Imports torchvision."""
    import torchvision

    found = torchvision.models.list_models(torchvision.models)
    return [PREFIX + name for name in found if not name.startswith(NOT_CLASSIFIERS)]


@cache
def family(name: str) -> Family:
    """Returns the family of one of `names`."""
    network = name.removeprefix(PREFIX)
    config = create_model(
        "TorchvisionConfig", __base__=TorchvisionConfig, __doc__=f"torchvision's {network}, with its own dropout."
    )

    def build(config: Any, spec: DataSpec) -> nn.Module:
        """Returns the network: float [N, channels, side, side] to logits [N, classes]."""
        from fer_tune.models.torchvision_layers import TorchvisionNetwork

        return TorchvisionNetwork(network, spec)

    return Family(name, config, build, LEAST_HALVINGS.get(network, HALVINGS))
