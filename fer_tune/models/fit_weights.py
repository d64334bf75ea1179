"""Fits the tensors of a file to a network of torchvision for other images and classes.

The last layer is new. The first convolution takes other channels: one grey channel gets the sum of
the kernels of the colours, so a grey image gives the responses that it would give in three equal
channels (as timm's `adapt_input_conv`; Wightman 2019). A vision transformer has its position
embeddings interpolated to the number of patches (Dosovitskiy et al. 2021, section 3.2).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Size, Tensor
from torch.nn import functional

LEFT_OUT = ("AuxLogits.", "aux1.", "aux2.", "num_batches_tracked")
"""Parts of names of tensors that no network has here: heads that only help in training, and
counters."""

MOST_SHOWN = 4
"""Tensors that an error names."""

POSITIONS = "encoder.pos_embedding"


@dataclass(frozen=True)
class Wanted:
    """What a network needs.

    Attributes:
        shapes: of its float tensors, by name.
        first, last: the names of its first convolution and of its last layer.
    """

    shapes: Mapping[str, Size]
    first: str
    last: str


def fit(wanted: Wanted, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors of all layers but the last one.

    Raises:
        ValueError: some do not fit. The message says which.
    """
    given = {_modern(name): tensor for name, tensor in tensors.items()}
    found: dict[str, Tensor] = {}
    wrong = []
    for name, shape in wanted.shapes.items():
        if name.startswith(f"{wanted.last}."):
            continue
        tensor = given.get(name)
        if tensor is None:
            wrong.append(f"{name} is missing")
            continue
        found[name] = tensor = _adapted(name, tensor, shape, wanted.first)
        if tensor.shape != shape:
            wrong.append(f"{name} is {list(tensor.shape)}, and must be {list(shape)}")
    known = (*wanted.shapes, f"{wanted.last}.")
    strange = [name for name in given if name not in known and not name.startswith(f"{wanted.last}.")]
    wrong += [f"{name} is unknown" for name in strange if not any(part in name for part in LEFT_OUT)]
    if wrong:
        more = f"; and {len(wrong) - MOST_SHOWN} more" if len(wrong) > MOST_SHOWN else ""
        raise ValueError(f"{'; '.join(wrong[:MOST_SHOWN])}{more}")
    return found


def _modern(name: str) -> str:
    """Returns the name of a tensor as today's torchvision has it.

    DenseNet's published files are older than torch's rule that a module's name has no dot.
    """
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name)


def _adapted(name: str, tensor: Tensor, shape: Size, first: str) -> Tensor:
    """Returns a tensor for other channels or another number of patches, if it can be made so."""
    if name == f"{first}.weight" and tensor.dim() == 4:
        return _channels(tensor, shape[1])
    if name == POSITIONS and tensor.dim() == 3 and tensor.shape[2] == shape[2]:
        return _positions(tensor, shape[1] - 1)
    return tensor


def _channels(kernels: Tensor, channels: int) -> Tensor:
    """Returns kernels [N, C, H, W] for other channels, which give the same response."""
    if channels == 1:
        return kernels.sum(1, keepdim=True)
    if kernels.shape[1] == 1:
        return kernels.expand(-1, channels, -1, -1) / channels
    return kernels


def _positions(embeddings: Tensor, patches: int) -> Tensor:
    """Returns embeddings [1, 1 + P, E] of another square number of patches. The first one, of the
    class, stays."""
    side, wanted = math.isqrt(embeddings.shape[1] - 1), math.isqrt(patches)
    if side * side != embeddings.shape[1] - 1 or side == wanted:
        return embeddings
    places = embeddings[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    moved = functional.interpolate(places, (wanted, wanted), mode="bicubic", align_corners=True)
    return torch.cat((embeddings[:, :1], moved.flatten(2).permute(0, 2, 1)), dim=1)
