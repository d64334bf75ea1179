"""torchvision's classification networks as families: `family: torchvision/efficientnet_b0`.

The network is torchvision's own, for the channels, side and classes of the data. Three things
change. Its first convolution takes the data's channels. Each of its dropout layers reads its rate
from device memory, so that the rate can be searched. And a dropout before the last layer is added.

A name that ends with a digest is a network that starts from weights of a file; see `start_weights`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

from fer_tune.data.spec import DataSpec
from fer_tune.models import start_weights
from fer_tune.models.family import Family, FamilyConfig, rate
from fer_tune.models.start_weights import PREFIX

if TYPE_CHECKING:
    from torch import nn

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


class PretrainedConfig(TorchvisionConfig):
    """A network of torchvision that starts from weights of a file."""

    frozen: Literal["none", "stem", "half", "features"] = Field(
        "none", description="which blocks keep the weights of the file: the first one, the first half, or all"
    )


def is_one(name: str) -> bool:
    """Returns whether torchvision has a network of this name, which may have weights of a file.

    Imports torchvision to answer yes.
    """
    if named := start_weights.NAMED.fullmatch(name):
        name = named["network"]
    return name.startswith(PREFIX) and name in names()


@cache
def names() -> list[str]:
    """Returns the names of all networks, such as `torchvision/resnet18`. Imports torchvision."""
    import torchvision

    found = torchvision.models.list_models(torchvision.models)
    return [PREFIX + name for name in found if not name.startswith(NOT_CLASSIFIERS)]


@cache
def family(name: str) -> Family:
    """Returns the family of one of `names`, or of one with weights of a file."""
    named = start_weights.NAMED.fullmatch(name)
    network = (named["network"] if named else name).removeprefix(PREFIX)
    base: type[FamilyConfig] = PretrainedConfig if named else TorchvisionConfig
    about = f"torchvision's {network}, with its own dropout{' and weights of a file' if named else ''}."
    config = create_model(base.__name__, __base__=base, __doc__=about)

    def build(config: Any, spec: DataSpec) -> nn.Module:
        """Returns the network: float [N, channels, side, side] to logits [N, classes]."""
        from fer_tune.models.torchvision_layers import TorchvisionNetwork

        return TorchvisionNetwork(network, spec, name if named else None, getattr(config, "frozen", "none"))

    patch = int(network.rpartition("_")[2]) if network.startswith("vit_") else 1
    return Family(name, config, build, LEAST_HALVINGS.get(network, HALVINGS), patch)
