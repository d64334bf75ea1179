"""Compares searches on a simulated trainer.

    python -m benchmarks.search --family deep_cnn --rivals fer-tune,random,tpe+median --seeds 30
    python -m benchmarks.search --rivals fer-tune --variant "mine; sampler={name: random}"
    python -m benchmarks.search --rivals "neps hyperband" ...   in an environment that has NePS

Each call adds its runs to `--out`, and prints the comparison of all runs that are there. A run that
is there already is not played again. `--no-own` makes a comparison repeatable: the searches' own
processor time then costs nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.circumstances import commit, machine, today, versions
from benchmarks.search.compare import FACTORS, compare, table
from benchmarks.search.curves import SWEEPS
from benchmarks.search.fitting import GROWERS
from benchmarks.search.lanes import slowness
from benchmarks.search.measure import OURS, Case, Results, factory, play_all
from benchmarks.search.models import simulator_of
from fer_tune.errors import FerTuneError, SettingsError
from fer_tune.sweep import Sweep, load_sweep

RESULT = Path(__file__).parents[1] / "results" / "search.json"

SAVE_SECONDS = 20.0
"""Seconds between two writings of the file."""


def main() -> None:
    """Plays what is missing, and prints the comparison."""
    options = arguments().parse_args()
    try:
        run(options)
    except FerTuneError as error:
        sys.exit(f"{error.message}\n{error.hint or ''}".strip())


def arguments() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="deep_cnn")
    parser.add_argument("--sweep", type=Path, help="another sweep file of the family")
    parser.add_argument("--curves", type=Path, help="another file of curves")
    parser.add_argument("--invented", type=int, default=0, help="play so many invented curves")
    parser.add_argument("--model", choices=list(GROWERS), help="by default the best by cross-validation")
    parser.add_argument("--rivals", default="fer-tune,random,tpe+median,tpe+hyperband,tpe+halving")
    parser.add_argument("--variant", action="append", default=[], help='"NAME; key=value; ...", as --set takes them')
    parser.add_argument("--start", help="name of a start configuration from which all begin; else from nothing")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--slots", default="1,8")
    parser.add_argument("--longest", type=float, default=max(FACTORS), help="budgets that are played")
    parser.add_argument("--seconds", type=float, help="budget 1; by default the sweep's hours")
    parser.add_argument("--minutes", type=float, help="begin no run after this time")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--no-own", action="store_true", help="do not count the searches' own processor time")
    parser.add_argument("--again", action="store_true", help="play runs again that are in the file")
    parser.add_argument("--out", type=Path, default=RESULT)
    return parser


def run(options: argparse.Namespace) -> None:
    """Does what the command line asks."""
    path = options.sweep or SWEEPS / f"{options.family}.yaml"
    sweeps = our_sweeps(path, options.variant, options.start)
    budget = options.seconds or 3600 * (sweeps[OURS].budget.hours or 0.05)
    simulator = simulator_of(load_sweep(path), options.curves, options.invented, options.model)
    rivals = [name for name in options.rivals.split(",") if name] + [name for name in sweeps if name != OURS]
    for rival in rivals:
        if rival not in sweeps:
            factory(rival)  # a library that is missing is reported now
    results = Results(options.out)
    part = results.family(simulator.family + (f" from {options.start}" if options.start else ""))
    slots = [int(count) for count in options.slots.split(",")]
    results.begin(part, simulator.record | {"invented": bool(options.invented)})
    part["budget_seconds"] = budget
    part["slowness"] = {str(count): round(slowness(simulator.family, count), 2) for count in slots}
    cases = [
        Case(rival, count, seed, options.longest * budget, not options.no_own)
        for seed in range(options.seeds)
        for count in slots
        for rival in rivals
    ]
    wanted = [case for case in cases if options.again or case.key not in part["runs"]]
    saved = began = time.monotonic()
    for case, run in play_all(wanted, sweeps, simulator, options.processes):
        part["runs"][case.key] = run | ({} if case.own else {"own": False})
        if time.monotonic() - saved > SAVE_SECONDS:
            results.save()
            saved = time.monotonic()
        if options.minutes is not None and time.monotonic() - began > 60 * options.minutes:
            break
    part["compared"] = compare(part["runs"], budget)
    names = ("optuna", "numpy", "syne-tune", "neural-pipeline-search", "smac", "dehb")
    known = results.content.get("versions", {})
    results.content |= {"machine": machine(), "versions": known | versions(*names), "commit": commit(), "date": today()}
    results.save()
    print(about(part["simulation"]))
    print(table(part["compared"]))


def about(record: dict[str, Any]) -> str:
    """Returns how far the simulation can be believed, in words."""
    quality, noise = record["quality"], record["noise"]
    lines = [
        f"{record['family']}: {record['model']}, from {record['curves']} curves. Rank correlation of the last epochs "
        f"on {quality['configurations']} held-out configurations: {quality['rank_correlation']:.2f}; "
        f"in the best quarter: {quality['rank_correlation_best_quarter']:.2f}."
    ]
    if record["invented"]:
        lines.append("These curves are invented. The figures say nothing about real images.")
    if not record["believed"]:
        lines.append("The rank correlation is too low: do not believe these figures.")
    if not noise["measured_on_seeds"]:
        lines.append("The noise between seeds is assumed, because too few repeats were collected.")
    return "\n".join(lines)


def our_sweeps(path: Path, variants: list[str], start: str | None = None) -> dict[str, Sweep]:
    """Returns our sweep and its variants by name.

    Args:
        start: name of the start configuration that they keep; None keeps none.

    Raises:
        SettingsError: the sweep has no start configuration of this name.
    """
    found = {OURS: load_sweep(path)}
    for variant in variants:
        name, *changes = [word.strip() for word in variant.split(";")]
        found[f"{OURS} {name}"] = load_sweep(path, changes)
    for name, sweep in found.items():
        kept = tuple(one for one in sweep.start if one.name == start and start is not None)
        if start is not None and not kept:
            names = ", ".join(str(one.name) for one in sweep.start)
            raise SettingsError(f"{path.name} has no start configuration {start!r}.", f"It has {names}.")
        found[name] = replace(sweep, start=kept)
    return found


if __name__ == "__main__":
    main()
