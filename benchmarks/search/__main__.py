"""Compares searches on a simulated trainer, and makes the whole record in one command.

    python -m benchmarks.search --processes 30 --minutes 8 --python rivals=ENV/bin/python
    python -m benchmarks.search --family deep_cnn --rivals fer-tune,tpe+median --seeds 3
    python -m benchmarks.search --rivals fer-tune --variant "mine; sampler=random" --longest 1
    python -m benchmarks.search --compare      compares what is in the file again
    python -m benchmarks.search --compare --take OTHER.json --out FILE

Without `--rivals` it plays every search whose library a Python was given for: from nothing, and
ours and PriorBand with a prior at the recipe and with a wrong one. It adds the runs to `--out`,
about every twenty seconds, and plays none again that is there. The first seed of every search comes
before the second of any. `--take` adds the runs of another file that are missing in `--out`, or
longer. `--no-own` makes a comparison repeatable: the searches' own processor time then costs
nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.circumstances import commit, machine, today, versions
from benchmarks.search.cases import NOTHING, OURS, RECIPE, WRONG, Arm, Case, cases
from benchmarks.search.compare import FACTORS, compare, table
from benchmarks.search.curves import FOLDER, SWEEPS, Curves
from benchmarks.search.fitting import GROWERS
from benchmarks.search.lanes import slowness
from benchmarks.search.measure import LIBRARIES, Results, known
from benchmarks.search.models import simulator_file
from benchmarks.search.simulator import FEWEST, Simulator
from benchmarks.search.targets import targets, targets_table
from benchmarks.search.workers import Workers, environments, python_of
from fer_tune.errors import FerTuneError, SettingsError
from fer_tune.sweep import load_sweep

RESULT = Path(__file__).parents[1] / "results" / "search.json"

SAVE_SECONDS = 20.0
"""Seconds between two writings of the file."""

FAMILIES = ("deep_cnn", "simple_cnn", "resnet")
"""The families of the record, as far as they have enough curves."""

WITH_PRIOR = (
    Arm(OURS, RECIPE, 1.0),
    Arm("neps priorband", RECIPE, 1.0),
    Arm(OURS, WRONG, 2.0),
    Arm("neps priorband", WRONG, 2.0, together=1.0),
)
"""The searches that are given a prior. PriorBand without one is Hyperband, so it is not played."""


COSTLY = {"smac multi-fidelity": 0.5, "syne-tune bohb": 1.0, "neps hyperband": 2.0}
"""The largest budget of some searches with several slots. Their models take minutes there."""


@dataclass(frozen=True)
class Family:
    """A family whose searches are played.

    Attributes:
        sweep: the file.
        kept: the file of the fitted simulator.
        budget: seconds of budget 1.
    """

    sweep: Path
    kept: Path
    simulator: Simulator
    budget: float


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
    parser.add_argument("--family", help="of several, with commas; by default all that have enough curves")
    parser.add_argument("--sweep", type=Path, help="another sweep file of the one family")
    parser.add_argument("--curves", type=Path, help="another file of curves")
    parser.add_argument("--invented", type=int, default=0, help="play so many invented curves")
    parser.add_argument("--model", choices=list(GROWERS), help="by default the best by cross-validation")
    parser.add_argument("--rivals", help="play these only, from --begin; with commas")
    parser.add_argument("--variant", action="append", default=[], help='"NAME; key=value; ...", as --set takes them')
    parser.add_argument("--begin", default=NOTHING, help=f"{NOTHING}, {RECIPE}, {WRONG}, or a start configuration")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--slots", default="1,8")
    parser.add_argument("--longest", type=float, default=max(FACTORS), help="budgets that are played, at most")
    parser.add_argument("--seconds", type=float, help="budget 1; by default the sweep's hours")
    parser.add_argument("--minutes", type=float, help="begin no run after this time")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--python", action="append", default=[], help="NAME=PATH; see benchmarks/search/rivals.txt")
    parser.add_argument("--no-own", action="store_true", help="do not count the searches' own processor time")
    parser.add_argument("--again", action="store_true", help="play runs again that are in the file")
    parser.add_argument("--take", type=Path, help="another file of the same simulations, whose runs are added")
    parser.add_argument("--compare", action="store_true", help="play nothing")
    parser.add_argument("--out", type=Path, default=RESULT)
    return parser


def run(options: argparse.Namespace) -> None:
    """Does what the command line asks."""
    began = time.monotonic()
    results = Results(options.out)
    if options.take is not None:
        print(f"{results.take(options.take)} runs are taken over.")
    if not options.compare:
        pythons = dict(given.split("=", 1) for given in options.python)
        families = _families(options)
        arms = _arms(options, pythons)
        wanted = _wanted(options, arms, families, results)
        facts = {
            name: {"sweep": str(one.sweep), "simulator": str(one.kept), "variants": options.variant}
            for name, one in families.items()
        }
        print(f"{len(wanted)} searches are played, {options.processes} at a time.", flush=True)
        found = environments(pythons)  # before the searches, because a run may be cut off
        about = {"machine": machine(), "versions": versions("optuna", "numpy") | found}
        results.describe(about | {"commit": commit(), "date": today()}, wanted)
        left = None if options.minutes is None else 60 * options.minutes - (time.monotonic() - began)
        _play(Workers(facts, pythons, options.processes), wanted, results, left)
    _compare(results)
    results.save()
    _print(results)


def _families(options: argparse.Namespace) -> dict[str, Family]:
    """Returns the families by name. Fits their simulators, if they are not kept from before."""
    found = {}
    for name in options.family.split(",") if options.family else playable(FOLDER):
        path = options.sweep or SWEEPS / f"{name}.yaml"
        sweep = load_sweep(path)
        kept, simulator = simulator_file(sweep, options.curves, options.invented, options.model)
        found[name] = Family(path, kept, simulator, options.seconds or 3600 * (sweep.budget.hours or 0.05))
    return found


def playable(folder: Path) -> list[str]:
    """Returns the families that have enough curves in a folder."""
    curves = {name: folder / f"{name}.npz" for name in FAMILIES}
    return [name for name, path in curves.items() if path.exists() and len(Curves.load(path).whole()) >= FEWEST]


def _arms(options: argparse.Namespace, pythons: dict[str, str]) -> list[Arm]:
    """Returns what is played: what was asked for, or else all that can be.

    Raises:
        SettingsError: a search is unknown, or no Python was given for it.
    """
    ours = [f"{OURS} {variant.split(';')[0].strip()}" for variant in options.variant]
    if options.rivals is not None:
        names = [name for name in options.rivals.split(",") if name]
        for name in names:
            known(name)
            if python_of(name, pythons) is None:
                raise SettingsError(
                    f"The search {name} needs a Python that has its library.",
                    "Give it as --python rivals=PATH; see the first lines of benchmarks/search/rivals.txt.",
                )
        return [Arm(name, options.begin, options.longest) for name in [*names, *ours]]
    rivals = [name for names in LIBRARIES.values() for name in names if name != "neps priorband"]
    every = [Arm(name, together=COSTLY.get(name, 4.0)) for name in [OURS, *ours, *rivals]] + list(WITH_PRIOR)
    return [
        replace(arm, longest=min(arm.longest, options.longest))
        for arm in every
        if python_of(arm.rival, pythons) is not None
    ]


def _wanted(options: argparse.Namespace, arms: list[Arm], families: dict[str, Family], results: Results) -> list[Case]:
    """Returns the cases that are not in the file yet. Makes the file's parts ready for them."""
    slots = [int(count) for count in options.slots.split(",")]
    budgets = {name: family.budget for name, family in families.items()}
    every = cases(arms, budgets, slots, options.seeds, not options.no_own)
    for case in every:
        family, part = families[case.family], results.family(case.part)
        results.begin(part, family.simulator.record | {"invented": bool(options.invented)})
        part["budget_seconds"] = family.budget
        part["slowness"] = {str(count): round(slowness(family.simulator.family, count), 2) for count in slots}
    return [case for case in every if options.again or not results.has(case)]


