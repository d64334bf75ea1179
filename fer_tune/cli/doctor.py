"""`fer-tune doctor`: what is wrong, and what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from fer_tune import api
from fer_tune.cli.options import PROBLEMS, AsJson, Storage
from fer_tune.display import terminal

if TYPE_CHECKING:
    from fer_tune.doctor import Finding

STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


EXAMPLES = ("fer-tune doctor", "fer-tune doctor --json")


def doctor(json: AsJson = False, storage: Storage = None) -> None:
    """Examine the environment, the devices and the storage, and say what to do.

    It changes nothing. Exit codes: 0 all is well, 1 there are problems.
    """
    found = api.diagnose(storage=storage)
    problems = sum(finding.state == "problem" for part in found.values() for finding in part)
    if json:
        findings = {part: [asdict(finding) for finding in several] for part, several in found.items()}
        terminal.print_json({"ok": not problems, "problems": problems, "findings": findings})
    else:
        for part, several in found.items():
            if several:
                _show(part, several)
        result = "1 problem" if problems == 1 else f"{problems} problems"
        terminal.line(terminal.console(), (result, STYLES["problem"]) if problems else ("all is well", STYLES["ok"]))
    if problems:
        raise typer.Exit(PROBLEMS)


def _show(part: str, several: list[Finding]) -> None:
    table = terminal.table(part)
    table.show_header = False
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", max_width=20)
    table.add_column(overflow="fold", ratio=1)
    for finding in several:
        text = Text(finding.found)
        if finding.advice:
            text.append(f"\n→ {finding.advice}", "bold" if finding.state == "problem" else "dim")
        table.add_row(Text(finding.state, STYLES[finding.state]), finding.what, text)
    terminal.console().print(table)
