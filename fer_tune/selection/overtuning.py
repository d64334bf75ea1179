"""The overtuning meter: how far the figure of a search is above fresh figures of its winner.

The best of many noisy figures is too high, and a search that looks at validation often enough fits
validation itself (Schneider et al. 2025, arXiv 2506.19540). So three figures are shown side by
side: the search's own, the confirmed one, and the one on test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fer_tune.selection.statistics import LEVEL, Interval, deviation, mean, standard_error, t_interval, t_quantile

Z = 1.959963984540054
"""The quantile of the normal distribution for an interval of 95 %."""


@dataclass(frozen=True)
class Figure:
    """One of the figures.

    Attributes:
        name: `search`, `confirmed` or `test`.
        values: by seed; one for the search.
        interval: over seeds if there are several, else over images; None if unknown.
    """

    name: str
    values: tuple[float, ...]
    interval: Interval | None

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return mean(self.values)


@dataclass(frozen=True)
class Meter:
    """The figures of one configuration, and what is wrong with them.

    Attributes:
        warnings: a sentence for each gap that is more than chance explains.
        openings: how often the test images were opened, over all studies; 0 without a figure on
            test.
    """

    figures: tuple[Figure, ...]
    warnings: tuple[str, ...]
    openings: int = 0


def meter(
    search: float,
    confirmed: Sequence[float],
    test: Sequence[float],
    images: int,
    test_images: int,
    *,
    of_confirmed: Interval | None = None,
) -> Meter:
    """Returns the figures of one configuration side by side, with warnings.

    Args:
        search: its value in the search.
        confirmed: its values under new seeds, on the same validation images; may be empty.
        test: its accuracies on test, by seed; may be empty.
        images, test_images: numbers of validation and test images.
        of_confirmed: the interval of the confirmed mean, if the race knows a better one than these
            values alone give: it pools the variation of seeds over all candidates.
    """
    figures, warnings = [Figure("search", (search,), _of_images(search, images))], []
    if confirmed:
        figures.append(Figure("confirmed", tuple(confirmed), of_confirmed or t_interval(confirmed)))
        spread = deviation(confirmed)
        if spread is not None:
            chance = t_quantile((1 + LEVEL) / 2, len(confirmed) - 1) * spread * math.sqrt(1 + 1 / len(confirmed))
            if search - mean(confirmed) > chance:
                warnings.append(_sentence("under new seeds", search - mean(confirmed), chance))
    if test:
        interval = t_interval(test) if len(test) > 1 else _of_images(test[0], test_images)
        figures.append(Figure("test", tuple(test), interval))
        fresh = mean(confirmed) if confirmed else search
        errors = standard_error(fresh, images), standard_error(mean(test), test_images)
        chance = Z * math.hypot(*(error or 0.0 for error in errors), (deviation(test) or 0.0) / math.sqrt(len(test)))
        if search - mean(test) > chance:
            warnings.append(_sentence("on test", search - mean(test), chance))
    return Meter(tuple(figures), tuple(warnings))


def _of_images(value: float, images: int) -> Interval | None:
    error = standard_error(value, images)
    return None if error is None else Interval(value - Z * error, value + Z * error)


def _sentence(where: str, gap: float, chance: float) -> str:
    return (
        f"The search's figure is {100 * gap:.2f} points above the one {where}. "
        f"Chance explains {100 * chance:.2f}: the search fits its validation images."
    )