def _play(workers: Workers, wanted: list[Case], results: Results, seconds: float | None) -> None:
    """Plays the cases, and saves what came out every now and then."""
    saved = began = time.monotonic()
    played = 0
    for case, found in workers.play(wanted, seconds):
        part = results.family(case.part)
        if "error" in found:
            part.setdefault("errors", {})[case.key] = found["error"]
            print(f"{case.part}, {case.key}: {found['error']}", flush=True)
            continue
        part["runs"][case.key] = found | ({} if case.own else {"own": False})
        part.get("errors", {}).pop(case.key, None)
        played += 1
        if time.monotonic() - saved > SAVE_SECONDS:
            results.save()
            saved = time.monotonic()
            print(f"{played} of {len(wanted)} after {saved - began:.0f} s", flush=True)


def _compare(results: Results) -> None:
    """Compares the runs of each part, and the record with what the search must reach."""
    parts = results.content.get("families", {})
    for name, part in sorted(parts.items()):  # a family comes before its parts with a prior
        family = parts.get(name.split(" from ")[0], part)
        goals = {slots: one["target"] for slots, one in family.get("compared", {}).items()}
        part["compared"] = compare(part["runs"], part["budget_seconds"], goals=goals if family is not part else None)
    results.content["targets"] = targets(parts)


def _print(results: Results) -> None:
    for name, part in sorted(results.content.get("families", {}).items()):
        print(f"\n{name}" if " from " in name else f"\n{about(part['simulation'])}")
        print(table(part["compared"]))
    print(f"\n{targets_table(results.content['targets'])}")


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


if __name__ == "__main__":
    main()
