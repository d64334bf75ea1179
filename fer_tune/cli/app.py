"""Registers the commands, and turns errors into messages and exit codes."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fer_tune import api
from fer_tune.cli import (
    backup,
    best,
    check,
    compare,
    confirm,
    dashboard,
    data,
    doctor,
    ensemble,
    evaluate,
    export,
    init,
    migrate,
    predict,
    replay,
    report,
    restore,
    retrain,
    run,
    stop,
    studies,
    sync,
    trials,
    watch,
)
from fer_tune.cli.options import BAD_INPUT, INTERRUPTED
from fer_tune.cli.usage import explain
from fer_tune.display.terminal import Output, error
from fer_tune.errors import FerTuneError, StorageError
from fer_tune.files import FULL

CLICKS_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""The base class of the errors that Typer shows, whose package differs between its versions."""


class Commands(TyperGroup):
    """Lists the commands in the order of registration, and shows errors without a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of the commands in the order of registration."""
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command.

        A wrong option, an error that fer-tune raises on purpose, and a full disk end with exit code
        2. Ctrl-C ends with 130.
        """
        try:
            return super().invoke(ctx)
        except typer.BadParameter as problem:
            if (explained := explain(problem)) is None:
                raise
            error(explained)
            raise typer.Exit(BAD_INPUT) from problem
        except FerTuneError as problem:
            error(problem)
            raise typer.Exit(BAD_INPUT) from problem
        except OSError as problem:
            if problem.errno not in FULL:
                raise
            Output().close()
            error(StorageError(f"The output cannot be written: {problem.strerror}.", "Free some space on its disk."))
            raise typer.Exit(BAD_INPUT) from problem
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (CLICKS_ERROR, typer.Exit, typer.Abort):
            raise
        except Exception as problem:
            if (damaged := api.explained(problem)) is None:
                raise
            error(damaged)
            raise typer.Exit(BAD_INPUT) from problem


app = typer.Typer(
    cls=Commands,
    help="Finds good hyperparameters for facial-expression networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def version() -> None:
    """Print the version."""
    from fer_tune import __version__

    typer.echo(__version__)


def _version_and_exit(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version_and_exit, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find good hyperparameters for facial-expression networks.

    First: init, check, data. Then: run, watch, stop. Then: best, trials, studies, replay,
    report, dashboard. Last: confirm, compare, retrain, ensemble, evaluate, predict, export. To
    keep: backup, restore, migrate.
    """


for command in (
    init.init,
    check.check,
    data.data,
    run.run,
    stop.stop,
    watch.watch,
    best.best,
    trials.trials,
    studies.studies,
    replay.replay,
    report.report,
    dashboard.dashboard,
    sync.sync,
    confirm.confirm,
    compare.compare,
    retrain.retrain,
    ensemble.ensemble,
    predict.predict,
    evaluate.evaluate,
    export.export,
    backup.backup,
    restore.restore,
    migrate.migrate,
    doctor.doctor,
    version,
):
    app.command()(command)
