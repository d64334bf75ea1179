"""`fer-tune run`: runs sweeps, and shows what happens."""

from __future__ import annotations

import re
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from rich.console import Console

from fer_tune import api
from fer_tune.api.for_commands import beside_start, cut_off
from fer_tune.cli.options import (
    INTERRUPTED,
    NOTHING_COMPLETED,
    Changes,
    LaneCount,
    Storage,
    SweepFiles,
    Wandb,
    only_one,
    verbosity,
)
from fer_tune.cli.usage import wrong_value
from fer_tune.display import terminal
from fer_tune.errors import SettingsError
from fer_tune.jobs.outcome import FINAL, Reason
from fer_tune.pool.engines import EngineName
from fer_tune.selection.spending import shares
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.jobs import Observer, RunOutcome, StudyOutcome


WHY: dict[Reason, str] = {
    "budget": "",
    "gpu_hours": ", its GPU-hours are used up",
    "hours": ", its hours are over",
    "interrupted": ", interrupted",
}
"""Why a run left a study, for the line that says what the study came to."""

EXAMPLES = (
    "fer-tune run demo",
    "fer-tune run resnet --workers 2 --hours 1h30m",
    "fer-tune run mine.yaml --data faces/ --trials 100",
    "fer-tune run mine.yaml --dry-run",
)


def run(  # noqa: PLR0917 - options
    sweep: Annotated[list[Path], SweepFiles],
    workers: Annotated[
        str, typer.Option("--workers", metavar="N|auto", help="Number of workers. auto: one a GPU, or half the cores.")
    ] = "auto",
    lanes: LaneCount = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", min=1, max=1_000_000, metavar="N", help="Budget: finished trials.", show_default=False
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, max=10_000, metavar="N", help="Budget: epochs of a trial.", show_default=False),
    ] = None,
    gpu_hours: Annotated[
        str | None,
        typer.Option("--gpu-hours", metavar="TIME", help="Budget: time of all devices together.", show_default=False),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option(
            "--hours",
            metavar="TIME",
            help="Budget: wall time of this run, such as 2 (hours), 90m or 1h30m.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="SRC", help="fer2013, demo, or a path.", show_default=False)
    ] = None,
    storage: Storage = None,
    engine: Annotated[
        EngineName,
        typer.Option(
            "--engine",
            metavar="|".join(get_args(EngineName)),
            help="ray trains on a Ray cluster; inline in this process, for a debugger.",
        ),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            metavar="ADDRESS",
            help="auto, local, HOST:PORT or ray://HOST:PORT.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[
        str | None, typer.Option("--devices", metavar="LIST", help="cpu, cuda, or cuda:0,cuda:1.", show_default=False)
    ] = None,
    settings: Changes = None,
    wandb: Wandb = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", min=0, max=2**32 - 1, metavar="N", help="Seed of the sampler and the trials.", show_default=False
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="NAME", help="Name of the study. Default: the sweep's.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what the run would do. Nothing is trained or written.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what the sweeps will cost, and keep that for comparison.")
    ] = False,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Print each event as a JSON object, for machines (docs/json-lines.md).")
    ] = False,
) -> None:
    """Run sweeps to their budgets. The same command continues them.

    A terminal shows the run in place. A file or a pipe gets a line for each event of a trial.

    Exit codes: 0 done, 2 bad usage or input, 3 nothing completed, 130 interrupted.
    """
    only_one(**{"quiet": quiet, "json-lines": json_lines})
    only_one(**{"dry-run": dry_run, "plan": plan, "json-lines": json_lines})
    budget = {
        "budget.trials": trials,
        "budget.epochs": epochs,
        "budget.hours": _hours("--hours", hours),
        "budget.gpu_hours": _hours("--gpu-hours", gpu_hours),
        "data.path": data,
        "seed": seed,
        "study": study,
    }
    overrides = [*(settings or ()), *(f"{key}={given}" for key, given in budget.items() if given is not None)]
    if study is not None:
        _refuse_several(sweep)
    how: dict[str, Any] = {
        "changes": overrides,
        "workers": _workers(workers),
        "devices": devices,
        "engine": engine,
        "storage": storage,
    }
    given_lanes = lanes_of(lanes)
    if dry_run:
        from fer_tune.display.plan import show_previews

        show_previews(api.preview(sweep, **how))
        return
    how |= {"lanes": given_lanes, "ray_address": ray_address}
    if plan:
        from fer_tune.display.plan import PlanView

        api.plan(sweep, note=terminal.note, planned=PlanView().show, **how)
        return
    where = Settings.from_environment(storage)
    out, lines = terminal.console(), terminal.Output()
    display = display_of(out, lines, where, quiet=quiet, json_lines=json_lines)
    outcome = api.run(sweep, wandb=wandb, observer=display, **how)
    if not (quiet or json_lines):
        with lines.spared():
            for ended in outcome.studies:
                _conclude(out, ended, storage)
    lines.close()
    if code := exit_code(outcome):
        raise typer.Exit(code)


