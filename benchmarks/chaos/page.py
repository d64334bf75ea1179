"""Writes the tables of the last campaigns into docs/faults.md.

python -m benchmarks.chaos.page            rewrites them between their markers
python -m benchmarks.chaos.page --check    only says whether they are up to date
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .record import (
    CAMPAIGN_COLUMNS,
    FAULT_COLUMNS,
    OPERATION_COLUMNS,
    OUT,
    campaign_rows,
    fault_rows,
    operation_rows,
)
from .subject import ROOT

PAGE = ROOT / "docs" / "faults.md"
BEGIN = "<!-- campaigns: written by benchmarks/chaos/page.py -->"
END = "<!-- end of campaigns -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrites or checks the page. Returns 1 if the check finds it out of date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    before = PAGE.read_text(encoding="utf-8")
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{PAGE} lacks the lines {BEGIN!r} and {END!r}.")
    after = f"{head}{BEGIN}\n{render(json.loads(OUT.read_text(encoding='utf-8')))}\n{END}{tail}"
    if options.check:
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    return 0


def render(recorded: Mapping[str, Any]) -> str:
    """Returns the tables, in Markdown."""
    date = max((campaign["date"] for campaign in recorded["campaigns"]), default="no date yet")
    faults = recorded.get("injected", sum(len(campaign["happened"]) for campaign in recorded["campaigns"]))
    return "\n".join(
        [
            f"{faults:,} faults, {recorded['kills']:,} of them SIGKILLs, in {recorded['seconds'] / 60:.0f} minutes on",
            f"{recorded['machine']}, {date}:",
            "[chaos.json](../benchmarks/results/chaos.json).",
            "",
            *_table(CAMPAIGN_COLUMNS, campaign_rows(recorded)),
            "",
            *_table(FAULT_COLUMNS, fault_rows(recorded)),
            *(["", *_table(OPERATION_COLUMNS, rows)] if (rows := operation_rows(recorded)) else []),
        ]
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]


if __name__ == "__main__":
    sys.exit(main())
