"""`fer-tune studies`: the studies of a database."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fer_tune import api
from fer_tune.cli.completion import complete_studies
from fer_tune.cli.options import AsJson, Storage, StudyName, one_study
from fer_tune.display import terminal
from fer_tune.display.terminal import Column
from fer_tune.errors import SettingsError

if TYPE_CHECKING:
    from fer_tune.study import StudySummary


Action = Literal["delete", "rename", "export", "import"]
NEEDS: dict[Action, str] = {"delete": "NAME", "rename": "NAME NEW", "export": "NAME FILE", "import": "FILE"}

BASELINE_FITS = 78
"""Cells of a terminal from which on the gain over `start:` has room."""

NEW_SEEDS = "*"
"""Marks a gain that was measured under new seeds, while the best value is the search's own."""

_HINTS: dict[Action, str] = dict.fromkeys(NEEDS, "`fer-tune studies` lists the names.")
_HINTS["import"] = "Name a file that `fer-tune studies export` wrote."

EXAMPLES = (
    "fer-tune studies",
    "fer-tune studies rename demo first-try",
    "fer-tune studies delete demo",
    "fer-tune studies export resnet resnet.tar",
    "fer-tune studies import resnet.tar",
)


def studies(  # noqa: PLR0917 - options
    action: Annotated[
        Action | None,
        typer.Argument(
            metavar="[ACTION]",
            help="delete NAME, rename NAME NEW, export NAME FILE, or import FILE.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="Which study, or the file to import.",
            autocompletion=complete_studies,
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Argument(metavar="[NEW]", help="Its new name, or the file to write.", show_default=False)
    ] = None,
    named: StudyName = None,
    json: AsJson = False,
    storage: Storage = None,
) -> None:
    """List the studies, or delete, rename, export or import one.

    Deleting removes a study with its files. Its openings of test images stay in the ledger, and its
    copies stay in wandb.
    """
    if action is not None:
        _act(action, *_names(action, name, to, named), storage)
        return
    found = api.studies(storage=storage)
    if named is not None:
        only = api.find_study(named, storage=storage).name
        found = [study for study in found if study.name == only]
    if json:
        terminal.print_json([_plain(study) for study in found])
        return
    if not found:
        terminal.note("There is no study yet. `fer-tune run SWEEP` makes one.")
        return
    out = terminal.console()
    paused = any(study.counts.paused for study in found)  # then its column has the room of the family
    columns = [
        Column("study", folds=True),
        Column("family", needs=90 if paused else 80, folds=True),
        *(Column(heading, right=True) for heading in ("complete", "pruned", "failed")),
        Column("running", right=True, needs=70),
        Column("paused", right=True, needs=0 if paused else 90),
        Column("best", right=True),
        Column("over start", right=True, needs=BASELINE_FITS),
        Column("created", needs=100),
    ]
    rows = [
        (
            study.name,
            terminal.family(study.record.family),
            *(str(getattr(study.counts, state)) for state in ("complete", "pruned", "failed", "running", "paused")),
            terminal.percent(study.best.value) if study.best else terminal.NONE,
            _gain(study, storage) if out.width >= BASELINE_FITS else "",
            f"{study.record.created.astimezone():%Y-%m-%d}",
        )
        for study in found
    ]
    out.print(terminal.listing(columns, rows, out.width))
    if any(NEW_SEEDS in cell for row in rows for cell in row):
        out.print(f"{NEW_SEEDS} under new seeds; best is what the search measured")


def _gain(study: StudySummary, storage: str | None) -> str:
    """Returns what the best trial gained over the best of `start:`, with its standard error."""
    found = None if study.best is None else api.gain(study.name, study.best.number, storage=storage)
    if found is None:
        return terminal.NONE
    if found.is_start:
        return "it is one"
    error = "" if found.error is None else f" ± {100 * found.error:.1f}"
    return f"{100 * found.gained:+.1f}{error}{NEW_SEEDS if found.confirmed else ''}"


def _names(action: Action, name: str | None, to: str | None, named: str | None) -> tuple[str | None, str | None]:
    """Returns NAME and NEW. With `--study`, the first name after the action may be NEW.

    Raises:
        SettingsError: two studies are named, or one to import.
    """
    if named is None:
        return name, to
    if action == "import":
        raise SettingsError(f"There is no study {named} here: import takes a file.", _HINTS[action])
    if action in ("rename", "export") and to is None:
        return named, name
    return one_study(name, named), to


def _act(action: Action, name: str | None, to: str | None, storage: str | None) -> None:
    """Deletes, renames, exports or imports a study.

    Raises:
        SettingsError: a name is missing, or one too many was given.
    """
    needs = NEEDS[action]
    if len(needs.split()) != sum(given is not None for given in (name, to)):
        raise SettingsError(f"`fer-tune studies {action}` needs {needs}.", _HINTS[action])
    assert name is not None
    if action == "delete":
        deleted = api.delete_study(name, storage=storage)
        jobs, files = terminal.many(deleted.jobs, "job"), terminal.many(deleted.files, "file")
        terminal.note(f"{deleted.study} was deleted, with {jobs} and {files}.")
    elif action == "rename":
        api.rename_study(name, str(to), storage=storage)
        terminal.note(f"{name} is now {to}. `fer-tune run SWEEP --study {to}` continues it.")
    else:
        done = api.import_study(name, storage=storage) if to is None else api.export_study(name, to, storage=storage)
        jobs, files = terminal.many(done.jobs, "job"), terminal.many(done.files, "file")
        where = "was imported from" if to is None else "is in"
        terminal.note(f"{done.study} {where} {done.file}, with {jobs} and {files}.")


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
