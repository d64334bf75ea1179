"""The epochs at which trials of a sweep pause or are compared."""

from __future__ import annotations

from fer_tune.sweep.schema import Sweep


def rung_epochs(epochs: int, factor: int, first: int | None = None) -> tuple[int, ...]:
    """Returns the rungs of a schedule: each is `factor` times the one before.

    Args:
        epochs: length of the schedule. No rung is above three fifths of it, because so late a
            pause saves little.
        first: the lowest rung; None is a tenth of the schedule. The first epochs rank random
            configurations well, but not those that a search proposes: docs/search.md has figures.
    """
    lowest = first or max(1, round(epochs / 10))
    rungs: list[int] = []
    while 5 * (rung := lowest * factor ** len(rungs)) <= 3 * epochs:
        rungs.append(rung)
    return tuple(rungs)


def levels_of(sweep: Sweep) -> list[int]:
    """Returns the epochs at which a sweep's trials are compared: the rungs and the schedule."""
    search, epochs = sweep.search, sweep.budget.epochs
    rungs = rung_epochs(epochs, search.factor, search.first) if search.rungs is None else search.rungs
    return [*(epoch for epoch in rungs if epoch < epochs), epochs]