def exit_code(outcome: RunOutcome) -> int:
    """Returns the exit code of a run."""
    if outcome.interrupted:
        return INTERRUPTED
    return 0 if outcome.completed else NOTHING_COMPLETED


def _refuse_several(sweeps: list[Path]) -> None:
    """Refuses one name for several studies.

    Raises:
        SettingsError: there are several sweeps.
    """
    from fer_tune.sweep import find_sweeps

    if (count := len(find_sweeps(sweeps))) > 1:
        raise SettingsError(f"--study names one study, and there are {count} sweeps.", "Run one sweep at a time.")


def _workers(text: str) -> int | Literal["auto"]:
    from fer_tune.pool.devices import MOST_WORKERS

    return _number(
        "--workers", text, MOST_WORKERS, "auto starts one worker for each GPU, or one for every two CPU cores."
    )


def lanes_of(text: str | None) -> int | Literal["auto"] | None:
    """Returns the value of `--lanes`: `auto`, a number, or None if it was not given."""
    if text is None:
        return None
    from fer_tune.sweep.schema import MOST_LANES

    return _number(
        "--lanes", text, MOST_LANES, "auto measures how many lanes are worth it on a GPU, and is 1 on a CPU."
    )


def _hours(option: str, text: str | None) -> float | None:
    """Returns the hours that an option says."""
    if text is None:
        return None
    from fer_tune.sweep.durations import ALLOWED, hours

    found = hours(text)
    if found is None or isnan(found):
        allowed = ALLOWED
    elif 1e-4 <= found <= 1e6:
        return found
    else:
        allowed = "above 0" if found <= 0 else "from 0.0001 to 1000000 hours"
    raise wrong_value(option, allowed, text, f"A number alone is hours: {option} 0.5 is half an hour.")


def _number(option: str, text: str, most: int, hint: str) -> int | Literal["auto"]:
    """Returns the value of an option that takes `auto` or a number from 1 to `most`."""
    if text == "auto":
        return "auto"
    count = int(text) if re.fullmatch(r"[+-]?\d{1,18}", text) else 0
    if not 1 <= count <= most:
        raise wrong_value(option, f"between 1 and {most}, or auto", text, hint)
    return count


def display_of(out: Console, lines: terminal.Output, settings: Settings, *, quiet: bool, json_lines: bool) -> Observer:
    """Returns what shows a run: nothing, JSON, the view in a terminal, or plain lines.

    The run opens it.
    """
    if quiet:
        from fer_tune.jobs import Observer as Silence

        return Silence()
    if json_lines:
        from fer_tune.display.json_lines import JsonLines

        return JsonLines(lines)
    if out.is_terminal and not out.is_dumb_terminal and not verbosity.asked:
        from fer_tune.display.live import LiveView
        from fer_tune.display.recall import recall
        from fer_tune.display.run_state import RunState
        from fer_tune.jobs.observers import Observers

        state = RunState()
        view = LiveView(out, state, lambda state: recall(state, settings))
        return Observers([state, view], settings.logs / "observers.log")
    from fer_tune.display.lines import Lines

    return Lines(lines, epochs=verbosity.asked)


def _conclude(out: Console, study: StudyOutcome, storage: str | None) -> None:
    """Prints what a study came to, and what to do next."""
    counts = study.counts
    why = WHY[study.reason]
    number = counts.finished + counts.paused
    trials = terminal.many(number, "trial")
    states = f"{counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed"
    states += f", {counts.paused} paused" if counts.paused else ""
    terminal.line(out, (study.study, "bold"), f": {trials} ({states}){why}")
    if said := shares(study.spent):
        terminal.line(out, f"  {terminal.duration(sum(study.spent.values()))} of training: {said}")
    if study.plan is not None:
        from fer_tune.display.plan import comparison

        terminal.line(out, f"  {comparison(study.plan)}")
    if study.reason not in FINAL:
        terminal.line(out, "  the same fer-tune run continues it")
    if study.best is None:
        terminal.line(out, f"  no trial is complete; see fer-tune trials {study.study}")
        return
    gained = api.gain(study.study, study.best, storage=storage)
    terminal.line(out, "  best ", (terminal.percent(study.value), "bold green"), f" in trial {study.best}")
    if beside := beside_start(study.study, gained, storage=storage):
        terminal.line(out, f"  {beside}")
    if unfinished := cut_off(study.study, study.value, storage=storage):
        terminal.line(out, f"  {unfinished}")
    terminal.next_commands(out, f"fer-tune best {study.study}", f"fer-tune retrain {study.study}", indent="  ")
