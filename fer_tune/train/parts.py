"""Images in parts: equal ones for an evaluation, and those of a batch too large for memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor, nn


def alike(count: int, most: int) -> Iterator[slice]:
    """Yields parts of one size, at most `most`, that cover `count` images.

    The last part may repeat images of the one before.

    cuDNN tries its algorithms again for each size, which takes a good part of the time until a
    first step.
    """
    size = math.ceil(count / math.ceil(count / most))
    for start in range(0, count, size):
        end = min(start + size, count)
        yield slice(end - size, end)


def slow_down_statistics(model: nn.Module, parts: int) -> None:
    """Makes BatchNorm's running statistics move in `parts` updates as far as in one."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is not None and parts > 1:
            module.momentum = 1 - (1 - module.momentum) ** (1 / parts)


def in_parts(batch: Sequence[Tensor]) -> str:
    """Returns the note of a job whose step was divided into these parts."""
    return (
        f"memory was short: each step of {sum(map(len, batch))} images was computed in {len(batch)} parts of "
        f"{len(batch[0])}; BatchNorm's statistics are those of a part"
    )
