"""Standard errors of shares, such as accuracies."""

from __future__ import annotations

import math


def standard_error(share: float | None, images: int) -> float | None:
    """Returns sqrt(p (1 - p) / n) of a share of n images, or None where either is unknown."""
    return math.sqrt(max(0.0, share * (1 - share)) / images) if share is not None and images else None


def error_of_difference(one: float | None, other: float | None) -> float | None:
    """Returns the standard error of the difference of two independent values.

    It is None where one of the errors is unknown.

    Two accuracies on the same images are not independent. Then the difference is known better than
    this says.
    """
    return None if one is None or other is None else math.hypot(one, other)
