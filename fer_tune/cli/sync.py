"""`fer-tune sync`: copies to wandb what it does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fer_tune import api
from fer_tune.cli.options import Storage, Studies, StudyNames, several_studies
from fer_tune.display import terminal
from fer_tune.errors import FerTuneError, SettingsError, StudyError

if TYPE_CHECKING:
    from fer_tune.mirror.sync import Synced


EXAMPLES = ("fer-tune sync", "fer-tune sync resnet --include-disabled", "fer-tune sync --tracker mlflow --again")


def sync(  # noqa: PLR0917 - options
    studies: Studies = None,
    named: StudyNames = None,
    include_disabled: Annotated[
        bool, typer.Option("--include-disabled", help="Also copy what ran with --wandb disabled.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Copy everything once more, because it should be in another place.")
    ] = False,
    tracker: Annotated[str, typer.Option("--tracker", metavar="NAME", help="Copy to another tracker.")] = "wandb",
    storage: Storage = None,
) -> None:
    """Copy to wandb, or to another tracker, what it does not have.

    wandb gets it online with a key, else as offline files.
    """
    names = several_studies(studies, named) or [known.name for known in api.studies(storage=storage)]
    if not names:
        raise StudyError("The database has no study.", "`fer-tune run SWEEP` makes one.")
    done: list[Synced] = []
    troubles: list[FerTuneError] = []
    with terminal.console().status("") as status:
        for name in names:

            def show(runs: int, name: str = name) -> None:
                status.update(f"{name}: {terminal.many(runs, 'run')}")

            try:
                done.append(
                    api.sync(
                        name,
                        include_disabled=include_disabled,
                        again=again,
                        tracker=tracker,
                        progress=show,
                        storage=storage,
                    )
                )
            except SettingsError:  # it holds for every study
                raise
            except FerTuneError as trouble:  # the other studies can be copied nevertheless
                troubles.append(trouble)
    for synced in done:
        _show(synced)
    for earlier in troubles[:-1]:
        terminal.error(earlier)
    if troubles:
        raise troubles[-1]


def _show(synced: Synced) -> None:
    runs = f"{terminal.many(synced.runs, 'run')} {'is' if synced.runs == 1 else 'are'}"
    terminal.line(terminal.console(), (synced.study, "bold"), f": {runs} on {synced.tracker}: {synced.place}")
    if synced.left_out:
        terminal.note(
            f"{terminal.many(synced.left_out, 'job')} of {synced.study} ran with --wandb disabled, and "
            f"{'was' if synced.left_out == 1 else 'were'} left out. --include-disabled copies "
            f"{'it' if synced.left_out == 1 else 'them'} too."
        )
    if synced.mode == "offline" and synced.tracker == "wandb":
        from fer_tune.mirror.wandb_tracker.environment import keys

        why = "WANDB_MODE is offline: without it" if keys() else "No wandb key is configured: after `wandb login`"
        terminal.note(f"{why}, the same command uploads them.")
