"""`fer-tune studies`: the studies of a database."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fer_tune import api
from fer_tune.cli.options import AsJson, Storage
from fer_tune.display import terminal
from fer_tune.display.terminal import Column

if TYPE_CHECKING:
    from fer_tune.study import StudySummary


def studies(json: AsJson = False, storage: Storage = None) -> None:
    """List the studies."""
    found = api.studies(storage=storage)
    if json:
        terminal.print_json([_plain(study) for study in found])
        return
    out = terminal.console()
    columns = [
        Column("study", folds=True),
        Column("family", needs=80),
        *(Column(heading, right=True) for heading in ("complete", "pruned", "failed")),
        Column("running", right=True, needs=70),
        Column("paused", right=True, needs=90),
        Column("best", right=True),
        Column("created", needs=60),
    ]
    rows = [
        (
            study.name,
            study.record.family,
            *(str(getattr(study.counts, state)) for state in ("complete", "pruned", "failed", "running", "paused")),
            terminal.percent(study.best.value) if study.best else terminal.NONE,
            f"{study.record.created.astimezone():%Y-%m-%d}",
        )
        for study in found
    ]
    out.print(terminal.listing(columns, rows, out.width))


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
