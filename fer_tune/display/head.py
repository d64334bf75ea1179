"""The head of a view: the study, its progress, its best trial, its costs, its mirrors."""

from __future__ import annotations

from collections import Counter

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fer_tune.display import terminal
from fer_tune.display.cells import bar, one_line, sides
from fer_tune.display.run_state import RunState
from fer_tune.job import NOUNS


def head(state: RunState, width: int) -> list[RenderableType]:
    """Returns the head, line by line."""
    what = Text.assemble((state.study, "bold"), (f"  {terminal.family(state.family)} on {state.data}", "dim"))
    left = "" if state.over is not None else f" · about {terminal.clock(state.left)} left"
    when = Text(f"{terminal.clock(state.elapsed)} elapsed{left}")
    done = Text(f" {state.finished}/{state.budget}", "bold")
    progress = Table.grid()
    progress.add_row(bar(state.finished, state.budget, max(1, width - len(done))), done)
    best = _best(state) if state.kind == "search" else Text(f"{NOUNS[state.kind]}s", "dim")
    lines: list[RenderableType] = [
        *sides(what, when, width),
        progress,
        *sides(_counts(state), best, width),
        one_line(_costs(state)),
    ]
    lines += [one_line(Text.assemble((f"{name} ", "dim"), place)) for name, place in state.mirrors.items()]
    return lines + ([one_line(Text(state.remark, "dim"))] if state.remark else [])


def _counts(state: RunState) -> Text:
    counts = {**state.counts, "running": len(state.running)}
    states = ["complete", "running", "pruned", "failed"]
    states += [name for name in ("paused", "interrupted") if counts.get(name)]
    where = {"paused": _rungs(state)}
    parts = [
        Text(f"{counts.get(name, 0)} {name}{where.get(name, '')}", terminal.STYLES[name] if counts.get(name) else "dim")
        for name in states
    ]
    return Text.assemble((" · ", "dim")).join(parts)


def _rungs(state: RunState) -> str:
    """Returns at which epochs how many trials wait, as ` (epoch 1: 9, 4: 3)`."""
    waiting = Counter(job.epoch for job in list(state.unfinished.values()) if job.state == "paused")
    parts = [f"{epoch}: {count}" for epoch, count in sorted(waiting.items())]
    return f" (epoch {', '.join(parts)})" if parts else ""


def _best(state: RunState) -> Text:
    """Returns the best trial, and how far it is above the best start configuration."""
    if not state.best:
        return Text(f"best {terminal.NONE}", "dim")
    best = state.best[0]
    error = "" if state.error is None else f" ± {100 * state.error:.2f}"
    text = Text.assemble("best ", (terminal.percent(best.value), "bold green"), (error, "dim"), f" in {best.label}")
    if best.name is None and state.start is not None and best.value is not None:
        text += Text(f", {100 * (best.value - state.start):+.2f} over start", "dim")
    elif best.name is not None:
        text += Text(", from start", "dim")
    return text


def _costs(state: RunState) -> Text:
    saves = state.kind == "search" and state.costs.saved > 0
    saved = f" · {terminal.hours(state.costs.saved)} saved by pruning" if saves else ""
    rates = "".join(f" · {device} {terminal.rate(rate)} images/s" for device, rate in sorted(state.rates.items()))
    return Text.assemble((f"{state.unit}-hours ", "dim"), f"{terminal.hours(state.spent)} spent{saved}{rates}")
