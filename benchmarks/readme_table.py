"""Writes the tables of README.md, benchmarks/README.md and pages of docs/ from the records.

    python -m benchmarks.readme_table --write    rewrites each table between its markers
    python -m benchmarks.readme_table            says which tables are out of date

A page has `<!-- table: NAME -->` and `<!-- end of table -->` around each table of `TABLES`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    confirmed,
    finding_tables,
    objective,
    orchestration_tables,
    plan_tables,
    protocols,
    scaling_page,
    tables,
    torchvision_networks,
    what_helped,
)
from benchmarks.search import tables as search_tables

TABLES: dict[str, Callable[[], str]] = {
    table.__name__: table
    for table in (
        tables.by_hand,
        tables.sweeps,
        finding_tables.findings,
        confirmed.confirmed_trials,
        tables.lanes_auto,
        tables.lanes,
        tables.kernels,
        tables.torch_compile,
        tables.before_after,
        orchestration_tables.orchestration_cost,
        orchestration_tables.orchestration_waits,
        orchestration_tables.orchestration_growth,
        plan_tables.plans,
        plan_tables.simulated_plans,
        search_tables.search_quality,
        search_tables.search_targets,
        search_tables.search_rivals,
        search_tables.more_curves_quality,
        search_tables.more_curves_rivals,
        search_tables.resnet_quality,
        search_tables.resnet_rivals,
        what_helped.width,
        what_helped.twice_the_width,
        what_helped.weaker_augmentation,
        what_helped.sixty_epochs,
        what_helped.final_fits,
        objective.objectives,
        protocols.protocols,
        protocols.published,
        protocols.measured_as,
        what_helped.crops_and_views,
        what_helped.winner_on_test,
        what_helped.many_networks,
        what_helped.other_weights,
        what_helped.other_networks,
        scaling_page.scale_orchestrator,
        scaling_page.scale_gpus,
        scaling_page.scale_chain,
        scaling_page.scale_fleet,
        scaling_page.schedule_cost,
        torchvision_networks.torchvision_networks,
        torchvision_networks.frozen_blocks,
    )
}
"""The tables by the names that the pages have in their markers."""

ROOT = Path(__file__).parent.parent
PAGES = tuple(
    ROOT / page
    for page in (
        "README.md",
        "benchmarks/README.md",
        "docs/by-hand.md",
        "docs/choose-a-winner.md",
        "docs/what-helped.md",
        "docs/protocols.md",
        "docs/scale.md",
        "docs/search.md",
        "docs/families.md",
        "docs/weights.md",
    )
)
TABLE = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(?<=\n)(<!-- end of table -->)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrites or checks the pages; 1 if the check finds a table that is out of date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    stale = 0
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = written(before)
        if options.write:
            page.write_text(after, encoding="utf-8")
        elif before != after:
            stale = 1
            print(f"{page.relative_to(ROOT)} is out of date: run python -m benchmarks.readme_table --write")
    return stale


def written(text: str) -> str:
    """Returns a page's text with all its tables as the records have them."""
    return TABLE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[4]}", text)


if __name__ == "__main__":
    sys.exit(main())
