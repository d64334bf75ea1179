"""`fer-tune studies`: the studies of a database."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fer_tune import api
from fer_tune.cli.completion import complete_studies
from fer_tune.cli.options import AsJson, Storage
from fer_tune.display import terminal
from fer_tune.display.terminal import Column
from fer_tune.errors import SettingsError

if TYPE_CHECKING:
    from fer_tune.study import StudySummary


EXAMPLES = ("fer-tune studies", "fer-tune studies rename demo first-try", "fer-tune studies delete demo")


def studies(
    action: Annotated[
        Literal["delete", "rename"] | None,
        typer.Argument(metavar="[ACTION]", help="delete NAME, or rename NAME NEW.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Which study.", autocompletion=complete_studies, show_default=False),
    ] = None,
    to: Annotated[str | None, typer.Argument(metavar="[NEW]", help="Its new name.", show_default=False)] = None,
    json: AsJson = False,
    storage: Storage = None,
) -> None:
    """List the studies, or delete or rename one.

    Deleting takes everything of a study but its openings of test images, and what wandb has.
    """
    if action is not None:
        _act(action, name, to, storage)
        return
    found = api.studies(storage=storage)
    if json:
        terminal.print_json([_plain(study) for study in found])
        return
    out = terminal.console()
    columns = [
        Column("study", folds=True),
        Column("family", needs=80, folds=True),
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


def _act(action: Literal["delete", "rename"], name: str | None, to: str | None, storage: str | None) -> None:
    """Deletes or renames a study.

    Raises:
        SettingsError: a name is missing, or one too many was given.
    """
    needs = {"delete": "NAME", "rename": "NAME NEW"}[action]
    if len(needs.split()) != sum(given is not None for given in (name, to)):
        raise SettingsError(f"`fer-tune studies {action}` needs {needs}.", "`fer-tune studies` lists the names.")
    assert name is not None
    if to is None:
        deleted = api.delete_study(name, storage=storage)
        jobs, files = terminal.many(deleted.jobs, "job"), terminal.many(deleted.files, "file")
        terminal.note(f"{deleted.study} was deleted, with {jobs} and {files}.")
    else:
        api.rename_study(name, to, storage=storage)
        terminal.note(f"{name} is now {to}. `fer-tune run SWEEP --study {to}` continues it.")


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
