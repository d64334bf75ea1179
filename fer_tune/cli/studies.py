"""`fer-tune studies`: the studies of a database."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fer_tune import api
from fer_tune.cli.options import AsJson, Storage
from fer_tune.display import terminal
from fer_tune.display.columns import Column

if TYPE_CHECKING:
    from fer_tune.study import StudySummary

NAME_WIDTH = 22
"""Cells to which a study's name can be folded."""


def studies(json: AsJson = False, storage: Storage = None) -> None:
    """List the studies."""
    found = api.studies(storage=storage)
    if json:
        terminal.print_json([_plain(study) for study in found])
        return
    out = terminal.console()
    columns = [
        Column("study", least=NAME_WIDTH),
        Column("family", drop=1),
        *(Column(heading, right=True) for heading in ("complete", "pruned", "failed")),
        Column("running", right=True, drop=2),
        Column("best", right=True),
        Column("created", drop=3),
    ]
    rows = [
        (
            study.name,
            study.record.family,
            *(str(getattr(study.counts, state)) for state in ("complete", "pruned", "failed", "running")),
            terminal.percent(study.best.value) if study.best else terminal.NONE,
            f"{study.record.created.astimezone():%Y-%m-%d}",
        )
        for study in found
    ]
    out.print(terminal.fitting(columns, rows, out.width))


def _plain(study: StudySummary) -> dict[str, Any]:
    record = study.record
    return {
        "name": study.name,
        "family": record.family,
        "objective": record.objective,
        "data": record.data_source,
        "data_signature": record.data_signature,
        "split_hash": record.split.hash,
        "created": record.created,
        "counts": asdict(study.counts),
        "best": study.best.as_dict() if study.best else None,
    }
