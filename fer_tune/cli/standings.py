"""Prints the standings of a study: its best trials, and how sure their order is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from fer_tune.display import terminal

if TYPE_CHECKING:
    from fer_tune.selection.overtuning import Meter
    from fer_tune.selection.statistics import Interval
    from fer_tune.study.standings import Standing, Standings


def show(out: Console, found: Standings, top: int) -> None:
    """Prints a row for each of the best trials, and what follows from them."""
    confirmed = found.confirmations is not None
    table = terminal.table()
    for heading in ("trial", "search, %", *(("confirmed, %", "95 %", "seeds") if confirmed else ()), "p"):
        table.add_column(heading, justify="left" if heading == "95 %" else "right", no_wrap=True)
    table.add_column("", overflow="fold")
    for place, one in enumerate(found.ranked[:top], start=1):
        cells = [str(one.trial.number), _search(one), *(_confirmed(one) if confirmed else ())]
        table.add_row(*cells, _p(one, place, found), _verdict(one, place, found))
    out.print(table)
    say(out, conclusions(found))


def say(out: Console, sentences: Iterable[str]) -> None:
    """Prints sentences, folded to the width of the terminal."""
    for sentence in sentences:
        out.print(Text(terminal.shown(sentence)))


def show_meter(out: Console, meter: Meter | None) -> None:
    """Prints the figures of search, confirmations and test side by side, with warnings."""
    if meter is None or len(meter.figures) < 2:
        return
    figures = [
        f"{one.name} {terminal.percent(one.value)}" + (f" ({_interval(one.interval)})" if one.interval else "")
        for one in meter.figures
    ]
    if meter.openings:
        times = {1: "once", 2: "twice"}.get(meter.openings, f"{meter.openings} times")
        figures[-1] += f", with test opened {times} by then"
    say(out, [f"overtuning: {', '.join(figures)}", *(f"warning: {text}" for text in meter.warnings)])


def mark(found: Standings, one: Standing) -> str:
    """Returns how a trial compares with the leader, in a word and a probability."""
    place = found.ranked.index(one) + 1
    p = _p(one, place, found)
    return " ".join([_verdict(one, place, found), *([] if p == terminal.NONE else [f"p {p}"])]).strip()


def conclusions(found: Standings) -> list[str]:
    """Returns what follows from the standings, a sentence or two for each part."""
    said = [_ties(found)]
    chosen = found.chosen
    if chosen is not None and found.rule == "one_se":
        parameters = chosen.trial.attrs.get("parameters")
        size = f", with {parameters:,} parameters" if parameters else ""
        said.append(f"The cheapest within one standard error is trial {chosen.trial.number}{size}.")
    if found.optimism is not None:
        direction = "above" if found.optimism > -5e-5 else "below"
        said.append(
            f"The search's own figures are {abs(100 * found.optimism):.2f} points {direction} the confirmed means."
        )
    if found.confirmations is not None:
        known = found.confirmations
        whole = known.trainings + known.saved
        if known.saved:
            said.append(f"Racing saved {known.saved} of {whole} trainings.")
        if known.race.racing:
            said.append("The confirmations are not complete. The same fer-tune confirm continues them.")
        said += [f"Trial {number} left the race: {why}" for number, why in known.failed.items()]
    if not found.in_cache and len(found.ranked) > 1:
        said.append(
            "The images of the study are not in the cache. So its trials are compared by their values alone, "
            "and not image by image."
        )
    if found.cut_off is not None:
        said.append(found.cut_off.sentence())
    return [text for text in said if text]


def as_dict(found: Standings, top: int) -> dict[str, Any]:
    """Returns the standings for JSON."""
    known = found.confirmations
    return {
        "study": found.study,
        "objective": found.objective,
        "rule": found.rule,
        "chosen": found.chosen.trial.number if found.chosen else None,
        "ties": [one.trial.number for one in found.ties],
        "cut_off": found.cut_off.trial.number if found.cut_off else None,
        "optimism": found.optimism,
        "winner": known.race.winner if known else None,
        "confirmed_under": known.seeds if known else 0,
        "trainings": known.trainings if known else 0,
        "trainings_saved": known.saved if known else 0,
        "failed": {str(number): why for number, why in known.failed.items()} if known else {},
        "trials": [_trial(one, found) for one in found.listed(top)],
    }


def _trial(one: Standing, found: Standings) -> dict[str, Any]:
    place, compared = one.confirmed, _compared(one, found)
    return one.trial.as_dict() | {
        "error": one.error,
        "behind": one.behind if compared else None,
        "p": one.p if compared else None,
        "paired": one.paired if compared else None,
        "tied": one.tied if compared else None,
        "confirmed": asdict(place) if place else None,
    }


def _ties(found: Standings) -> str:
    numbers = [one.trial.number for one in found.ties]
    if found.confirmations is not None and found.confirmations.race.winner is not None:
        return f"Trial {found.confirmations.race.winner} is better than the others beyond chance."
    if len(numbers) < 2:
        return ""
    confirmed = [] if found.confirmations is None else found.confirmations.trials
    compared = len(confirmed or found.ranked)  # a confirmation that was just begun has compared none
    some = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    text = f"{len(numbers)} of {compared} compared trials cannot be told from the leader: {some}."
    return text if found.confirmations else f"{text} fer-tune confirm separates them by new seeds."


def _compared(one: Standing, found: Standings) -> bool:
    """Returns whether a trial was compared with the leader.

    Confirmed trials are compared only with one another.
    """
    return one.confirmed is not None or found.ranked[0].confirmed is None


def _search(one: Standing) -> str:
    """Returns the search's value in per cent, with its standard error."""
    value = terminal.percent(one.trial.value).removesuffix(" %")
    return value if one.error is None else f"{value} ± {100 * one.error:.2f}"


def _confirmed(one: Standing) -> Sequence[str]:
    place = one.confirmed
    if place is None:
        return (terminal.NONE, terminal.NONE, terminal.NONE)
    low_high = _interval(place.interval) if place.interval else terminal.NONE
    return terminal.percent(place.mean).removesuffix(" %"), low_high, str(len(place.values))


def _interval(of: Interval) -> str:
    """Returns an interval in per cent. What two seeds say may reach beyond 0 and 100."""
    return f"{100 * max(of.low, 0.0):.2f} to {100 * min(of.high, 1.0):.2f}"


def _p(one: Standing, place: int, found: Standings) -> str:
    if place == 1 or one.p is None or not _compared(one, found):
        return terminal.NONE
    return terminal.probability(one.p)


def _verdict(one: Standing, place: int, found: Standings) -> str:
    if place == 1:
        won = found.confirmations is not None and found.confirmations.race.winner == one.trial.number
        return "winner" if won else "leader"
    if one.confirmed is not None and one.confirmed.behind_after is not None:
        return f"behind after {one.confirmed.behind_after} seeds"
    if not _compared(one, found):
        return "not confirmed"
    return "tied" if one.tied else "behind"
