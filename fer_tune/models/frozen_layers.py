"""The layers of a torchvision network that keep the weights of a file.

A network is a row of blocks: single layers, and blocks that torchvision has a class for, such as a
residual block or an encoder block. Norms belong to the block before them. Of these blocks are
frozen, from the first one on:

    none      no block
    stem      the first convolution; a transformer's class token and position embeddings too
    half      the first half of the blocks, rounded down
    features  all blocks: only the last layer, which is new, learns
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import nn
from torchvision.models.vision_transformer import Encoder

Frozen = Literal["none", "stem", "half", "features"]


def freeze(network: nn.Module, last: str, frozen: Frozen) -> tuple[int, list[nn.Module]]:
    """Freezes parameters of a network.

    Returns the number of its blocks, and the BatchNorms that must stay in evaluation.

    Args:
        last: the name of its last layer.
    """
    found = blocks(network, last)
    count = {"none": 0, "stem": 1, "half": len(found) // 2, "features": len(found)}[frozen]
    still = {id(parameter) for block in found[:count] for parameter in block}
    for parameter in network.parameters():
        parameter.requires_grad_(id(parameter) not in still)
    norms = (module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))
    return len(found), [norm for norm in norms if id(norm.weight) in still]


def blocks(network: nn.Module, last: str) -> list[list[nn.Parameter]]:
    """Returns the parameters of each block, in the order of the network, without the last layer."""
    found: list[list[nn.Parameter]] = []
    single = list(_own_parameters(network))
    for unit in _units(network, network.get_submodule(last)):
        parameters = list(unit.parameters())
        if not parameters:
            continue
        if found and all(parameter.dim() == 1 for parameter in parameters):
            found[-1] += parameters
        else:
            found.append(parameters)
    found[0] += single
    return found


def _units(module: nn.Module, last: nn.Module) -> Iterator[nn.Module]:
    """Yields the single layers and blocks of a module, without the last layer of the network."""
    for child in module.children():
        if child is last:
            continue
        inner = isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict | Encoder)
        if inner or last in child.modules():
            yield from _units(child, last)
        else:
            yield child


def _own_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """Yields parameters that belong to no layer: a transformer's class token and positions."""
    for module in network.modules():
        if module is network or isinstance(module, Encoder):
            yield from module.parameters(recurse=False)
