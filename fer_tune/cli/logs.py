"""`fer-tune logs`: how a trial was trained, and what its worker wrote."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_tune import api
from fer_tune.cli.options import Storage, StudyArgument, StudyName, one_study
from fer_tune.display import terminal

EXAMPLES = ("fer-tune logs resnet --trial 7",)


def logs(
    study: StudyArgument = None,
    named: StudyName = None,
    trial: Annotated[
        int | None,
        typer.Option("--trial", min=0, metavar="N", help="Number of the trial. Default: the latest that failed."),
    ] = None,
    storage: Storage = None,
) -> None:
    """Show the attempts at a trial, why they ended, and the lines that the worker wrote."""
    out = terminal.console()
    for one in api.logs(one_study(study, named), trial, storage=storage):
        attempt = one.attempt
        place = f"worker {attempt.worker}, lane {attempt.lane}, {attempt.device}"
        ended = attempt.status or "running"
        began = f"{attempt.started.astimezone():%Y-%m-%d %H:%M:%S}"
        terminal.line(out, (f"trial {attempt.number}, attempt {attempt.attempt}", "bold"), f": {place}, {began}")
        terminal.line(out, f"  {ended}{f': {attempt.reason}' if attempt.reason else ''}")
        for text in attempt.detail.splitlines():
            terminal.line(out, f"  | {text}")
        if one.file is None:
            terminal.line(out, ("  its log was removed", "dim"))
            continue
        terminal.line(out, (f"  {one.file}", "dim"))
        for text in one.lines:
            terminal.line(out, f"  {text}")
