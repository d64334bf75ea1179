"""Logs a report as a run of its study's group: the page, and its tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fer_tune.errors import SettingsError, StorageError
from fer_tune.mirror.tracker import Mode
from fer_tune.mirror.wandb_tracker import NOT_OURS, environment
from fer_tune.settings import Settings


@dataclass(frozen=True)
class Table:
    """Rows with named columns. A cell is a number, a text, a truth value or None."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Report:
    """What is logged of one study.

    Attributes:
        uid: the study's.
        page: the report, as HTML.
        tables: by name.
        summary: figures by name.
    """

    study: str
    uid: str
    page: str
    tables: Mapping[str, Table]
    summary: Mapping[str, Any]


def publish(report: Report, settings: Settings, asked: Mode | None = None) -> str:
    """Logs the report, and returns where it is. A later report of the study goes to the same run.

    Raises:
        SettingsError: wandb is disabled.
        StorageError: the server does not answer, or refuses.
    """
    mode = environment.choose_mode(asked)
    if mode == "disabled":
        raise SettingsError("wandb is disabled by WANDB_MODE.", "Unset WANDB_MODE, or set it to online or offline.")
    import wandb

    from fer_tune.mirror.wandb_tracker.client import discard, init

    run_id = f"report-{report.uid}"
    with _without_other_runs():
        discard(settings.root, run_id, offline=mode == "offline")
        try:
            run = init(
                settings.root, mode, id=run_id, name=f"{report.study}-report", group=report.study, job_type="report"
            )
            tables = {name: _table(table) for name, table in report.tables.items()}
            run.log({"report": wandb.Html(report.page, inject=False), **tables})
            run.summary.update(report.summary)
            place = run.url if mode == "online" else run.dir.rpartition("/files")[0]
            run.finish()
            if mode == "online":  # the server has it
                discard(settings.root, run_id, offline=False)
        except wandb.Error as error:
            said = environment.redact(str(error))
            raise StorageError(f"wandb did not take the report: {said}", "WANDB_MODE=offline writes files.") from error
    return str(place)


def _table(table: Table) -> Any:
    import wandb

    return wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows], allow_mixed_types=True)


@contextmanager
def _without_other_runs() -> Iterator[None]:
    """Hides the variables that would tell wandb which run to write."""
    hidden = {name: os.environ.pop(name) for name in NOT_OURS if name in os.environ}
    try:
        yield
    finally:
        os.environ |= hidden
