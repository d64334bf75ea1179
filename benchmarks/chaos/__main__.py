"""The command: carries out campaigns, prints and keeps the results.

It ends with 1 if a check did not hold.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from rich.console import Console

from . import __doc__ as about
from . import other_hands
from .campaigns import LONG, SHORT, Campaign, Result, Undisturbed, carry_out
from .killing import kill_a_tenth, kill_all
from .other_hands import OTHER_HANDS
from .record import OUT, record, tables, write
from .scenarios import SCENARIOS
from .subject import StuckError


def main() -> int:
    """Parses the arguments and carries out the campaigns. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=(about or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="the campaign that the tests marked chaos run")
    parser.add_argument(
        "--tenth", action="store_true", help="only kills before a tenth of the operations of small scenarios"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="a campaign of the long ones; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="draws the order of the faults and their moments")
    parser.add_argument(
        "--out", type=Path, help="default: benchmarks/results/chaos.json, which keeps the other campaigns"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="where to leave the runs' folders; default: nowhere"
    )
    given = parser.parse_args()
    names = [*(campaign.name for campaign in LONG), OTHER_HANDS.name, *(one.name for one in SCENARIOS)]
    if unknown := set(given.only or ()) - set(names):
        parser.error(f"there is no campaign {', '.join(sorted(unknown))}; there are {', '.join(names)}")

    if given.tenth:
        return _tenth(given.seed)

    def wanted(name: str) -> bool:
        return not given.short and (not given.only or name in given.only)

    chosen = [SHORT] if given.short else [one for one in LONG if wanted(one.name)]
    console = Console(soft_wrap=False)
    folder = given.keep or Path(tempfile.mkdtemp(prefix="fer-tune-chaos-"))
    results = campaign_after_campaign(chosen, given.seed, folder, console, hands=wanted(OTHER_HANDS.name))
    scenarios = [one.name for one in SCENARIOS if wanted(one.name)]
    killed = kill_all(folder / "operations", given.seed, 1.0, scenarios, console.print) if scenarios else []
    out = None if given.short else given.out or OUT
    recorded = record(results, killed, out)
    for table in tables(recorded):
        console.print(table)
    if out is not None:
        write(out, recorded)
    passed = all(result.passed for result in results) and all(one.passed for one in killed)
    if passed and not given.keep:
        shutil.rmtree(folder)
    else:
        console.print(f"The runs' folders are in {folder}.")
    return 0 if passed else 1


def _tenth(seed: int) -> int:
    """Kills before a tenth of the operations. Returns the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="fer-tune-chaos-"))
    if all(one.passed for one in kill_a_tenth(folder, seed, print)):
        shutil.rmtree(folder)
        return 0
    print(f"The runs' folders are in {folder}.")
    return 1


def campaign_after_campaign(
    chosen: list[Campaign], seed: int, folder: Path, console: Console, hands: bool = False
) -> list[Result]:
    """Carries out the campaigns and prints what happens.

    Args:
        hands: whether another program also has its hands in the database, in a campaign of its own.
    """
    with closing(Undisturbed(folder / "undisturbed")) as calm:
        results = [
            _one(one, console, lambda place, one=one: carry_out(one, seed, place, calm, console.print), folder)  # type: ignore[misc]
            for one in chosen
        ]
        if hands:
            work = partial(other_hands.carry_out, seed, calm=calm, say=console.print)
            results.append(_one(OTHER_HANDS, console, work, folder))
        return results


def _one(campaign: Campaign, console: Console, work: Callable[[Path], Result], folder: Path) -> Result:
    console.rule(campaign.name, align="left")
    try:
        result = work(folder / campaign.name.replace(" ", "-"))
    except StuckError as error:
        result = Result(campaign, 0, problems={"never stuck": [str(error)]})
    for name, found in result.problems.items():
        console.print(f"{'✗' if found else '✓'} {name}", style="red" if found else "green")
        for text in found:
            console.print(f"    {text}")
    if result.skipped:
        console.print(result.skipped, style="yellow", markup=False)
    return result


if __name__ == "__main__":
    sys.exit(main())
