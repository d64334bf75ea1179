"""Reads the weights of dlib's face network from the file that dlib serialized them to.

The format is that of `dlib/serialize.h` and `dlib/cuda/tensor.h`. A whole number is a byte that
says how many bytes follow, then these, the lowest first. A tensor is the number 2 (the version),
its four sizes, and its values as float32. The layers come from the input to the output, each with
the tensor of its weights. Between them is much that is not needed, so the tensors are searched
for.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LEAST = 16
"""Values of the smallest tensor that is taken. Smaller ones may be found by chance."""

SMALLEST, LARGEST = 1e-20, 1e4
"""Most weights are between these, apart from their sign. Other bytes, read as weights, are not."""


def tensors(data: bytes) -> list[Floats]:
    """Returns the tensors of a file in their order, each as one dimension."""
    found, place = list[Floats](), 0
    while place < len(data):
        tensor, end = _tensor(data, place)
        if tensor is None:
            place += 1
        else:
            found.append(tensor)
            place = end
    return found


def _tensor(data: bytes, place: int) -> tuple[Floats | None, int]:
    """Returns the tensor that begins at a place, and where it ends; None if there is none."""
    numbers = list[int]()
    for _ in range(5):
        length = data[place] if place < len(data) else 0
        if not 1 <= length <= 8:
            return None, place
        numbers.append(int.from_bytes(data[place + 1 : place + 1 + length], "little"))
        place += 1 + length
    version, *sizes = numbers
    count = math.prod(sizes)
    if version != 2 or count < LEAST or place + 4 * count > len(data):
        return None, place
    values = np.frombuffer(data, "<f4", count, place)
    large = np.abs(values)
    plausible = bool(np.isfinite(values).all() and large.max() < LARGEST and (large > SMALLEST).mean() > 0.5)
    return (values if plausible else None), place + 4 * count
