"""`fer-tune sync`: wandb brought up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fer_tune.cli.options import Storage, open_store
from fer_tune.display import terminal
from fer_tune.errors import FerTuneError, StudyError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.mirror.sync import Synced


def sync(
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Default: all.", show_default=False)
    ] = None,
    storage: Storage = None,
) -> None:
    """Bring wandb up to date with the database: online where a key is configured, else as offline files."""
    with open_store(storage) as store:
        from fer_tune.mirror.sync import sync as bring

        names = [study] if study is not None else [record.name for record in store.studies.all()]
        if not names:
            raise StudyError(f"There is no study in {store.shown}.", "`fer-tune run SWEEP` makes one.")
        settings = Settings.from_environment(storage)
        troubles: list[FerTuneError] = []
        with terminal.console().status("") as status:

            def one(name: str) -> Synced | None:
                try:
                    return bring(settings, store, name, lambda runs: status.update(f"{name}: {runs} runs"))
                except FerTuneError as trouble:  # the other studies can be brought nevertheless
                    troubles.append(trouble)
                    return None

            done = [synced for synced in map(one, names) if synced is not None]
        for synced in done:
            _tell(synced, settings)
        for trouble in troubles[:-1]:
            terminal.error(trouble)
        if troubles:
            raise troubles[-1]


def _tell(synced: Synced, settings: Settings) -> None:
    where = "on wandb" if synced.mode == "online" else f"below {settings.wandb}"
    terminal.line(terminal.console(), (synced.study, "bold"), f": {synced.runs} runs are {where}")
    if synced.mode == "offline":
        from fer_tune.mirror.wandb_tracker.environment import keys

        why = "WANDB_MODE is offline: without it" if keys() else "No wandb key is configured: after `wandb login`"
        terminal.note(f"{why}, the same command uploads them.")
