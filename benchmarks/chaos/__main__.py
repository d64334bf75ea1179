"""The command: carries out campaigns, prints and keeps the results.

It ends with 1 if a check did not hold.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from rich.console import Console

from . import __doc__ as about
from .campaigns import LONG, SHORT, Campaign, Result, Undisturbed, carry_out
from .record import OUT, record, tables, write
from .subject import StuckError


def main() -> int:
    """Parses the arguments and carries out the campaigns. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=(about or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="the campaign that the tests marked chaos run")
    parser.add_argument("--only", action="append", metavar="NAME", help="a campaign of the long ones; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="draws the order of the faults and their moments")
    parser.add_argument(
        "--out", type=Path, help="default: benchmarks/results/chaos.json, which keeps the other campaigns"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="where to leave the runs' folders; default: nowhere"
    )
    given = parser.parse_args()
    names = [campaign.name for campaign in LONG]
    if unknown := set(given.only or ()) - set(names):
        parser.error(f"there is no campaign {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    chosen = [SHORT] if given.short else [one for one in LONG if not given.only or one.name in given.only]
    console = Console(soft_wrap=False)
    folder = given.keep or Path(tempfile.mkdtemp(prefix="fer-tune-chaos-"))
    results = campaign_after_campaign(chosen, given.seed, folder, console)
    out = None if given.short else given.out or OUT
    recorded = record(results, out)
    for table in tables(recorded):
        console.print(table)
    if out is not None:
        write(out, recorded)
    passed = all(result.passed for result in results)
    if passed and not given.keep:
        shutil.rmtree(folder)
    else:
        console.print(f"The runs' folders are in {folder}.")
    return 0 if passed else 1


def campaign_after_campaign(chosen: list[Campaign], seed: int, folder: Path, console: Console) -> list[Result]:
    """Carries out the campaigns and prints what happens."""
    with closing(Undisturbed(folder / "undisturbed")) as calm:
        return [_one(campaign, seed, folder, calm, console) for campaign in chosen]


def _one(campaign: Campaign, seed: int, folder: Path, calm: Undisturbed, console: Console) -> Result:
    console.rule(campaign.name, align="left")
    try:
        result = carry_out(campaign, seed, folder / campaign.name.replace(" ", "-"), calm, console.print)
    except StuckError as error:
        result = Result(campaign, seed, problems={"never stuck": [str(error)]})
    for name, found in result.problems.items():
        console.print(f"{'✗' if found else '✓'} {name}", style="red" if found else "green")
        for text in found:
            console.print(f"    {text}")
    if result.skipped:
        console.print(result.skipped)
    return result


if __name__ == "__main__":
    sys.exit(main())
