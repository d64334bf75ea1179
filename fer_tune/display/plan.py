"""How the plan of a run looks, and how right it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.text import Text

from fer_tune.display import terminal
from fer_tune.selection.cost import ForecastRange
from fer_tune.sweep.describe import describe_images

LISTED = 3
"""Start configurations that a preview lists."""

SUPPOSED = "the plan supposes that none ends early"
"""What is said of trials that may end early, if nothing is known of when."""

if TYPE_CHECKING:
    from rich.console import Console

    from fer_tune.job import Value
    from fer_tune.sources.plan import SweepPlan
    from fer_tune.sources.preview import Preview
    from fer_tune.study import Counts


class PlanView:
    """Prints what sweeps will cost. One sweep begins when the one before it has finished."""

    def __init__(self) -> None:
        self._out = terminal.console()
        self._low = self._middle = self._high = 0.0

    def show(self, plan: SweepPlan) -> None:
        """Prints the plan of the next sweep."""
        for line in lines_of(plan):
            terminal.line(self._out, line)
        if plan.nothing:
            return
        self._low += plan.seconds.low
        self._middle += plan.seconds.middle
        self._high += plan.seconds.high
        when = _when(datetime.now().astimezone(), ForecastRange(self._low, self._middle, self._high))
        terminal.line(self._out, f"  finished about {when}, if it began now")


def show_previews(previews: Sequence[Preview]) -> None:
    """Prints what a run would do."""
    out = terminal.console()
    for one in previews:
        sweep, budget = one.sweep, one.sweep.budget
        terminal.line(out, (sweep.study, "bold"), f": {terminal.family(sweep.family)} on {describe_images(sweep)}")
        terminal.line(out, f"  {_which_study(one)}")
        trials, epochs = terminal.many(budget.trials, "trial"), terminal.many(budget.epochs, "epoch")
        workers = terminal.many(len(one.devices), "worker")
        terminal.line(out, f"  {trials} of at most {epochs}; {workers}: {', '.join(one.devices)}")
        if one.missing:
            terminal.line(out, ("  the images are missing: ", "bold red"), one.missing)
        if one.counts is None:
            _show_first(out, one)
        else:
            terminal.line(out, f"  {_what_continues(one.counts, budget.trials)}")
        for remark in one.notes:
            terminal.line(out, f"  note: {remark}")
    terminal.line(out, "nothing was trained or written")


def _show_first(out: Console, one: Preview) -> None:
    """Prints the first configurations of a new study."""
    for name, params in one.first[:LISTED]:
        what = f"start configuration {name!r}" if name else "a start configuration"
        out.print(Padding(Text(terminal.shown(f"{what}: {_params(params)}")), (0, 0, 0, 2)))
    if len(one.first) > LISTED:
        terminal.line(out, f"  and {terminal.many(len(one.first) - LISTED, 'more start configuration')}")
    for params in one.examples:
        out.print(Padding(Text(f"for example: {_params(params)}"), (0, 0, 0, 2)))


def _which_study(one: Preview) -> str:
    counts = one.counts
    if counts is None:
        return f"a new study in {one.database}"
    states = [terminal.many(counts.finished, "finished trial")]
    states += [f"{counts.paused} paused"] if counts.paused else []
    states += [f"{counts.interrupted} interrupted"] if counts.interrupted else []
    return f"continues the study in {one.database}, which has {', '.join(states)}"


def _what_continues(counts: Counts, trials: int) -> str:
    """Returns what a run of a study that was begun does first."""
    if counts.interrupted:
        return "first what was interrupted, then paused trials that may continue and new ones"
    if counts.paused:
        return "first paused trials that may continue, then new ones"
    if counts.waiting or counts.finished + counts.running < trials:
        return "first what waits in Optuna's queue, then new trials"
    return "nothing is left to train"


def _params(params: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {terminal.value(value)}" for name, value in params.items())


def lines_of(plan: SweepPlan) -> list[str]:
    """Returns what one sweep will cost, line by line, without the time of the clock."""
    if plan.nothing:
        return [f"{plan.study}: {plan.nothing}"]
    pace, found = plan.pace, plan.forecast
    devices = "1 worker" if len(plan.devices) == 1 else f"{len(plan.devices)} workers"
    started = _counted(found.started, "trial starts", "trials start")
    reached = [f"{_counted(number, 'reaches', 'reach')} epoch {epoch}" for epoch, number in found.reached.items()]
    unit = "GPU" if any(device != "cpu" for device in plan.devices) else "CPU"
    seconds = f"{median(pace.epochs):.3g} s (from {min(pace.epochs):.3g} to {max(pace.epochs):.3g})"
    start = f", and a start {pace.overhead:.2g} s" if pace.overhead else ""
    patience = () if plan.patience is None else (f"  budget.patience: {plan.patience} may end the study earlier",)
    return [
        f"{plan.study}: {devices}",
        f"  an epoch takes {seconds} of {unit} time{start}, by {pace.source}",
        f"  {started}; {', '.join(reached) or SUPPOSED}",
        f"  {_time(found.device_seconds)} of {unit} time; {_time(plan.seconds)} of wall time",
        *patience,
    ]


def comparison(plan: Mapping[str, Any]) -> str:
    """Returns how right a plan was, in one line; see `sources.spending`."""
    expected, took = plan["expected"], plan["took"]
    said, was = float(expected["device_seconds"]["middle"]), float(took["device_seconds"])
    error = f" ({was / said - 1:+.0%})" if said > 0 else ""
    trials = (
        f"it expected {terminal.many(round(expected['started']['middle']), 'trial')}, and {took['started']:.0f} started"
    )
    training = _time(ForecastRange(**expected["device_seconds"]))
    return f"the plan expected {training} of training, and it took {terminal.clock(was)}{error}; {trials}"


def _when(now: datetime, seconds: ForecastRange) -> str:
    """Returns the time of day after so many seconds."""
    return _between(
        *(f"{now + timedelta(seconds=some):%a %H:%M}" for some in (seconds.low, seconds.middle, seconds.high))
    )


def _counted(of: ForecastRange, one: str, several: str) -> str:
    """Returns how many trials do something: `1 trial starts`, but `1 (1 to 2) trials start`."""
    number = _between(*(str(round(trials)) for trials in (of.low, of.middle, of.high)))
    return f"{number} {one if number == '1' else several}"


def _time(of: ForecastRange) -> str:
    return _between(*(terminal.clock(seconds) for seconds in (of.low, of.middle, of.high)))


def _between(low: str, middle: str, high: str) -> str:
    """Returns a forecast with its range, if they differ as they are shown."""
    return middle if low == high else f"{middle} ({low} to {high})"
