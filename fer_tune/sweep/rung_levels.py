"""The epochs at which trials of a sweep pause or are compared."""

from __future__ import annotations

from fer_tune.sweep.schema import SearchSpec, Sweep


def highest_rung(epochs: int) -> int:
    """Returns the highest epoch that may be a rung: three fifths of the schedule.

    A later pause saves little.
    """
    return 3 * epochs // 5


def rung_epochs(epochs: int, factor: int, first: int | None = None) -> tuple[int, ...]:
    """Returns the rungs of a schedule: each is `factor` times the one before.

    Args:
        epochs: length of the schedule.
        first: the lowest rung; None is a tenth of the schedule. The first epochs rank random
            configurations well, but not those that a search proposes: docs/search.md has figures.
    """
    lowest = first or max(1, round(epochs / 10))
    rungs: list[int] = []
    while (rung := lowest * factor ** len(rungs)) <= highest_rung(epochs):
        rungs.append(rung)
    return tuple(rungs)


def levels_of(sweep: Sweep) -> list[int]:
    """Returns the epochs at which a sweep's trials are compared: the rungs and the schedule."""
    search, epochs = sweep.search, sweep.budget.epochs
    rungs = rung_epochs(epochs, search.factor, search.first) if search.rungs is None else search.rungs
    return [*(epoch for epoch in rungs if epoch < epochs), epochs]


def unreached(search: SearchSpec, epochs: int) -> tuple[str, ...]:
    """Returns in words which rungs no trial reaches before its end. Empty if trials reach all.

    Args:
        epochs: length of the schedule. The command line often shortens it.
    """
    trials = f"trials have {epochs} epoch{'' if epochs == 1 else 's'}"
    if search.strategy != "promote":
        return ()
    if search.rungs is not None:
        late = [str(rung) for rung in search.rungs if rung >= epochs]
        return (f"search.rungs: {trials}, so none pauses at {' and '.join(late)}",) if late else ()
    if rung_epochs(epochs, search.factor, search.first):
        return ()
    if search.first is not None and (highest := highest_rung(epochs)):
        return (f"search.first: {trials}, so none pauses: the highest rung is {highest}",)
    return (f"search: {trials}, which is too few for a rung, so none pauses",)
