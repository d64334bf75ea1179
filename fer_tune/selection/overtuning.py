"""The overtuning meter: how far the figure of a search is above fresh figures of its winner.

The best of many noisy figures is too high, and a search that looks at validation often enough fits
validation itself (Schneider et al. 2025, arXiv 2506.19540). So three figures are shown side by
side: the search's own, the confirmed one, and the one on test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fer_tune.selection.race import UNKNOWN, SeedResult, Spread, combined, of_mean, pooled
from fer_tune.selection.statistics import LEVEL, Interval, mean, standard_error, t_interval, t_quantile, wilson


@dataclass(frozen=True)
class Figure:
    """One of the figures.

    Attributes:
        name: `search`, `confirmed` or `test`.
        values: by seed; one for the search.
        interval: over images, and over seeds if there are several; None if unknown.
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
        openings: how often the test images had been opened with that figure, over all studies; 0
            without a figure on test.
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
    spread: Spread = UNKNOWN,
) -> Meter:
    """Returns the figures of one configuration side by side, with warnings.

    Args:
        search: its value in the search.
        confirmed: its values under new seeds, on the same validation images; may be empty.
        test: its accuracies on test, by seed; may be empty.
        images, test_images: numbers of validation and test images.
        of_confirmed: the interval of the confirmed mean, if a race knows it.
        spread: the variance between seeds, if a race knows it. Otherwise it is that of these values
            alone.
    """
    figures, warnings = [Figure("search", (search,), _of_images(search, images))], []
    if confirmed:
        figures.append(Figure("confirmed", tuple(confirmed), of_confirmed or t_interval(confirmed)))
        chance = _of_new_seeds(len(confirmed), spread if spread.freedom else _spread(confirmed, images))
        if chance is not None and search - mean(confirmed) > chance:
            warnings.append(_sentence("under new seeds", search - mean(confirmed), chance))
    if test:
        own = _spread(test, test_images)
        figures.append(Figure("test", tuple(test), _on_test(test, own, test_images)))
        errors = standard_error(mean(confirmed or [search]), images), standard_error(mean(test), test_images)
        by_image = math.fsum((error or 0.0) ** 2 for error in errors)
        chance = _of_both(len(test), own if own.freedom else spread, by_image)
        if search - mean(test) > chance:
            warnings.append(_sentence("on test", search - mean(test), chance))
    return Meter(tuple(figures), tuple(warnings))


def _spread(values: Sequence[float], images: int) -> Spread:
    return pooled([[SeedResult(value) for value in values]], images)


def _on_test(test: Sequence[float], spread: Spread, images: int) -> Interval | None:
    """Returns the interval of a mean on test, over seeds and images as far as they are known."""
    if not images:
        return t_interval(test)
    return of_mean([SeedResult(value) for value in test], spread, images)[1] or _of_images(mean(test), images)


def _of_new_seeds(seeds: int, spread: Spread) -> float | None:
    """Returns how far one value is above the mean of others by chance, on the same images."""
    if not spread.freedom:
        return None
    return t_quantile((1 + LEVEL) / 2, spread.freedom) * math.sqrt(spread.variance * (1 + 1 / seeds))


def _of_both(seeds: int, spread: Spread, by_image: float) -> float:
    """Returns how far one value is above the mean of others by chance, on other images.

    Args:
        by_image: variance that the images alone give the difference.
    """
    by_seed = spread.variance * (1 + 1 / seeds) if spread.freedom else 0.0
    error, freedom = combined(by_seed, by_image, spread.freedom)
    return t_quantile((1 + LEVEL) / 2, freedom) * error


def _of_images(value: float, images: int) -> Interval | None:
    return wilson(value * images, images) if images else None


def _sentence(where: str, gap: float, chance: float) -> str:
    return (
        f"The search's figure is {100 * gap:.2f} points above the one {where}. "
        f"Chance explains {100 * chance:.2f}: the search fits its validation images."
    )
